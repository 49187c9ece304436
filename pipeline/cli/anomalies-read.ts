// Anomalies as ClickHouse has them: the records of each (open, update, close) as one story.

import { AppError } from '../../schemas/errors.ts'
import type { Anomaly, Severity } from '../../schemas/anomaly.ts'
import { SEVERITIES } from '../../schemas/anomaly.ts'
import { type History, quoted } from './backtest-history.ts'

/** One record, times as epoch ms; a number that is not known is null. */
export type AnomalyRow = Pick<
  Anomaly,
  | 'id'
  | 'status'
  | 'detector'
  | 'environment'
  | 'entity'
  | 'signal'
  | 'metric'
  | 'unit'
  | 'attributes'
  | 'series'
  | 'severity'
  | 'direction'
  | 'observed'
  | 'expected'
  | 'lower'
  | 'upper'
  | 'score'
  | 'threshold'
  | 'samples'
  | 'sinceMs'
  | 'observedAtMs'
  | 'detectedAtMs'
  | 'shadow'
  | 'reason'
>

/** One anomaly from its onset on. */
export interface AnomalyStory {
  /** In order of time; the first is `open` unless it is older than what is kept. */
  records: AnomalyRow[]
  first: AnomalyRow
  last: AnomalyRow
  severity: Severity
  /** null while open. */
  closedAtMs: number | null
}

/** Ids that are listed when a prefix has several. */
const MATCHES_SHOWN_MAX = 10
/** Three records at most each. */
const RECORDS_PER_ANOMALY = 3

const MS = (column: string): string => `toUnixTimestamp64Micro(${column}) / 1000`
const COLUMNS = `AnomalyId AS id, Status AS status, Detector AS detector, Environment AS environment, Entity AS entity, Signal AS signal, MetricName AS metric, MetricUnit AS unit,
Attributes AS attributes, Series AS series, Severity AS severity, Direction AS direction, Observed AS observed, Expected AS expected, Lower AS lower, Upper AS upper, Score AS score,
Threshold AS threshold, Samples AS samples, ${MS('Since')} AS sinceMs, ${MS('Timestamp')} AS observedAtMs, ${MS('DetectedAt')} AS detectedAtMs, Shadow AS shadow, Reason AS reason`

export interface AnomalyFilter {
  sinceMs: number
  entity?: string | undefined
  /** Or worse. */
  severity?: Severity | undefined
  limit: number
}

/** Newest first. */
export async function listAnomalies({ sql }: Pick<History, 'sql'>, { sinceMs, entity, severity, limit }: AnomalyFilter): Promise<AnomalyStory[]> {
  const conditions = [`Timestamp >= fromUnixTimestamp64Milli(${Math.floor(sinceMs)})`, ...(entity === undefined ? [] : [ofNamedEntity(entity)])]
  const worse = severity === undefined ? SEVERITIES : SEVERITIES.slice(SEVERITIES.indexOf(severity))
  const ids = `SELECT AnomalyId FROM homeostat_anomalies WHERE ${conditions.join(' AND ')}
GROUP BY AnomalyId HAVING countIf(Severity IN (${worse.map(quoted).join(', ')})) > 0 ORDER BY max(Since) DESC, AnomalyId LIMIT ${limit}`
  const rows = await sql<AnomalyRow>(
    `SELECT ${COLUMNS} FROM homeostat_anomalies FINAL WHERE AnomalyId IN (${ids}) ORDER BY Since DESC, AnomalyId, DetectedAt LIMIT ${limit * RECORDS_PER_ANOMALY}`
  )
  return stories(rows)
}

/** The one anomaly whose id begins with `prefix`. @throws AppError `usage`, `not_found` */
export async function findAnomaly({ sql }: Pick<History, 'sql'>, prefix: string): Promise<AnomalyStory> {
  if (!/^[0-9a-f-]+$/.test(prefix))
    throw new AppError('usage', `${prefix} is not the id of an anomaly: ids are hexadecimal, \`homeostat anomalies\` lists them`)
  const rows = await sql<AnomalyRow>(
    `SELECT ${COLUMNS} FROM homeostat_anomalies FINAL WHERE startsWith(AnomalyId, ${quoted(prefix)}) ORDER BY AnomalyId, DetectedAt LIMIT ${(MATCHES_SHOWN_MAX + 1) * RECORDS_PER_ANOMALY}`
  )
  const found = stories(rows)
  if (found.length === 0)
    throw new AppError(
      'not_found',
      `no anomaly ${prefix} in ClickHouse: see \`homeostat anomalies --since 7d\` (one that was just found takes a moment to be stored)`
    )
  if (found.length > 1) {
    const shown = found.slice(0, MATCHES_SHOWN_MAX).map(({ first }) => `  ${first.id}  ${first.entity}  ${first.metric}`)
    throw new AppError('usage', `several anomalies begin with ${prefix}: give more of the id\n${shown.join('\n')}`)
  }
  return found[0]!
}

/** Others in the same environment that were open during a stretch, those of the same entity first, then in order of onset. */
export async function anomaliesDuring(
  { sql }: Pick<History, 'sql'>,
  { first }: AnomalyStory,
  fromMs: number,
  toMs: number,
  limit: number
): Promise<AnomalyStory[]> {
  const rows = await sql<AnomalyRow>(
    `SELECT ${COLUMNS} FROM homeostat_anomalies FINAL WHERE Environment = ${quoted(first.environment)} AND AnomalyId != ${quoted(first.id)} AND Status = 'open'
AND Since >= fromUnixTimestamp64Milli(${Math.floor(fromMs)}) AND Since <= fromUnixTimestamp64Milli(${Math.ceil(toMs)})
ORDER BY Entity = ${quoted(first.entity)} DESC, Since, AnomalyId LIMIT ${limit}`
  )
  return stories(rows)
}

/** Exact, or every instance of a service. */
export function ofNamedEntity(entity: string): string {
  return entity.includes('@') ? `Entity = ${quoted(entity)}` : `(Entity = ${quoted(entity)} OR startsWith(Entity, ${quoted(`${entity}@`)}))`
}

/** Records, in order of time within an anomaly, as stories. */
export function stories(rows: readonly AnomalyRow[]): AnomalyStory[] {
  return [...Map.groupBy(rows, ({ id }) => id).values()].map(records => {
    const last = records.at(-1)!
    const severity = SEVERITIES[Math.max(...records.map(record => SEVERITIES.indexOf(record.severity)))]!
    return { records, first: records[0]!, last, severity, closedAtMs: last.status === 'close' ? last.observedAtMs : null }
  })
}
