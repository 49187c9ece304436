// bench kafka: a real broker on this machine. Topic -> scored, against the same consumer with a JSON message a point, as shipped and
// with the base tier alone (both formats share the scoring); our appends against the broker's own producer tool; two detectors against one.
//
// Broker, detectors and this process share the machine: with two cores, two detectors and the broker do not each have one, and the
// figure says so (`coresFree`). Rates by the clock from the first batch to the last point scored; joining is not counted.

import { type ChildProcess, execFile, fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { promisify } from 'node:util'
import { openLog } from '../../pipeline/roles/log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { type Config, configSchema } from '../../schemas/config.ts'
import type { Log, LogRecordInput } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type KafkaBroker, kafkaJars, startKafka } from '../support/kafka-broker.ts'
import { createTopics } from '../support/kafka-topics.ts'
import { type BenchOptions, type BenchResult, figure, median, say, until } from './harness.ts'
import { INPUTS, jsonMessages } from './json-points.ts'
import { otlpLoad } from './otlp-load.ts'
import type { DetectorAnswer, DetectorOrder } from './peers/kafka-detector.ts'
import { deaf, quiet } from '../support/quiet.ts'

const CLIENTS = ['kafkajs', 'platformatic'] as const
const PARTITIONS = 4 // Two for each of two detectors.
const SERVICES_PER_PARTITION = 2
const METRICS = 50
const POINTS_PER_METRIC = 20
const STEPS_OTLP = 240 // 1,920,000 points: a second or two a measurement, so that making the series is a small part.
const STEPS_JSON = 24
const STEP_MS = 10_000
const ROUNDS = 5 // Each has eleven measurements of seconds; more only narrows a ratio that is far from its goal.
const ASSIGN_DEADLINE_MS = 60_000
const SCORE_DEADLINE_MS = 180_000
const JIFFY_MS = 10 // Of /proc: 100 a second on every Linux of these days.
const JOIN_TOGETHER_MS = 1_000 // A detector that waits for `go` inside its first batch cannot make room for another one.
const PRODUCE_BYTES = 200_000 // A batch of a Collector, compressed or not, is of this order.
const PRODUCE_RECORDS = 3_000
const PRODUCE_IN_FLIGHT = 16
const GOALS = { vsJson: 10, twoVsOne: 1.8 }

type Format = DetectorOrder['format']
type Tier = DetectorOrder['tier']

export async function kafkaBench(_options: BenchOptions): Promise<BenchResult> {
  const broker = await startKafka({ heapMb: 1_024, settings: { 'group.initial.rebalance.delay.ms': JOIN_TOGETHER_MS } })
  const detectors: Detector[] = []
  try {
    await createTopics(configOf(broker, 'kafkajs'))
    const points = await fill(broker)
    for (const instance of ['first', 'second']) detectors.push(await openDetector(broker, instance))
    const scoring = await scoringRounds(broker, detectors, points)
    for (const detector of detectors) detector.stop()
    const produce = await produceRounds(broker)
    return { ...scoring, produceVsPerfTool: produce }
  } finally {
    for (const detector of detectors) detector.stop()
    await broker.stop()
  }
}

function configOf(broker: KafkaBroker, client: (typeof CLIENTS)[number], instance = 'bench'): Config {
  const partitions = Object.fromEntries([...Object.values(INPUTS), TOPICS.spans.name].map(topic => [topic, PARTITIONS]))
  const topics = { replication: 1, minInsyncReplicas: 1, partitions }
  return configSchema.parse({
    apiVersion: 'homeostat.io/v1',
    kind: 'Homeostat',
    log: { kind: 'kafka' },
    kafka: { client, brokers: broker.brokers, topics, instance }
  })
}

function openBenchLog(broker: KafkaBroker, client: (typeof CLIENTS)[number]): Promise<Log> {
  return openLog(configOf(broker, client), { clock: systemClock, logger: quiet, meter: deaf })
}

/** The same points as OTLP requests in one topic and as JSON messages in another. @returns points by format */
async function fill(broker: KafkaBroker): Promise<Record<Format, number>> {
  const log = await openBenchLog(broker, 'platformatic')
  const points = { otlp: 0, json: 0 }
  const beginMs = systemClock.nowMs() - STEPS_OTLP * STEP_MS
  for (let step = 0; step < STEPS_OTLP; step++) {
    const otlp: LogRecordInput[] = []
    const json: LogRecordInput[] = []
    for (let index = 0; index < PARTITIONS * SERVICES_PER_PARTITION; index++) {
      const partition = index % PARTITIONS
      const service = `service-${index}`
      const { request, pointCount } = otlpLoad({
        ...{ seed: 7 + index, kinds: 'numbers', metricCount: METRICS, pointCount: POINTS_PER_METRIC },
        ...{ service, timeMs: beginMs + step * STEP_MS }
      })
      otlp.push({ key: service, value: request, partition })
      points.otlp += pointCount
      if (step >= STEPS_JSON) continue
      const messages = jsonMessages(request)
      json.push(...messages.map(value => ({ key: service, value, partition })))
      points.json += messages.length
    }
    await log.append(INPUTS.otlp, otlp)
    if (json.length > 0) await log.append(INPUTS.json, json)
  }
  await log.close()
  say(`topics: ${points.otlp} points as OTLP, ${points.json} of the same as one JSON message each`)
  return points
}

interface Detector {
  send(message: object | string): void
  partitions(): number
  ask(): Promise<Extract<DetectorAnswer, { kind: 'counts' }>>
  ready(): Promise<void>
  stop(): void
}

async function openDetector(broker: KafkaBroker, instance: string): Promise<Detector> {
  const child: ChildProcess = fork(new URL('./peers/kafka-detector.ts', import.meta.url), [JSON.stringify(configOf(broker, 'kafkajs', instance))], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
  let partitions = 0
  const waiting = new Map<DetectorAnswer['kind'], (answer: DetectorAnswer) => void>()
  child.on('message', (answer: DetectorAnswer) => {
    if (answer.kind === 'assigned') partitions = answer.partitions
    waiting.get(answer.kind)?.(answer)
  })
  let fail: (error: Error) => void = () => {}
  child.once('exit', code => fail(new Error(`a detector ended with ${code}`)))
  const next = <Kind extends DetectorAnswer['kind']>(kind: Kind): Promise<Extract<DetectorAnswer, { kind: Kind }>> =>
    new Promise((resolve, reject) => {
      fail = reject
      waiting.set(kind, answer => resolve(answer as Extract<DetectorAnswer, { kind: Kind }>))
    })
  await next('ready')
  return {
    send: message => void child.send(message),
    partitions: () => partitions,
    ask: () => {
      const answer = next('counts')
      child.send('counts')
      return answer
    },
    ready: () => {
      const answer = next('ready')
      child.send('end')
      return answer.then(() => {
        partitions = 0
      })
    },
    stop: () => void child.kill()
  }
}

interface Measured {
  pointsPerS: number
  cpuMicros: number
  /** Of broker and detectors together, in cores. */
  coresBusy: number
  series: number
}

let groups = 0

/** From `go` until all points of the topic are scored by these detectors together. */
async function score(broker: KafkaBroker, detectors: readonly Detector[], format: Format, points: number, tier: Tier = 'rich'): Promise<Measured> {
  const group = `bench-${groups++}`
  for (const detector of detectors) detector.send({ group, format, tier } satisfies DetectorOrder)
  await until('the partitions are shared', ASSIGN_DEADLINE_MS, () => detectors.every(detector => detector.partitions() === PARTITIONS / detectors.length))
  const begun = performance.now()
  const brokerBegunMs = cpuMsOf(broker.pid)
  for (const detector of detectors) detector.send('go')
  let answers: Awaited<ReturnType<Detector['ask']>>[] = []
  await until(`${points} points are scored`, SCORE_DEADLINE_MS, async () => {
    answers = await Promise.all(detectors.map(detector => detector.ask()))
    return sum(answers.map(answer => answer.points)) >= points
  })
  const wallMs = performance.now() - begun
  const brokerMs = cpuMsOf(broker.pid) - brokerBegunMs
  const cpuMs = sum(answers.map(answer => answer.cpuMs))
  const read = sum(answers.map(answer => answer.points))
  if (read !== points) throw new Error(`${read} points were read of ${points}: some came twice`)
  await Promise.all(detectors.map(detector => detector.ready()))
  return {
    pointsPerS: (points / wallMs) * 1_000,
    cpuMicros: (cpuMs * 1_000) / points,
    coresBusy: (cpuMs + brokerMs) / wallMs,
    series: sum(answers.map(answer => answer.series))
  }
}

async function scoringRounds(broker: KafkaBroker, detectors: readonly Detector[], points: Record<Format, number>): Promise<Record<string, number>> {
  const [first, second] = detectors
  const rounds: Record<'one' | 'json' | 'two' | 'base' | 'baseJson', Measured>[] = []
  for (const detector of detectors) {
    // Warm-up of each process: V8 compiles its loops.
    await score(broker, [detector], 'otlp', points.otlp)
    await score(broker, [detector], 'json', points.json)
  }
  for (let round = 0; round < ROUNDS; round++) {
    const one = await score(broker, [first!], 'otlp', points.otlp)
    const json = await score(broker, [first!], 'json', points.json)
    const two = await score(broker, [first!, second!], 'otlp', points.otlp)
    const base = await score(broker, [first!], 'otlp', points.otlp, 'base')
    const baseJson = await score(broker, [first!], 'json', points.json, 'base')
    if (one.series !== json.series || one.series !== two.series) throw new Error(`${one.series}, ${json.series} and ${two.series} series: not the same work`)
    rounds.push({ one, json, two, base, baseJson })
    say(
      `round ${round + 1} of ${ROUNDS}: one ${rate(one)}, JSON ${rate(json)}, two ${rate(two)}, base tier ${rate(base)}, its JSON ${rate(baseJson)} points/s; CPU us a point ${one.cpuMicros.toFixed(2)} / ${json.cpuMicros.toFixed(2)} / ${two.cpuMicros.toFixed(2)}; cores busy ${one.coresBusy.toFixed(1)} / ${json.coresBusy.toFixed(1)} / ${two.coresBusy.toFixed(1)}; load ${loadavg()[0]!.toFixed(1)}`
    )
  }
  const middle = (of: (round: (typeof rounds)[number]) => number): number => figure(median(rounds.map(of)))
  const result = {
    pointsPerS: Math.round(median(rounds.map(({ one }) => one.pointsPerS))),
    pointsPerCpuS: Math.round(1e6 / median(rounds.map(({ one }) => one.cpuMicros))),
    vsJson: middle(({ one, json }) => one.pointsPerS / json.pointsPerS),
    vsJsonCpu: middle(({ one, json }) => json.cpuMicros / one.cpuMicros),
    pointsPerSBase: Math.round(median(rounds.map(({ base }) => base.pointsPerS))),
    vsJsonBase: middle(({ base, baseJson }) => base.pointsPerS / baseJson.pointsPerS),
    twoVsOne: middle(({ one, two }) => two.pointsPerS / one.pointsPerS),
    twoVsOneCpu: middle(({ one, two }) => (2 * one.cpuMicros) / two.cpuMicros),
    coresBusyOne: middle(({ one }) => one.coresBusy),
    coresBusyTwo: middle(({ two }) => two.coresBusy),
    cores: availableParallelism()
  }
  say(
    `vs JSON ${result.vsJson}x, with the base tier ${result.vsJsonBase}x (goal ${GOALS.vsJson}x), two detectors ${result.twoVsOne}x one (goal ${GOALS.twoVsOne}x where the broker leaves them a core each: ${result.coresBusyTwo} of ${result.cores} cores were busy), ${result.twoVsOneCpu}x by CPU time a point`
  )
  return result
}

/** Our appends against the broker's own tool, same record size, same settings, in turn. */
async function produceRounds(broker: KafkaBroker): Promise<Record<string, number>> {
  const rates: Record<string, number[]> = { tool: [], kafkajs: [], platformatic: [] }
  for (let round = 0; round <= ROUNDS; round++) {
    const measured: Record<string, number> = { tool: await toolRate(broker) }
    for (const client of CLIENTS) measured[client] = await appendRate(broker, client)
    if (round === 0) continue // Files, page cache and compilers warm up.
    for (const [name, value] of Object.entries(measured)) rates[name]!.push(value)
    say(
      `produce, round ${round}: ${Object.entries(measured)
        .map(([name, value]) => `${name} ${Math.round((value * PRODUCE_BYTES) / 1e6)} MB/s`)
        .join(', ')}`
    )
  }
  return Object.fromEntries(CLIENTS.map(client => [client, figure(median(rates[client]!.map((value, round) => value / rates['tool']![round]!)))]))
}

async function appendRate(broker: KafkaBroker, client: (typeof CLIENTS)[number]): Promise<number> {
  const log = await openBenchLog(broker, client)
  const value = new Uint8Array(PRODUCE_BYTES).map((_, index) => (index * 2_654_435_761) >>> 24)
  const before = sum((await log.offsets(TOPICS.spans.name)).map(({ end }) => end))
  const begun = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: PRODUCE_IN_FLIGHT }, async () => {
      while (next < PRODUCE_RECORDS) await log.append(TOPICS.spans.name, [{ key: `key-${next}`, value, partition: next++ % PARTITIONS }])
    })
  )
  const wallMs = performance.now() - begun
  const written = sum((await log.offsets(TOPICS.spans.name)).map(({ end }) => end)) - before
  if (written !== PRODUCE_RECORDS) throw new Error(`${written} of ${PRODUCE_RECORDS} records lie in the topic`)
  await log.close()
  return (PRODUCE_RECORDS / wallMs) * 1_000
}

/** What the tool itself says of its rate: the start of its JVM is not counted. */
async function toolRate(broker: KafkaBroker): Promise<number> {
  const args = ['--topic', TOPICS.spans.name, '--num-records', String(PRODUCE_RECORDS), '--record-size', String(PRODUCE_BYTES), '--throughput', '-1']
  const properties = ['acks=all', 'enable.idempotence=true', `bootstrap.servers=${broker.brokers[0]}`, 'max.request.size=10000000']
  const { stdout } = await promisify(execFile)('java', [
    ...['-Xmx512m', '-cp', `${kafkaJars('tools')}/*`, 'org.apache.kafka.tools.ProducerPerformance', ...args],
    '--command-property',
    ...properties
  ])
  const last = stdout.trim().split('\n').at(-1)!
  const match = /([\d.]+) records\/sec/.exec(last)
  if (match === null) throw new Error(`the producer tool says: ${last}`)
  return Number(match[1])
}

/** User and system time of a process and all its threads. */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * JIFFY_MS
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const rate = ({ pointsPerS }: Measured): string => Math.round(pointsPerS).toLocaleString('en')
