// Changed verdicts: what the disturbed detectors said of the scripted stream against what one undisturbed detector says of the same records.
//
// The metrics topic is read back from its beginning, partition by partition, through the detector's own shard in this process: no restart,
// no takeover, no checkpoint. Compared are whole records (id, onset, end, score, expectation), without the moment of saying so. Absence is
// left out: it is about when somebody listened, and under faults nobody did for seconds.

import { budgetOf } from '../../detectors/score/budget.ts'
import { rawKafka } from '../support/raw-kafka.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { openShard, type Shard } from '../../detectors/shard.ts'
import { shardName } from '../../detectors/shard-table.ts'
import { openReader } from '../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../pipeline/otlp/writer.ts'
import { type Anomaly, anomalyRecord } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import type { LogRecord } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { SCRIPT_ENVIRONMENT } from './scripted-stream.ts'

const READ_DEADLINE_MS = 300_000
const EXAMPLES_MAX = 3

export interface VerdictFindings {
  /** Records of the undisturbed detector. */
  verdicts: number
  /** Said by it and not by the disturbed ones. */
  verdictsMissing: number
  /** Said by the disturbed ones and not by it, a differing record included. */
  verdictsExtra: number
  /** The same record more than once: allowed, ids repeat. */
  verdictsRepeated: number
  examples: string[]
}

export async function compareVerdicts(brokers: readonly string[], config: Config): Promise<VerdictFindings> {
  const detector = undisturbedDetector(config)
  await readTopic(brokers, TOPICS.metrics.name, detector.take)
  const said: Anomaly[] = []
  await readTopic(brokers, TOPICS.anomalies.name, record => {
    const decoded = decodeRecord(anomalyRecord, record)
    if (decoded.ok) said.push(decoded.record)
  })
  return differences(detector.anomalies, said)
}

/** One detector over all partitions that nothing happens to: fed record by record, in the order of each partition. */
export function undisturbedDetector(config: Pick<Config, 'detect' | 'environment'>): { anomalies: readonly Anomaly[]; take(record: LogRecord): void } {
  const shards = new Map<number, Shard>()
  const anomalies: Anomaly[] = []
  const sources = [TOPICS.spans, TOPICS.logs].flatMap(({ name, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => shardName({ topic: name, partition }))
  )
  const options = {
    settings: settingsFrom(config.detect),
    budget: budgetOf(config.detect.memoryMax),
    openReader,
    environment: config.environment,
    nowMs: () => 0,
    models: () => [],
    sources: () => sources,
    encodeDerived
  }
  return {
    anomalies,
    take(record) {
      const { topic, partition } = record
      const shard = shards.get(partition) ?? openShard({ topic, partition }, options)
      shards.set(partition, shard)
      try {
        shard.take(record)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        return // Poison: dead-lettered by the detectors.
      }
      anomalies.push(...shard.outputs().anomalies)
    }
  }
}

/** What was said of the scripted stream against what should have been. */
export function differences(undisturbed: readonly Anomaly[], disturbed: readonly Anomaly[]): VerdictFindings {
  const wanted = new Set(undisturbed.filter(isScripted).map(verdictOf))
  const said = disturbed.filter(isScripted).map(verdictOf)
  const found = new Set(said)
  const missing = [...wanted].filter(verdict => !found.has(verdict))
  const extra = [...found].filter(verdict => !wanted.has(verdict))
  return {
    verdicts: wanted.size,
    verdictsMissing: missing.length,
    verdictsExtra: extra.length,
    verdictsRepeated: said.length - found.size,
    examples: [...missing.slice(0, EXAMPLES_MAX).map(text => `missing ${text}`), ...extra.slice(0, EXAMPLES_MAX).map(text => `extra ${text}`)]
  }
}

function isScripted({ environment, detector }: Anomaly): boolean {
  return environment === SCRIPT_ENVIRONMENT && detector !== 'absence'
}

/** Everything but when it was said. */
function verdictOf({ detectedAtMs: _said, ...verdict }: Anomaly): string {
  return JSON.stringify(Object.entries(verdict).sort(([a], [b]) => a.localeCompare(b)))
}

/** Every record of the topic up to its present end, in the order of each partition. */
async function readTopic(brokers: readonly string[], topic: string, take: (record: LogRecord) => void): Promise<void> {
  const kafka = rawKafka(brokers, { clientId: 'homeostat-crash' })
  const admin = kafka.admin()
  await admin.connect()
  const left = new Map((await admin.fetchTopicOffsets(topic)).filter(({ high, low }) => high !== low).map(at => [at.partition, Number(at.high)]))
  await admin.disconnect()
  if (left.size === 0) return
  const consumer = kafka.consumer({ groupId: `homeostat-crash-${topic}-${process.pid}-${Date.now()}` })
  await consumer.connect()
  const done = Promise.withResolvers<void>()
  const timer = setTimeout(() => done.reject(new Error(`${topic} could not be read back within ${READ_DEADLINE_MS} ms`)), READ_DEADLINE_MS)
  try {
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      async eachBatch({ batch: { partition, messages } }) {
        const end = left.get(partition)
        if (end === undefined) return
        try {
          for (const message of messages) if (Number(message.offset) < end) take(recordOf(topic, partition, message))
        } catch (error) {
          done.reject(error)
        }
        // Compaction leaves holes: the end is reached when an offset at or past the last one was seen.
        if (Number(messages.at(-1)?.offset ?? 0) >= end - 1) left.delete(partition)
        if (left.size === 0) done.resolve()
      }
    })
    await done.promise
  } finally {
    clearTimeout(timer)
    await consumer.disconnect()
  }
}

interface KafkaMessage {
  offset: string
  timestamp: string
  key: Buffer | null
  value: Buffer | null
  headers?: Readonly<Record<string, unknown>>
}

function recordOf(topic: string, partition: number, { offset, timestamp, key, value, headers = {} }: KafkaMessage): LogRecord {
  const texts = Object.fromEntries(Object.entries(headers).map(([name, content]) => [name, String(content)]))
  return { topic, partition, offset: Number(offset), key: key?.toString() ?? null, value, headers: texts, appendedAtMs: Number(timestamp) }
}
