// A detect worker on a memory log and a virtual clock, with the real reader, writer and checkpoint store, and traffic for it.

import { type DetectWorker, detectWorker } from '../../../detectors/worker.ts'
import { checkpointStore } from '../../../pipeline/log/checkpoint-store.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { memoryMeter } from '../../../pipeline/self/meter.ts'
import { type Anomaly, anomalyRecord } from '../../../schemas/anomaly.ts'
import { decodeRecord } from '../../../schemas/envelope.ts'
import type { CheckpointStore, Logger } from '../../../schemas/ports.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { type Edge, edgeRecord } from '../../../schemas/topology.ts'
import { type MemoryLog, memoryLog } from '../../support/memory-log.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { type VirtualClock, virtualClock } from '../../support/virtual-clock.ts'
import { detectConfig, START_MS } from './builders.ts'

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => SILENT }
const FAST = { window: '1s', lateness: '1s', warmupPoints: 30, absenceMin: '5s', checkpointInterval: '10s' }

export interface Rig {
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
/** Ends the workers of a test. */
export async function closeWorkers(): Promise<void> {
  for (const worker of workers.splice(0)) await worker.close()
}

export function aRig(): Rig {
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

export function gauge(service: string, name: string, unit: string, atMs: number, value: number): Uint8Array {
  const metrics = [{ name, unit, gauge: { dataPoints: [{ timeUnixNano: nano(atMs), asDouble: value }] } }]
  return encodeOtlp('metrics', { resourceMetrics: [{ resource: resource(service), scopeMetrics: [{ metrics }] }] })
}

export function span(
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
export async function metricsSecond(rig: Rig, second: number, options: { leakFrom?: number; silentFrom?: number } = {}): Promise<void> {
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

export async function run(rig: Rig, from: number, to: number, second: (second: number) => Promise<void>): Promise<void> {
  for (let now = from; now < to; now++) {
    await second(now)
    await rig.clock.advance(1_000)
    await rig.log.drained()
  }
}
