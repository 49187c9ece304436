// What ClickHouse knows of the metrics that checks read: for `policies lint`.

import { AppError } from '../../schemas/errors.ts'
import type { LoadedConfig } from '../config/load.ts'
import { type MetricAnswer, type MetricQuestion, metricQuestions, type PolicyDocuments } from '../roles/policies.ts'
import { type History, metricFilter, quoted } from './backtest-history.ts'
import type { PoliciesPorts } from './policies.ts'

/** A check that saw nothing for so long never will. */
export const LOOKBACK_MS = 86_400_000
const QUESTIONS_MAX = 500 // A second or so each on a day of a large fleet.
const METRICS_MAX = 10_000
const PING_TIMEOUT_MS = 3_000
/** Made from a distribution when it is scored; no row carries it. */
const STATISTIC_ATTRIBUTE = 'stat'
const TABLES = ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary'].map(kind => `otel_metrics_${kind}`)

export interface HistoryAnswers {
  answers: Map<string, MetricAnswer>
  /** Names of all metrics that came at all. */
  metrics: string[]
}

/** @throws AppError when ClickHouse cannot be asked, or has no telemetry at all */
export async function askHistory(ports: PoliciesPorts, loaded: LoadedConfig, documents: Pick<PolicyDocuments, 'runbooks'>): Promise<HistoryAnswers> {
  const questions = [...metricQuestions(documents)].slice(0, QUESTIONS_MAX)
  if (questions.length === 0) return { answers: new Map(), metrics: [] }
  const { url } = loaded.config.store
  if (url !== undefined) await ping(url)
  const history = await ports.openHistory(loaded)
  try {
    const toMs = ports.clock.nowMs()
    const range = { fromMs: toMs - LOOKBACK_MS, toMs }
    const metrics = await namesOf(history, range)
    if (metrics.length === 0) throw new AppError('not_found', 'no metric came within the last day')
    const answers = new Map<string, MetricAnswer>()
    for (const [key, question] of questions) answers.set(key, await answerOf(history, question, range))
    return { answers, metrics }
  } finally {
    await history.close()
  }
}

/** Opening a server waits for it as long as it is away; nobody waits so long for a lint. */
async function ping(url: string): Promise<void> {
  try {
    await fetch(new URL('/ping', url), { signal: AbortSignal.timeout(PING_TIMEOUT_MS) })
  } catch (cause) {
    throw new AppError('store_unavailable', `${url} does not answer`, { cause })
  }
}

async function namesOf({ sql }: History, { fromMs, toMs }: { fromMs: number; toMs: number }): Promise<string[]> {
  const time = `TimeUnix >= fromUnixTimestamp64Milli(${fromMs}) AND TimeUnix < fromUnixTimestamp64Milli(${toMs})`
  const tables = TABLES.map(table => `SELECT DISTINCT MetricName FROM ${table} WHERE ${time}`)
  const rows = await sql<{ name: string }>(`SELECT DISTINCT MetricName AS name FROM (${tables.join('\nUNION ALL\n')}) ORDER BY name LIMIT ${METRICS_MAX}`)
  return rows.map(({ name }) => name)
}

async function answerOf(
  { sql }: History,
  { metric, entity, attributes, windowMs }: MetricQuestion,
  range: { fromMs: number; toMs: number }
): Promise<MetricAnswer> {
  const named = Object.entries(attributes).filter(([name]) => name !== STATISTIC_ATTRIBUTE)
  const filter = [
    metricFilter({ ...range, metrics: [metric], entity }),
    ...named.map(([name, value]) => `Attributes[${quoted(name)}] = ${quoted(value)}`)
  ].join(' AND ')
  const bucket = `intDiv(toUnixTimestamp64Milli(toDateTime64(TimeUnix, 3)), ${Math.max(1, Math.floor(windowMs))})`
  const tables = TABLES.map(table => `SELECT ${bucket} AS bucket FROM ${table} WHERE ${filter}`)
  const [row] = await sql<{ samples: number | string; most: number | string }>(
    `SELECT sum(inBucket) AS samples, max(inBucket) AS most FROM (SELECT count() AS inBucket FROM (${tables.join('\nUNION ALL\n')}) GROUP BY bucket)`
  )
  return { samples: Number(row?.samples ?? 0), samplesInWindowMax: Number(row?.most ?? 0) }
}
