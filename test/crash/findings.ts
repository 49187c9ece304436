// What a crash run is judged by: numbers acknowledged against rows stored, effects at the witness against outcomes.

import { pause } from '../../infra/lab/fleet.ts'
import type { Homeostat } from '../../infra/lab/stage.ts'
import type { WitnessEvent } from '../../infra/lab/witness.ts'
import type { StepResult } from '../../schemas/outcome.ts'
import { COUNTER_METRIC, COUNTER_SERVICE, type CountingSender } from './counting-sender.ts'

const PAGE_ROWS = 5_000 // Below what one read-only query may return.
const SETTLE_DEADLINE_MS = 180_000 // Open commands run to their deadline, then the store catches up.
const SETTLE_STEADY_MS = 5_000
const POLL_MS = 500

export interface CrashFindings {
  acknowledged: number
  /** Acknowledged, not in ClickHouse. */
  lost: number
  /** Numbers with more than one row. */
  storedTwice: number
  effects: number
  effectsTwice: number
  effectsWithoutStep: number
  commands: number
  commandsWithoutOutcome: number
  commandsWithTwoOutcomes: number
}

/** Whether every promise was kept. */
export function holds(findings: CrashFindings): boolean {
  const { acknowledged, lost, storedTwice, effectsTwice, effectsWithoutStep, commandsWithoutOutcome, commandsWithTwoOutcomes } = findings
  return acknowledged > 0 && lost + storedTwice + effectsTwice + effectsWithoutStep + commandsWithoutOutcome + commandsWithTwoOutcomes === 0
}

export async function findingsOf(homeostat: Homeostat, sender: CountingSender, witnessed: readonly WitnessEvent[]): Promise<CrashFindings> {
  const metrics = await storedNumbers(
    homeostat,
    'toUInt64(Value)',
    `otel_metrics_gauge WHERE ServiceName = '${COUNTER_SERVICE}' AND MetricName = '${COUNTER_METRIC}'`
  )
  const logs = await storedNumbers(homeostat, "toUInt64OrZero(replaceOne(Body, 'counted ', ''))", `otel_logs WHERE ServiceName = '${COUNTER_SERVICE}'`)
  const missing = (numbers: readonly number[], stored: ReadonlyMap<number, number>): number => numbers.filter(number => !stored.has(number)).length
  const keys = witnessed.filter(({ key }) => key !== '').map(({ key }) => key)
  const outcomes = await homeostat.sql<{ CommandId: string; Steps: string; n: number }>(
    'SELECT CommandId, any(Steps) AS Steps, uniqExact(OutcomeId) AS n FROM homeostat_outcomes GROUP BY CommandId'
  )
  const commands = await homeostat.sql<{ CommandId: string }>('SELECT DISTINCT CommandId FROM homeostat_commands')
  const stepKeys = new Set(outcomes.flatMap(({ Steps }) => (JSON.parse(Steps) as StepResult[]).map(step => step.idempotencyKey)))
  const settled = new Map(outcomes.map(({ CommandId, n }) => [CommandId, Number(n)]))
  return {
    acknowledged: sender.acknowledged.metrics.length + sender.acknowledged.logs.length,
    lost: missing(sender.acknowledged.metrics, metrics) + missing(sender.acknowledged.logs, logs),
    storedTwice: [...metrics.values(), ...logs.values()].filter(rows => rows > 1).length,
    effects: keys.length,
    effectsTwice: keys.length - new Set(keys).size,
    effectsWithoutStep: keys.filter(key => !stepKeys.has(key)).length,
    commands: commands.length,
    commandsWithoutOutcome: commands.filter(({ CommandId }) => !settled.has(CommandId)).length,
    commandsWithTwoOutcomes: [...settled.values()].filter(count => count > 1).length
  }
}

/**
 * Number → rows that carry it. Numbers are dense, so pages are ranges of them: a page by OFFSET would count everything anew.
 * @param from table and WHERE clause
 */
export async function storedNumbers(homeostat: Pick<Homeostat, 'sql'>, number: string, from: string): Promise<Map<number, number>> {
  const stored = new Map<number, number>()
  const [last] = await homeostat.sql<{ number: number }>(`SELECT max(${number}) AS number FROM ${from}`)
  for (let first = 0; first <= Number(last?.number ?? -1); first += PAGE_ROWS) {
    const page = `${number} BETWEEN ${first} AND ${first + PAGE_ROWS - 1}`
    const rows = await homeostat.sql<{ number: number; n: number }>(`SELECT ${number} AS number, count() AS n FROM ${from} AND ${page} GROUP BY number`)
    for (const row of rows) stored.set(Number(row.number), Number(row.n))
  }
  return stored
}

/** Waits until every command has an outcome and no new rows arrive, or the deadline. */
export async function untilStored(homeostat: Homeostat, signal: AbortSignal): Promise<void> {
  const deadlineMs = Date.now() + SETTLE_DEADLINE_MS
  let last = ''
  let steadySinceMs = Date.now()
  while (Date.now() < deadlineMs && !signal.aborted) {
    const [row] = await homeostat
      .sql(
        `SELECT (SELECT uniqExact(CommandId) FROM homeostat_commands) AS commands, (SELECT uniqExact(CommandId) FROM homeostat_outcomes) AS outcomes,
          (SELECT count() FROM otel_logs WHERE ServiceName = '${COUNTER_SERVICE}') AS logs,
          (SELECT count() FROM otel_metrics_gauge WHERE ServiceName = '${COUNTER_SERVICE}') AS metrics`
      )
      .catch(() => [])
    const now = JSON.stringify(row)
    if (now !== last) steadySinceMs = Date.now()
    last = now
    if (row && row.commands === row.outcomes && Date.now() - steadySinceMs >= SETTLE_STEADY_MS) return
    await pause(POLL_MS)
  }
}
