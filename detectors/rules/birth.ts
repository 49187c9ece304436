// Births: instances of services that are heard for the first time, so that diagnosis can tell an instance that was replaced from one
// that is missing.
//
// Flow: scorer (hearings; judgeAbsence: silence) -> birth -> shard -> records `instance` on homeostat.topology.v1, at most a few each.
//
//   first heard ──3 hearings──► new ──10 hearings──► settled: its silence is told as an absence from now on
//                   ▲            └──silent before that──► lost ──┐
//                   └──────────────── heard again ───────────────┘
//
// The state lives in the entity's row of the checkpoint: what was told is not told again after a restart, but for what a crash makes
// anyone repeat; a replay repeats the same records.

import { entityService } from '../../schemas/entity.ts'
import type { Instance } from '../../schemas/topology.ts'
import type { EntityState } from '../score/entities.ts'
import { type AbsenceSettings, HEARINGS_MIN, patienceMs, reconnectMs, silenceMs } from './absence.ts'

/** One hearing may be a stray (a job that ran once, a wrong name); the interval is guessed from two gaps. */
const NEW_HEARINGS = 3
/** Its interval is hardly known, and may have been that of its spans, which come more often than metrics. */
const YOUNG_PATIENCE_FACTOR = 3
/** Who is regular enough to be missed is heard within this: after it, whoever is heard for the first time is new. */
export const KNOWN_AFTER_MS = 600_000

/** Notes a hearing. @returns the record, when the instance is new or settled by it */
export function noteHearing(state: EntityState, settings: AbsenceSettings): Instance | undefined {
  const next = stageOf(state, settings)
  if (next === state.birth) return undefined
  state.birth = next
  return isInstance(state) && (next === 'new' || next === 'settled') ? record(state, next, settings) : undefined
}

/**
 * Judges the silence of one that is new; of one that is settled judgeAbsence does.
 * @param listeningSinceMs silence before this moment says nothing
 */
export function judgeNew(state: EntityState, nowMs: number, listeningSinceMs: number, settings: AbsenceSettings): Instance | undefined {
  if (state.birth !== 'new') return undefined
  const limitMs = reconnectMs(state, listeningSinceMs, YOUNG_PATIENCE_FACTOR * patienceMs(state, settings))
  if (silenceMs(state, nowMs, listeningSinceMs) < limitMs) return undefined
  state.birth = 'lost'
  return isInstance(state) ? record(state, 'lost', settings) : undefined
}

/** @returns whether the record is news: its reader has been listening for long enough to know those who were there before */
export function isBirth({ firstSeenMs }: Instance, knownSinceMs: number): boolean {
  return firstSeenMs - knownSinceMs >= KNOWN_AFTER_MS
}

function stageOf(state: EntityState, settings: AbsenceSettings): EntityState['birth'] {
  if (state.birth === 'settled' || !Number.isFinite(patienceMs(state, settings))) return state.birth
  if (state.hearings >= HEARINGS_MIN) return 'settled'
  return state.hearings >= NEW_HEARINGS ? 'new' : state.birth
}

function isInstance({ entity }: EntityState): boolean {
  return entityService(entity) !== entity
}

function record(state: EntityState, stage: Instance['state'], settings: AbsenceSettings): Instance {
  const { environment, entity, firstSeenMs, lastSeenMs } = state
  return { environment, entity, state: stage, firstSeenMs, lastSeenMs, patienceMs: patienceMs(state, settings) }
}
