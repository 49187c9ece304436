// Labels of a backtest: a CSV that a person wrote, or the incidents that people confirmed and that an action healed.

import { AppError } from '../../schemas/errors.ts'
import type { Label } from '../roles/backtest.ts'
import { type History, quoted } from './backtest-history.ts'
import { parseIsoMs } from './backtest-moment.ts'
import { type CsvField, splitCsvLine } from './csv-line.ts'

const REQUIRED = ['entity', 'start', 'end'] as const
const OPTIONAL = ['metric'] as const
const EXAMPLE = 'entity,start,end,metric\nshop/orders,2026-03-01T14:00:00Z,2026-03-01T14:12:00Z,\n'
const INCIDENTS_MAX = 5_000
const TITLE_CHARS_MAX = 80

/**
 * Labels of a CSV with a header; columns in any order, `metric` may be missing. Lines that are empty or begin with # are skipped.
 * @throws AppError `usage` with file, line, column, and what to do
 */
export function parseLabels(text: string, file: string): Label[] {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/)
  const fail = (line: number, column: number, problem: string): never => {
    throw new AppError('usage', `${file}:${line}:${column}: ${problem}`)
  }
  let header: string[] | undefined
  const labels: Label[] = []
  for (const [index, source] of lines.entries()) {
    const line = index + 1
    if (source.trim() === '' || source.startsWith('#')) continue
    const fields = splitCsvLine(source, column => fail(line, column, 'a quote has no end: close it with ", and write a quote inside as ""'))
    if (header === undefined) {
      header = readHeader(fields, (column, problem) => fail(line, column, problem))
      continue
    }
    if (fields.length > header.length)
      fail(line, fields[header.length]!.column, `${fields.length} fields, the header has ${header.length}: quote a field that holds a comma`)
    const field = (name: string): CsvField => fields[header!.indexOf(name)] ?? { text: '', column: source.length + 1 }
    const time = (name: 'start' | 'end'): number => {
      const { text: written, column } = field(name)
      return (
        parseIsoMs(written) ??
        fail(line, column, `${name} ${JSON.stringify(written)} is not a time: write it like 2026-03-01T14:00:00Z (without a zone it is UTC)`)
      )
    }
    const { text: entity, column } = field('entity')
    if (entity === '')
      fail(line, column, 'entity is empty: write it as `homeostat anomalies` shows it, like shop/orders@orders-1, or shop/orders for all instances')
    const [startMs, endMs] = [time('start'), time('end')]
    if (endMs <= startMs) fail(line, field('end').column, `end ${field('end').text} is not after start ${field('start').text}`)
    const metric = field('metric').text
    labels.push({ entities: [entity], startMs, endMs, name: `line ${line}`, ...(metric === '' ? {} : { metric }) })
  }
  if (header === undefined) fail(1, 1, `the file is empty: it begins like this\n${EXAMPLE}`)
  if (labels.length === 0) fail(lines.length, 1, `no label below the header: add a line for each time that was abnormal, like this\n${EXAMPLE}`)
  return labels
}

function readHeader(fields: readonly CsvField[], fail: (column: number, problem: string) => never): string[] {
  const names = fields.map(({ text }) => text.toLowerCase())
  for (const [index, name] of names.entries()) {
    if (![...REQUIRED, ...OPTIONAL].includes(name as (typeof REQUIRED)[number])) {
      return fail(
        fields[index]!.column,
        `column ${JSON.stringify(fields[index]!.text)} is not known: the first line names the columns entity,start,end and, if you like, metric`
      )
    }
    if (names.indexOf(name) !== index) return fail(fields[index]!.column, `column ${name} comes twice`)
  }
  const missing = REQUIRED.filter(name => !names.includes(name))
  return missing.length === 0
    ? names
    : fail(1, `column ${missing.join(' and ')} is missing: the first line names the columns entity,start,end and, if you like, metric`)
}

interface IncidentRow {
  id: string
  title: string
  startMs: number
  endMs: number
  resolution: string
  anomalyIds: string[]
  members: string
}

/** Incidents that began in [fromMs, toMs): healed by an action, or confirmed by a true_positive label; those labelled false_positive are not. */
export async function incidentLabels({ sql }: Pick<History, 'sql'>, fromMs: number, toMs: number): Promise<Label[]> {
  const ms = (expression: string): string => `toUnixTimestamp64Micro(${expression}) / 1000`
  const incidents = await sql<IncidentRow>(
    `SELECT IncidentId AS id, Title AS title, ${ms('StartedAt')} AS startMs, ${ms('coalesce(HealedAt, ResolvedAt, UpdatedAt)')} AS endMs, Resolution AS resolution, AnomalyIds AS anomalyIds, Members AS members
FROM homeostat_incidents_latest WHERE StartedAt >= fromUnixTimestamp64Milli(${Math.floor(fromMs)}) AND StartedAt < fromUnixTimestamp64Milli(${Math.ceil(toMs)}) ORDER BY StartedAt, IncidentId LIMIT ${INCIDENTS_MAX}`
  )
  const said = await sql<{ anomalyId: string; label: string }>(
    `SELECT AnomalyId AS anomalyId, argMax(Label, Timestamp) AS label FROM homeostat_control FINAL WHERE Kind = ${quoted('label')} GROUP BY AnomalyId LIMIT ${INCIDENTS_MAX}`
  )
  const labelOf = new Map(said.map(({ anomalyId, label }) => [anomalyId, label]))
  return incidents
    .filter(({ resolution, anomalyIds }) => {
      const labels = anomalyIds.flatMap(id => labelOf.get(id) ?? [])
      return labels.length > 0 ? labels.includes('true_positive') : resolution === 'remediated'
    })
    .map(({ id, title, startMs, endMs, members }) => ({
      entities: [...new Set((JSON.parse(members) as { entity: string }[]).map(({ entity }) => entity))],
      startMs,
      endMs: Math.max(endMs, startMs + 1),
      name: `${id.slice(0, 8)} ${title.slice(0, TITLE_CHARS_MAX)}`
    }))
}
