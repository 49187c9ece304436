import { afterEach, describe, expect, it } from 'vitest'
import { checkpointName } from '../../../detectors/checkpoint.ts'
import { type DetectWorker, detectWorker } from '../../../detectors/worker.ts'
import { checkpointStore } from '../../../pipeline/log/checkpoint-store.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { memoryMeter } from '../../../pipeline/self/meter.ts'
import { type Anomaly, anomalyRecord } from '../../../schemas/anomaly.ts'
import { decodeRecord } from '../../../schemas/envelope.ts'
import { AppError } from '../../../schemas/errors.ts'
import type { CheckpointStore, Logger } from '../../../schemas/ports.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { type Edge, edgeRecord } from '../../../schemas/topology.ts'
import { type MemoryLog, memoryLog } from '../../support/memory-log.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { type VirtualClock, virtualClock } from '../../support/virtual-clock.ts'
import { detectConfig, START_MS } from './builders.ts'

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => SILENT }
const FAST = { window: '1s', lateness: '1s', warmupPoints: 30, absenceMin: '5s', checkpointInterval: '10s' }

interface Rig {
  clock: VirtualClock
  log: MemoryLog
  checkpoints: CheckpointStore
  meter: ReturnType<typeof memoryMeter>
  start(config?: Record<string, unknown>): Promise<DetectWorker>
  anomalies(): Anomaly[]
  opened(): Anomaly[]
  edges(): Edge[]
}

const workers: DetectWorker[] = []
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
})

function aRig(): Rig {
  const clock = virtualClock(START_MS)
  const log = memoryLog({ nowMs: () => clock.nowMs() })
  const checkpoints = checkpointStore(log)
  const meter = memoryMeter()
  const decode = <T>(topic: string, type: Parameters<typeof decodeRecord<T>>[0]): T[] =>
    log.records(topic).map(record => {
      const decoded = decodeRecord(type, record)
      if (!decoded.ok) throw new Error(decoded.reason)
      return decoded.record
    })
  const anomalies = (): Anomaly[] => decode(TOPICS.anomalies.name, anomalyRecord)
  const rig: Rig = {
    clock,
    log,
    checkpoints,
    meter,
    anomalies,
    opened: () => anomalies().filter(anomaly => anomaly.status === 'open'),
    edges: () => decode(TOPICS.topology.name, edgeRecord),
    async start(config = FAST) {
      const worker = detectWorker({
        log,
        checkpoints: rig.checkpoints,
        openReader,
        encodeDerived,
        config: detectConfig(config),
        environment: 'lab',
        clock,
        logger: SILENT,
        meter
      })
      workers.push(worker)
      await worker.start()
      return worker
    }
  }
  return rig
}

const text = (key: string, value: string): object => ({ key, value: { stringValue: value } })
const resource = (service: string): object => ({ attributes: [text('service.name', service), text('service.instance.id', `${service}-1`)] })
const nano = (ms: number): string => `${BigInt(Math.round(ms * 1_000)) * 1_000n}`

function gauge(service: string, name: string, unit: string, atMs: number, value: number): Uint8Array {
  const metrics = [{ name, unit, gauge: { dataPoints: [{ timeUnixNano: nano(atMs), asDouble: value }] } }]
  return encodeOtlp('metrics', { resourceMetrics: [{ resource: resource(service), scopeMetrics: [{ metrics }] }] })
}

function span(
  service: string,
  overrides: { kind: number; startMs: number; durationMs: number; id: string; parent?: string; error?: boolean; peer?: string }
): object {
  const { kind, startMs, durationMs, id, parent, error, peer } = overrides
  return {
    resource: resource(service),
    scopeSpans: [
      {
        spans: [
          {
            traceId: Buffer.from(id.padStart(32, '0'), 'hex'),
            spanId: Buffer.from(id.padStart(16, '0'), 'hex'),
            ...(parent === undefined ? {} : { parentSpanId: Buffer.from(parent.padStart(16, '0'), 'hex') }),
            name: 'GET /',
            kind,
            startTimeUnixNano: nano(startMs),
            endTimeUnixNano: nano(startMs + durationMs),
            attributes: peer === undefined ? [] : [text('server.address', peer)],
            status: { code: error ? 2 : 0 }
          }
        ]
      }
    ]
  }
}

/** One second of a healthy (or leaking) fleet: memory of two services once a second. */
async function metricsSecond(rig: Rig, second: number, options: { leakFrom?: number; silentFrom?: number } = {}): Promise<void> {
  const { leakFrom = Number.POSITIVE_INFINITY, silentFrom = Number.POSITIVE_INFINITY } = options
  for (const service of ['orders', 'payments']) {
    if (service === 'payments' && second >= silentFrom) continue
    const leak = service === 'orders' ? Math.max(0, second - leakFrom) * 20e6 : 0
    const value = 60e6 + (second % 7) * 1e6 + leak
    await rig.log.append(TOPICS.metrics.name, [
      { key: `${service}@${service}-1`, value: gauge(service, 'process.memory.usage', 'By', rig.clock.nowMs(), value) }
    ])
  }
}

async function run(rig: Rig, from: number, to: number, second: (second: number) => Promise<void>): Promise<void> {
  for (let now = from; now < to; now++) {
    await second(now)
    await rig.clock.advance(1_000)
    await rig.log.drained()
  }
}

describe('detect worker', () => {
  it('publishes an anomaly of a leaking process, keyed by environment', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 60, second => metricsSecond(rig, second, { leakFrom: 45 }))
    expect(rig.opened()).toMatchObject([{ entity: 'orders@orders-1', metric: 'process.memory.usage', environment: 'lab', severity: 'critical' }])
    expect(rig.log.records(TOPICS.anomalies.name)[0]!.key).toBe('lab')
    expect(worker.stats()).toMatchObject({ entities: 2, outboxRecords: 0, shards: 12 })
    expect(worker.explain('orders@orders-1')[0]).toMatchObject({ metric: 'process.memory.usage', state: 'open' })
  })

  it('tells a service that fell silent, and nothing about the others', async () => {
    const rig = aRig()
    await rig.start()
    await run(rig, 0, 60, second => metricsSecond(rig, second, { silentFrom: 40 }))
    expect(rig.opened()).toMatchObject([{ detector: 'absence', entity: 'payments@payments-1', direction: 'absent', sinceMs: START_MS + 39_000 }])
    await run(rig, 60, 64, second => metricsSecond(rig, second))
    expect(rig.anomalies().at(-1)).toMatchObject({ detector: 'absence', status: 'close' })
  })

  it('turns spans into series, finds the hung callee on the edge, and draws the graph', async () => {
    const rig = aRig()
    await rig.start()
    const hungFrom = 60
    await run(rig, 0, 75, async second => {
      for (let request = 0; request < 10; request++) {
        const id = (second * 100 + request * 2 + 1).toString(16)
        const startMs = rig.clock.nowMs() + request * 50
        const isHung = second >= hungFrom
        const slices = [span('gateway', { kind: 3, startMs, durationMs: isHung ? 900 : 20, id, peer: 'orders.local', error: isHung })]
        if (!isHung) slices.push(span('orders', { kind: 2, startMs, durationMs: 15, id: (second * 100 + request * 2 + 2).toString(16), parent: id }))
        // Traces spread over the partitions: every shard counts a part of each window.
        await rig.log.append(TOPICS.spans.name, [{ key: id, partition: request % 4, value: encodeOtlp('spans', { resourceSpans: slices }) }])
      }
    })
    expect(rig.edges()).toContainEqual(expect.objectContaining({ environment: 'lab', source: 'gateway', target: 'orders', instrumented: true }))
    const told = rig.opened().filter(anomaly => anomaly.attributes['peer'] === 'orders')
    expect(told.map(anomaly => anomaly.metric)).toEqual(
      expect.arrayContaining(['homeostat.edge.errors', 'homeostat.edge.error_ratio', 'homeostat.edge.duration'])
    )
    for (const anomaly of told) expect(Math.abs(anomaly.sinceMs - (START_MS + hungFrom * 1_000))).toBeLessThanOrEqual(2_000)
    const others = rig.opened().filter(anomaly => anomaly.entity !== 'gateway@gateway-1')
    expect(others.map(anomaly => [anomaly.entity, anomaly.detector])).toEqual([['orders@orders-1', 'absence']])
  })

  it('dead-letters a poison record and goes on', async () => {
    const rig = aRig()
    await rig.start()
    await rig.log.append(TOPICS.metrics.name, [
      { key: 'orders@orders-1', value: Uint8Array.of(0x0a, 0xff) },
      { key: 'orders@orders-1', value: gauge('orders', 'm', '1', START_MS, 1) }
    ])
    await rig.log.drained()
    expect(rig.log.records(`${TOPICS.metrics.name}.dlq`).map(record => record.headers['dlq.reason'])).toEqual(['malformed_otlp'])
    expect(workers[0]!.stats().counts).toMatchObject({ points: 1, scored: 1 })
  })

  it('loses no anomaly while the log takes nothing, and takes no further input', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 47, second => metricsSecond(rig, second, { leakFrom: 45 }))
    const input: Uint8Array[] = []
    for (let second = 47; second < 60; second++)
      input.push(gauge('orders', 'process.memory.usage', 'By', START_MS + second * 1_000, 60e6 + (second - 45) * 20e6))
    await rig.log.append(
      TOPICS.metrics.name,
      input.map(value => ({ key: 'orders@orders-1', value }))
    )
    rig.log.failAppends(new AppError('log_full', 'disk full'))
    await rig.clock.advance(3_000)
    expect(worker.stats().outboxRecords).toBeGreaterThan(0)
    expect(rig.anomalies()).toEqual([])
    rig.log.failAppends(undefined)
    await rig.clock.advance(3_000)
    await rig.log.drained()
    expect(rig.opened().filter(anomaly => anomaly.detector === 'adaptive').length).toBe(1)
    expect(worker.stats().outboxRecords).toBe(0)
  })

  it('writes no checkpoint of a state whose anomalies are not durable yet', async () => {
    const rig = aRig()
    const saves: number[] = []
    rig.checkpoints = { load: async () => undefined, save: async () => void saves.push(rig.clock.nowMs()) }
    await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    expect(saves.length).toBeGreaterThan(0)
    rig.log.failAppends(new AppError('log_unavailable', 'no quorum'))
    // Both services fall silent, which cannot be told.
    await rig.clock.advance(5_500)
    const before = saves.length
    await rig.clock.advance(60_000)
    expect(saves.length).toBe(before)
    rig.log.failAppends(undefined)
    await rig.clock.advance(20_000)
    expect(rig.opened().map(anomaly => anomaly.detector)).toEqual(['absence', 'absence'])
    expect(saves.length).toBeGreaterThan(before)
  })

  it('reports a bug through finished', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    rig.log.failAppends(new AppError('unknown_topic', 'gone'))
    // Both services fall silent; telling so meets an error that no waiting cures.
    await rig.clock.advance(10_000)
    await expect(worker.finished).rejects.toThrow('gone')
    rig.log.failAppends(undefined)
  })
})

describe('detect worker after a crash', () => {
  /** Ids by status, sorted: what downstream keeps after removing repeats. */
  const distinct = (rig: Rig): string[] => [...new Set(rig.anomalies().map(anomaly => `${anomaly.id} ${anomaly.status} ${anomaly.sinceMs}`))].sort()

  it('continues from its checkpoint, repeats ids instead of inventing events, and keeps derived counts right', async () => {
    const traffic = async (rig: Rig, second: number): Promise<void> => {
      await metricsSecond(rig, second, { leakFrom: 65 })
      for (let request = 0; request < 6; request++) {
        const id = (second * 10 + request + 1).toString(16)
        const slice = span('orders', { kind: 2, startMs: rig.clock.nowMs() + request, durationMs: 5, id, error: second >= 60 })
        await rig.log.append(TOPICS.spans.name, [{ key: id, partition: request % 4, value: encodeOtlp('spans', { resourceSpans: [slice] }) }])
      }
    }
    const calm = aRig()
    await calm.start()
    await run(calm, 0, 80, second => traffic(calm, second))
    expect(distinct(calm).length).toBeGreaterThanOrEqual(3)

    const crashing = aRig()
    for (const [from, to] of [
      [0, 33],
      [33, 61],
      [61, 63],
      [63, 68],
      [68, 80]
    ] as const) {
      const worker = await crashing.start()
      await run(crashing, from, to, second => traffic(crashing, second))
      if (to === 80) continue
      await crash(crashing, worker)
    }
    expect(distinct(crashing)).toEqual(distinct(calm))
  })

  it('commits nothing beyond what its checkpoint holds', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 15, second => metricsSecond(rig, second))
    const saved = await Promise.all([0, 1, 2, 3].map(partition => rig.checkpoints.load(checkpointName({ topic: TOPICS.metrics.name, partition }))))
    const offsets = saved.flatMap(checkpoint => checkpoint?.positions.map(position => position.offset) ?? [])
    expect(offsets.reduce((a, b) => a + b)).toBeGreaterThan(0)
    await worker.close()
    const closed = await Promise.all([0, 1, 2, 3].map(partition => rig.checkpoints.load(checkpointName({ topic: TOPICS.metrics.name, partition }))))
    const ends = closed.flatMap(checkpoint => checkpoint?.positions.map(position => position.offset) ?? [])
    expect(ends.reduce((a, b) => a + b)).toBe(30)
  })

  it('rebuilds its series from the log when a checkpoint cannot be read', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    await worker.close()
    const { partition } = rig.log.records(TOPICS.metrics.name).find(record => record.key === 'orders@orders-1')!
    await rig.checkpoints.save(checkpointName({ topic: TOPICS.metrics.name, partition }), { version: 1, positions: [], parts: new Map() })
    const again = await rig.start()
    await rig.log.drained()
    expect(again.explain('orders@orders-1')[0]).toMatchObject({ samples: 40 })
  })

  it('does not take its own downtime for a silence of others', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    await worker.close()
    await rig.clock.advance(300_000)
    await rig.start()
    await rig.clock.advance(20_000)
    expect(rig.anomalies()).toEqual([])
    await run(rig, 0, 10, second => metricsSecond(rig, second))
    expect(rig.anomalies()).toEqual([])
  })
})

/** The process is gone: nothing of its memory is written any more, its membership ends, the log stays. */
async function crash(rig: Rig, worker: DetectWorker): Promise<void> {
  const save = rig.checkpoints.save
  rig.checkpoints.save = () => Promise.reject(new AppError('log_unavailable', 'crashed'))
  await worker.close()
  rig.checkpoints.save = save
}
