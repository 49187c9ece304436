// Recorded incidents, decisions, commands, outcomes and controls out of ClickHouse, as the records that they were: for `policies simulate`.
//
// Read from the columns, so rows of earlier releases serve as well. What a column does not keep (steps and evidence of an outcome)
// deciding does not read. A row that cannot be read is counted, not guessed.

import { z } from 'zod'
import { commandSchema } from '../../schemas/command.ts'
import { controlSchema } from '../../schemas/control.ts'
import { decisionSchema } from '../../schemas/decision.ts'
import { incidentSchema } from '../../schemas/incident.ts'
import { outcomeSchema } from '../../schemas/outcome.ts'
import type { RecordedHistory } from '../roles/policies.ts'
import { type History, quoted } from './backtest-history.ts'

/** Attempts and verdicts before the window that still count: budgets, cooldowns and reverts look back a day at most by default. */
export const LOOKBACK_MS = 7 * 86_400_000
const PAGE_ROWS = 2_000 // An incident with all its members is some tens of KB.
/** Records of one kind; beyond this the window is too long for one replay. */
export const RECORDS_MAX = 500_000

type Row = Record<string, unknown>
interface Table {
  table: string
  columns: string
  /** Latest of each subject only. */
  limitBy?: string
}

const ms = (column: string, name: string): string => `toFloat64(toUnixTimestamp64Milli(toDateTime64(${column}, 3))) AS ${name}`
const nullableMs = (column: string, name: string): string =>
  `if(isNull(${column}), NULL, toFloat64(toUnixTimestamp64Milli(toDateTime64(assumeNotNull(${column}), 3)))) AS ${name}`
const text = (pairs: Readonly<Record<string, string>>): string =>
  Object.entries(pairs)
    .map(([name, column]) => `${column} AS ${name}`)
    .join(', ')

const INCIDENTS: Table = {
  table: 'homeostat_incidents',
  columns: [
    text({ id: 'IncidentId', environment: 'Environment', status: 'Status', severity: 'Severity', title: 'Title', resolution: 'Resolution' }),
    text({
      version: 'Version',
      attempts: 'Attempts',
      membersOmitted: 'MembersOmitted',
      unknownEntities: 'UnknownEntities',
      causes: 'Causes',
      members: 'Members'
    }),
    ...[ms('StartedAt', 'startedAtMs'), ms('OpenedAt', 'openedAtMs'), ms('UpdatedAt', 'updatedAtMs')],
    ...[nullableMs('HealedAt', 'healedAtMs'), nullableMs('ResolvedAt', 'resolvedAtMs')]
  ].join(', ')
}
const OUTCOMES: Table = {
  table: 'homeostat_outcomes',
  columns: [
    text({ id: 'OutcomeId', commandId: 'CommandId', incidentId: 'IncidentId', decisionId: 'DecisionId', environment: 'Environment', target: 'Target' }),
    text({ runbook: 'Runbook', policy: 'Policy', attempt: 'Attempt', verdict: 'Verdict', reason: 'Reason', refusedBy: 'RefusedBy', cost: 'Cost' }),
    ...[
      'Escalated AS escalated',
      ms('ReceivedAt', 'receivedAtMs'),
      nullableMs('BegunAt', 'begunAtMs'),
      nullableMs('HealedAt', 'healedAtMs'),
      ms('RecordedAt', 'recordedAtMs')
    ]
  ].join(', ')
}
const COMMANDS: Table = {
  table: 'homeostat_commands',
  columns: [
    text({ id: 'CommandId', incidentId: 'IncidentId', decisionId: 'DecisionId', environment: 'Environment', target: 'Target', runbook: 'Runbook' }),
    text({
      runbookVersion: 'RunbookVersion',
      policy: 'Policy',
      policyVersion: 'PolicyVersion',
      attempt: 'Attempt',
      risk: 'Risk',
      cost: 'Cost',
      fence: 'Fence'
    }),
    text({ nonce: 'Nonce', keyId: 'KeyId', signature: 'Signature', steps: 'Steps', incident: 'Incident', cause: 'Cause' }),
    ...[ms('StartedAt', 'startedAtMs'), ms('IssuedAt', 'issuedAtMs'), ms('ExpiresAt', 'expiresAtMs')]
  ].join(', ')
}
const DECISIONS: Table = {
  table: 'homeostat_decisions',
  columns: [
    text({ id: 'DecisionId', incidentId: 'IncidentId', environment: 'Environment', policy: 'Policy', policyVersion: 'PolicyVersion', runbook: 'Runbook' }),
    text({ target: 'Target', outcome: 'Outcome', blockedBy: 'BlockedBy', attempt: 'Attempt', reason: 'Reason' }),
    ms('Timestamp', 'decidedAtMs')
  ].join(', ')
}
const CONTROLS: Table = { table: 'homeostat_control', columns: 'Attributes AS attributes' }

/** What `decisionSchema` says of the columns that are kept. */
const decisionRow = decisionSchema.pick({
  ...{ id: true, incidentId: true, environment: true, decidedAtMs: true, policy: true, policyVersion: true },
  ...{ runbook: true, target: true, outcome: true, blockedBy: true, attempt: true, reason: true }
})

export interface RecordedWindow {
  history: RecordedHistory
  /** Rows that could not be read. */
  unreadable: number
  /** A kind of which there were more than RECORDS_MAX: the oldest are kept. */
  cut: string[]
}

/** Everything that deciding [fromMs, toMs) reads. @param onRows called with rows read so far */
export async function readRecords(
  { sql }: Pick<History, 'sql'>,
  { fromMs, toMs }: { fromMs: number; toMs: number },
  onRows: (rows: number) => void
): Promise<RecordedWindow> {
  let rowsRead = 0
  let unreadable = 0
  const cut: string[] = []
  async function all<T>(asked: Table, range: { fromMs: number; toMs: number }, schema: z.ZodType<T>, convert: (row: Row) => unknown): Promise<T[]> {
    const records: T[] = []
    for await (const row of rowsOf(sql, asked, range)) {
      onRows(++rowsRead)
      const parsed = schema.safeParse(convert(row))
      if (parsed.success) records.push(parsed.data)
      else unreadable++
      if (records.length < RECORDS_MAX) continue
      cut.push(asked.table)
      break
    }
    return records
  }
  const withPast = { fromMs: fromMs - LOOKBACK_MS, toMs }
  const history = {
    incidents: await all(INCIDENTS, { fromMs, toMs }, incidentSchema, incidentOf),
    commands: await all(COMMANDS, withPast, commandSchema, commandOf),
    outcomes: await all(OUTCOMES, withPast, outcomeSchema, outcomeOf),
    // Of what was said before only the last word of each subject holds; changes and answers are subjects of their own.
    controls: [
      ...(await all({ ...CONTROLS, limitBy: 'Kind, Subject' }, { fromMs: 0, toMs: fromMs }, controlSchema, controlOf)),
      ...(await all(CONTROLS, { fromMs, toMs }, controlSchema, controlOf))
    ],
    decisions: await all(DECISIONS, withPast, decisionRow, decisionOf)
  }
  return { history, unreadable, cut }
}

/** In order of time, a page at a time. */
async function* rowsOf(sql: History['sql'], { table, columns, limitBy }: Table, { fromMs, toMs }: { fromMs: number; toMs: number }): AsyncGenerator<Row> {
  const range = `Timestamp >= fromUnixTimestamp64Milli(${Math.floor(fromMs)}) AND Timestamp < fromUnixTimestamp64Milli(${Math.ceil(toMs)})`
  const source =
    limitBy === undefined
      ? `(SELECT * FROM ${table} FINAL WHERE ${range})`
      : `(SELECT * FROM ${table} FINAL WHERE ${range} ORDER BY Timestamp DESC, RecordId LIMIT 1 BY ${limitBy})`
  let after: { atNs: string; recordId: string } | undefined
  for (;;) {
    const beyond = after === undefined ? '' : ` WHERE (toUnixTimestamp64Nano(Timestamp), RecordId) > (toInt64('${after.atNs}'), ${quoted(after.recordId)})`
    const rows = await sql<Row & { atNs: string; recordId: string }>(
      `SELECT ${columns}, toString(toUnixTimestamp64Nano(Timestamp)) AS atNs, RecordId AS recordId FROM ${source}${beyond} ORDER BY Timestamp, RecordId LIMIT ${PAGE_ROWS}`
    )
    yield* rows
    const last = rows.at(-1)
    if (rows.length < PAGE_ROWS || last === undefined) return
    after = { atNs: String(last.atNs), recordId: String(last.recordId) }
  }
}

/** Numbers that came as text: 64-bit ones do. */
function numbers(row: Row, ...names: string[]): Row {
  return { ...row, ...Object.fromEntries(names.map(name => [name, row[name] === null ? null : Number(row[name])])) }
}

/** '' stands for null in columns that are never empty otherwise. */
function nullable(value: unknown): unknown {
  return value === '' ? null : value
}

function incidentOf(row: Row): unknown {
  return {
    ...numbers(row, 'version', 'attempts', 'membersOmitted', 'startedAtMs', 'openedAtMs', 'updatedAtMs', 'healedAtMs', 'resolvedAtMs'),
    resolution: nullable(row.resolution),
    causes: parsed(row.causes),
    members: parsed(row.members)
  }
}

function commandOf(row: Row): unknown {
  return {
    ...numbers(row, 'attempt', 'cost', 'fence', 'startedAtMs', 'issuedAtMs', 'expiresAtMs'),
    steps: parsed(row.steps),
    incident: parsed(row.incident),
    cause: parsed(row.cause)
  }
}

function outcomeOf(row: Row): unknown {
  return {
    ...numbers(row, 'attempt', 'cost', 'receivedAtMs', 'begunAtMs', 'healedAtMs', 'recordedAtMs'),
    escalated: row.escalated === true || row.escalated === 1,
    refusedBy: nullable(row.refusedBy),
    steps: [],
    evidence: { signals: [], logs: [], spans: [], facts: {} }
  }
}

function decisionOf(row: Row): unknown {
  return { ...numbers(row, 'attempt', 'decidedAtMs'), policy: nullable(row.policy), runbook: nullable(row.runbook), target: nullable(row.target) }
}

/** Attributes are texts there; their types are those of the record's kind. */
function controlOf({ attributes }: Row): unknown {
  const texts = attributes as Readonly<Record<string, string>>
  const kind = controlSchema.options.find(option => option.shape.kind.value === texts.kind)
  if (kind === undefined) return undefined
  return Object.fromEntries(Object.entries(kind.shape).flatMap(([name, schema]) => (texts[name] === undefined ? [] : [[name, typed(texts[name], schema)]])))
}

function typed(value: string, schema: z.ZodType): unknown {
  const inner: z.ZodType = schema instanceof z.ZodNullable || schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema
  if (inner !== schema && (value === 'null' || value === 'undefined')) return value === 'null' ? null : undefined
  if (inner instanceof z.ZodNumber) return Number(value)
  return inner instanceof z.ZodBoolean ? value === 'true' : value
}

function parsed(value: unknown): unknown {
  try {
    return JSON.parse(String(value))
  } catch {
    return undefined
  }
}
