// bench rebalance: two detectors share 200 partitions of 1,000 series on a real broker; one leaves, comes back, is killed. In seconds, from
// the first sign until the other ones have every series again: rejoining, claiming and loading checkpoints, restoring.
//
// Who is killed or ends is waited for until its session is over: a member with a name is expected back, with its partitions (static
// membership), so that a restart moves nothing. Both figures hold the session.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { loadavg } from 'node:os'
import { openLog } from '../../pipeline/roles/log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { type Config, configSchema } from '../../schemas/config.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type KafkaBroker, startKafka } from '../support/kafka-broker.ts'
import { createTopics } from '../support/kafka-topics.ts'
import { type BenchOptions, type BenchResult, figure, median, say, until } from './harness.ts'
import { otlpLoad } from './otlp-load.ts'
import type { Holding } from './peers/group-detector.ts'
import { deaf, quiet } from '../support/quiet.ts'

const PARTITIONS = 200
const METRICS = 20
const POINTS_PER_METRIC = 50 // Of one time with other attributes each: 1,000 series a partition, more or less.
const SESSION_S = 6
const CHECKPOINT_S = 2
const ROUNDS = 3 // Of half a minute each; what is measured is seconds, not microseconds.
const DEADLINE_MS = 120_000
const TAKEOVER_GOAL_S = 15

interface Detector {
  process: ChildProcess
  series(): Promise<number>
}

export async function rebalanceBench(_options: BenchOptions): Promise<BenchResult> {
  const broker = await startKafka({ heapMb: 1_024 })
  const detectors = new Set<Detector>()
  const open = async (instance: string): Promise<Detector> => {
    const detector = await openDetector(broker, instance)
    detectors.add(detector)
    return detector
  }
  try {
    await createTopics(configOf(broker, 'bench'))
    await fill(broker)
    const stayer = await open('stayer')
    const series = await settledSeries(stayer)
    say(`${PARTITIONS} partitions, ${series} series, all read by one detector`)
    const figures = { join: [] as number[], leave: [] as number[], killed: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const how of ['leave', 'killed'] as const) {
        const joinMs = performance.now()
        const other = await open('other')
        await until('both have their share', DEADLINE_MS, async () => {
          const [mine, its] = await Promise.all([stayer.series(), other.series()])
          return mine + its === series && Math.min(mine, its) > 0
        })
        figures.join.push(performance.now() - joinMs)
        await systemClock.sleep(2 * CHECKPOINT_S * 1_000) // Both have saved what they took over.
        const goneMs = performance.now()
        detectors.delete(other)
        if (how === 'leave') other.process.send('leave')
        else other.process.kill('SIGKILL')
        await until('the one that stays has everything', DEADLINE_MS, async () => (await stayer.series()) === series)
        figures[how].push(performance.now() - goneMs)
      }
      say(
        `round ${round + 1}: join ${seconds(figures.join)}, leave ${seconds(figures.leave)}, killed ${seconds(figures.killed)}; load ${loadavg()[0]!.toFixed(1)}`
      )
    }
    const [joinS, leaveS, killedS] = [figures.join, figures.leave, figures.killed].map(times => figure(median(times) / 1_000)) as [number, number, number]
    say(`\n  one more joins   ${joinS} s, the start of its process included`)
    say(`  one ends         ${leaveS} s, of which ${SESSION_S} s are its session`)
    say(`  one is killed    ${killedS} s, of which ${SESSION_S} s are its session (goal ${TAKEOVER_GOAL_S} s)`)
    return { partitions: PARTITIONS, series, joinS, leaveS, killedS, sessionS: SESSION_S }
  } finally {
    for (const { process } of detectors) process.kill('SIGKILL')
    await broker.stop()
  }
}

function configOf(broker: KafkaBroker, instance: string): Config {
  const topics = { replication: 1, minInsyncReplicas: 1, partitions: { [TOPICS.metrics.name]: PARTITIONS } }
  return configSchema.parse({
    ...{ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', log: { kind: 'kafka' } },
    kafka: { brokers: broker.brokers, topics, instance, sessionTimeout: `${SESSION_S}s` },
    detect: { checkpointInterval: `${CHECKPOINT_S}s` }
  })
}

async function fill(broker: KafkaBroker): Promise<void> {
  const log = await openLog(configOf(broker, 'filler'), { clock: systemClock, logger: quiet, meter: deaf })
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const service = `service-${partition}`
    const { request } = otlpLoad({
      ...{ seed: 7 + partition, kinds: 'numbers', metricCount: METRICS, pointCount: POINTS_PER_METRIC },
      ...{ service, timeMs: systemClock.nowMs() }
    })
    await log.append(TOPICS.metrics.name, [{ key: service, value: request, partition }])
  }
  await log.close()
}

async function openDetector(broker: KafkaBroker, instance: string): Promise<Detector> {
  const child = fork(new URL('./peers/group-detector.ts', import.meta.url), [JSON.stringify(configOf(broker, instance))], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
  await once(child, 'message')
  return {
    process: child,
    async series() {
      child.send('series')
      const [holding] = (await once(child, 'message')) as [Holding]
      return holding.series
    }
  }
}

/** Of the only detector, once it has read everything. */
async function settledSeries(detector: Detector): Promise<number> {
  let before = 0
  await until('everything is read', DEADLINE_MS, async () => {
    await systemClock.sleep(CHECKPOINT_S * 1_000)
    const now = await detector.series()
    const isSettled = now > 0 && now === before
    before = now
    return isSettled
  })
  return before
}

const seconds = (times: readonly number[]): string => `${(times.at(-1)! / 1_000).toFixed(1)} s`
