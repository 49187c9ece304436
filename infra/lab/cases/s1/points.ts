// The crash points of S1: before and after each durable write, and each call out of the process, on the way of a decision.
//
// Enumerated from the state machines: telemetry → anomaly → incident → decision → command → claim → ledger (accepted, evidence,
// begun, settled, verified, recorded) → outcome → sent → page, and the checkpoints beside it. `before` a ledger transition is
// inside its transaction, before the commit; `after` a call out is when its answer is here and nothing of it is durable yet.

/** What is written all the time, whatever happens. */
export const STEADY = [
  'intake.metrics',
  'intake.spans',
  'intake.logs',
  'detect.derived',
  'detect.checkpoint',
  'diagnose.checkpoint',
  'decide.checkpoint',
  'store.insert'
] as const

/** In the order in which one attempt passes them. */
export const ATTEMPT = [
  'detect.anomalies',
  'diagnose.incidents',
  'decide.decisions',
  'decide.commands',
  'act.executions',
  'ledger.accepted',
  'ledger.evidence',
  'ledger.begun',
  'act.call',
  'ledger.settled',
  'ledger.verified',
  'ledger.recorded',
  'act.outcomes',
  'ledger.sent'
] as const

/** When people are called. */
export const CALL = ['decide.page'] as const

export type Place = (typeof STEADY)[number] | (typeof ATTEMPT)[number] | (typeof CALL)[number]
export type Point = `${Place}:${'before' | 'after'}`

const sides = (place: Place): Point[] => [`${place}:before`, `${place}:after`]
export const POINTS: readonly Point[] = [...STEADY, ...ATTEMPT, ...CALL].flatMap(sides)

/** Attempts of the case, each with a share of the points that one attempt passes. */
const ATTEMPTS = 3
/** Runs that together visit every point: seeds 1 to 3, or any three in a row. */
export const SHARES = 3

/** What this seed visits: a third of the points of one attempt in each of the three, the steady ones while a back-off runs. */
export interface Share {
  attempts: readonly (readonly Point[])[]
  steady: readonly Point[]
  call: readonly Point[]
}

export function shareOf(seed: number): Share {
  const mine = (places: readonly Place[]): Point[] => places.flatMap(sides).filter((_, index) => index % SHARES === seed % SHARES)
  const attempt = mine(ATTEMPT)
  return {
    attempts: Array.from({ length: ATTEMPTS }, (_, turn) => attempt.filter((_point, index) => index % ATTEMPTS === turn)),
    steady: mine(STEADY),
    call: mine(CALL)
  }
}
