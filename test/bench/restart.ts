// bench restart: the only store process is killed under load, again and again, and started anew after half a second, on a real broker and
// a ClickHouse in a process of its own. In seconds from the start of the process: until it runs, until it has its partitions, until every
// partition with records has gone on, until what waited at the start is stored. Goal: in the group within 1.5 s.

import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLog } from '../../pipeline/roles/log.ts'
import { GROUP } from '../../pipeline/store/flush-writer.ts'
import { systemClock } from '../../pipeline/system.ts'
import { type ConfigInput, configSchema } from '../../schemas/config.ts'
import type { GroupPosition, Log } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { startClickHouse } from '../support/clickhouse-process.ts'
import { type HomeostatProcess, startHomeostat } from '../support/homeostat-process.ts'
import { startKafka } from '../support/kafka-broker.ts'
import { createTopics } from '../support/kafka-topics.ts'
import { deaf, quiet } from '../support/quiet.ts'
import { type BenchOptions, type BenchResult, figure, median, say, until } from './harness.ts'
import { otlpLoad } from './otlp-load.ts'

const METRICS = 10
const POINTS_PER_METRIC = 10
const REQUEST_EVERY_MS = 100 // 1,000 rows a second, over all partitions in turn.
const WORK_MS = 4_000 // Between two deaths.
const RESTART_DELAY_MS = 500 // As a supervisor has it.
const LOOK_MS = 100 // A look asks the broker for every group and topic.
const DEADLINE_MS = 60_000
const ROUNDS = 5 // What is measured is seconds, not microseconds.
const JOIN_GOAL_S = 1.5

/** Of one restart, seconds since the process was started. */
interface Restart {
  runs: number
  joins: number
  worksOn: number
  hasCaughtUp: number
}

export async function restartBench(_options: BenchOptions): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-restart-'))
  const [broker, clickHouse] = await Promise.all([startKafka(), startClickHouse()])
  const config: Partial<ConfigInput> = {
    log: { kind: 'kafka' },
    kafka: { brokers: broker.brokers, instance: 'store', sessionTimeout: '6s', topics: { replication: 1, minInsyncReplicas: 1 } },
    store: { url: clickHouse.url, batchInterval: '500ms' },
    health: { listen: { port: 0 } },
    self: { endpoint: 'off' }
  }
  const parsed = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', ...config })
  const start = (): HomeostatProcess => startHomeostat(folder, 'store', { roles: 'store', config })
  let store: HomeostatProcess | undefined
  let load: Load | undefined
  try {
    await createTopics(parsed)
    const log = await openLog(parsed, { clock: systemClock, logger: quiet, meter: deaf })
    load = openLoad(log)
    store = start()
    await store.ready()
    const restarts: Restart[] = []
    for (let round = 0; round < ROUNDS; round++) {
      await systemClock.sleep(WORK_MS + round * 37) // Not always at the same moment of a flush.
      await store.end('SIGKILL')
      const before = await positions(log)
      await systemClock.sleep(RESTART_DELAY_MS)
      const startMs = Date.now()
      store = start()
      restarts.push(await watch(store, log, before, startMs))
      const { runs, joins, worksOn, hasCaughtUp } = restarts.at(-1)!
      say(`round ${round + 1}: runs ${runs}, joins ${joins}, works on ${worksOn}, has caught up ${hasCaughtUp} s; load ${loadavg()[0]!.toFixed(1)}`)
    }
    const of = (name: keyof Restart): number => figure(median(restarts.map(restart => restart[name])))
    const [runsS, joinsS, worksOnS, caughtUpS] = [of('runs'), of('joins'), of('worksOn'), of('hasCaughtUp')]
    const worstS = Math.max(...restarts.map(({ worksOn }) => worksOn))
    say(`\n  it runs after ${runsS} s, has its partitions after ${joinsS} s (goal ${JOIN_GOAL_S} s), works on after ${worksOnS} s (at most ${worstS} s),`)
    say(`  has caught up after ${caughtUpS} s`)
    return { runsS, joinsS, worksOnS, worksOnWorstS: worstS, caughtUpS, rounds: ROUNDS }
  } finally {
    await load?.close()
    await store?.end('SIGKILL')
    await Promise.all([broker.stop(), clickHouse.stop()])
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Load {
  close(): Promise<void>
}

/** Appends a request every REQUEST_EVERY_MS until it is closed, and closes the log then. */
function openLoad(log: Log): Load {
  const closing = new AbortController()
  const { partitions } = TOPICS.metrics
  const requests = Array.from({ length: partitions }, (_, partition) => {
    const load = { seed: 7 + partition, metricCount: METRICS, pointCount: POINTS_PER_METRIC, service: `service-${partition}` }
    return otlpLoad({ ...load, timeMs: systemClock.nowMs() }).request
  })
  const ended = (async () => {
    for (let count = 0; !closing.signal.aborted; count++) {
      const partition = count % partitions
      await log.append(TOPICS.metrics.name, [{ key: `service-${partition}`, value: requests[partition]!, partition }])
      await systemClock.sleep(REQUEST_EVERY_MS, closing.signal)
    }
  })()
  return {
    async close() {
      closing.abort()
      await ended
      await log.close()
    }
  }
}

const positions = async (log: Log): Promise<GroupPosition[]> => (await log.groups()).filter(({ group }) => group === GROUP)

async function watch(store: HomeostatProcess, log: Log, before: readonly GroupPosition[], startMs: number): Promise<Restart> {
  const seconds = (): number => (Date.now() - startMs) / 1_000
  const atStart = await positions(log)
  const committedOf = (all: readonly GroupPosition[], { topic, partition }: GroupPosition): number =>
    all.find(one => one.topic === topic && one.partition === partition)!.committed
  const due = before.filter(one => atStart.some(({ topic, partition, end }) => topic === one.topic && partition === one.partition && end > one.committed))
  let worksOn: number | undefined
  await until('what waited is stored', DEADLINE_MS, async () => {
    await systemClock.sleep(LOOK_MS)
    const now = await positions(log)
    if (due.every(one => committedOf(now, one) > one.committed)) worksOn ??= seconds()
    return atStart.every(one => committedOf(now, one) >= one.end)
  })
  const hasCaughtUp = seconds()
  const saidAfter = (sentence: string): number => {
    const line = store.lines().find(({ msg }) => msg === sentence)
    return (Date.parse(String(line!.time)) - startMs) / 1_000
  }
  return { runs: saidAfter('homeostat starts'), joins: saidAfter('joined the group'), worksOn: worksOn ?? hasCaughtUp, hasCaughtUp }
}
