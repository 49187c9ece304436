// Do the columns of a stored record say what its payload says? As expressions for ClickHouse, which answers with the names of those
// that do not: people and dashboards read columns, and the audit chain covers the payload.
//
// A column that a later release adds to these tables is listed here only with a value that older rows have as well.

/** Column → where the payload says it, for one kind of column each. */
interface ColumnSources {
  texts: Readonly<Record<string, string>>
  lists?: Readonly<Record<string, string>>
  numbers?: Readonly<Record<string, string>>
  /** Epoch ms there, DateTime64 here. */
  times: Readonly<Record<string, string>>
  nullableTimes?: Readonly<Record<string, string>>
  flags?: Readonly<Record<string, string>>
  /** JSON here: the very text that stands there. */
  nested: Readonly<Record<string, string>>
}

export interface AuditTable {
  table: string
  /** Key of the record in the log. */
  key: string
  columns: ColumnSources
}

const COMMON = {
  ...{ RecordId: 'id', IncidentId: 'incidentId', TraceId: 'incidentId', Environment: 'environment' },
  ...{ Target: 'target', Runbook: 'runbook', Policy: 'policy' }
} as const

/** The tables whose records are in the audit chain. */
export const AUDIT_TABLES: readonly AuditTable[] = [
  {
    table: 'homeostat_decisions',
    key: 'IncidentId',
    columns: {
      texts: {
        ...COMMON,
        ...{ DecisionId: 'id', PolicyVersion: 'policyVersion', RunbookVersion: 'runbookVersion', Autonomy: 'autonomy' },
        ...{ Outcome: 'outcome', CommandId: 'commandId', Reason: 'reason' }
      },
      lists: { BlockedBy: 'blockedBy' },
      numbers: { Attempt: 'attempt' },
      times: { Timestamp: 'decidedAtMs', IncidentOpenedAt: 'incidentOpenedAtMs' },
      nested: { Guards: 'guards', Candidates: 'candidates' }
    }
  },
  {
    table: 'homeostat_commands',
    key: 'Target',
    columns: {
      texts: {
        ...COMMON,
        ...{ CommandId: 'id', DecisionId: 'decisionId', RunbookVersion: 'runbookVersion', PolicyVersion: 'policyVersion' },
        ...{ Risk: 'risk', Nonce: 'nonce', KeyId: 'keyId', Signature: 'signature' }
      },
      numbers: { Attempt: 'attempt', Cost: 'cost', Fence: 'fence' },
      times: { Timestamp: 'issuedAtMs', StartedAt: 'startedAtMs', IssuedAt: 'issuedAtMs', ExpiresAt: 'expiresAtMs' },
      nested: { Steps: 'steps', Incident: 'incident', Cause: 'cause' }
    }
  },
  {
    table: 'homeostat_outcomes',
    key: 'Target',
    columns: {
      texts: {
        ...COMMON,
        ...{ OutcomeId: 'id', CommandId: 'commandId', DecisionId: 'decisionId', Verdict: 'verdict', Reason: 'reason', RefusedBy: 'refusedBy' }
      },
      numbers: { Attempt: 'attempt', Cost: 'cost' },
      flags: { Escalated: 'escalated' },
      times: { Timestamp: 'recordedAtMs', ReceivedAt: 'receivedAtMs', RecordedAt: 'recordedAtMs' },
      nullableTimes: { BegunAt: 'begunAtMs', HealedAt: 'healedAtMs' },
      nested: { Steps: 'steps', Evidence: 'evidence' }
    }
  }
]

/** Columns that follow from other columns of the row, or say how it was stored. */
export const DERIVED_COLUMNS = [
  ...['ServiceName', 'StepsCount', 'StepsApplied', 'StepsUndone', 'UndosFailed'],
  ...['AuditChain', 'AuditSeq', 'AuditPrev', 'AuditHash', 'RecordType', 'Payload', 'StoredAt', 'Precedence']
]

/**
 * For a SELECT from the table: what goes into its WITH, and the expression for the names of the columns that do not say what `Payload`
 * says, an empty array when all do.
 */
export function differingColumns({ columns }: AuditTable): { withSaid: string; differing: string } {
  const { texts, lists = {}, numbers = {}, times, nullableTimes = {}, flags = {}, nested } = columns
  const types = new Map<string, string>()
  const need = (sources: Readonly<Record<string, string>>, type: string): void => {
    for (const field of Object.values(sources)) types.set(field, `${field} ${type}`)
  }
  need(texts, 'String')
  need(lists, 'Array(String)')
  need(numbers, 'Float64')
  need(times, 'Float64')
  need(nullableTimes, 'Nullable(Float64)')
  need(flags, 'Bool')
  const said = `JSONExtract(Payload, 'Tuple(${[...types.values()].join(', ')})') AS said`
  // Microseconds are what the store keeps of a time; halves may be rounded either way.
  const isOther = (column: string, field: string): string => `abs(toUnixTimestamp64Micro(${column}) - said.${field} * 1000) > 1`
  const differs: [column: string, condition: string][] = [
    ...Object.entries({ ...texts, ...lists, ...flags }).map(([column, field]): [string, string] => [column, `${column} != said.${field}`]),
    ...Object.entries(numbers).map(([column, field]): [string, string] => [column, `toFloat64(${column}) != said.${field}`]),
    ...Object.entries(times).map(([column, field]): [string, string] => [column, isOther(column, field)]),
    ...Object.entries(nullableTimes).map(([column, field]): [string, string] => [
      column,
      `ifNull(${isOther(column, field)}, isNull(${column}) != isNull(said.${field}))`
    ]),
    ...Object.entries(nested).map(([column, field]): [string, string] => [column, isOtherJson(column, field)])
  ]
  const names = differs.map(([column, condition]) => `if(${condition}, '${column}', '')`)
  // The names are put together for rows that differ only: ClickHouse does not evaluate the other branch.
  const isDifferent = differs.map(([, condition]) => `(${condition})`).join(' OR ')
  return { withSaid: said, differing: `if(${isDifferent}, arrayFilter(name -> name != '', [${names.join(', ')}]), [])` }
}

/** True when the JSON in `column` is not the whole value of `field`: valid JSON in brackets has no beginning that is valid too. */
function isOtherJson(column: string, field: string): string {
  return `position(Payload, concat('"${field}":', ${column})) = 0 OR NOT isValidJSON(${column})`
}
