// What the lab itself knows of the faults of a case: injected when, and over when, by the case's own eyes. The scorecard is held to it.

import type { ScoredFault } from '../scorecard.ts'
import { pause } from '../fleet.ts'
import type { Rig } from './rig.ts'

const BEAT_MS = 200
/** Healthy for so long, and it counts from the first good look. */
export const HOLD_MS = 3_000

type Truth = Pick<Rig, 'environment' | 'faults' | 'signal' | 'atEnd'>

/** Notes a fault. @returns its entry: who notes it says when it is over */
export function noteFault({ environment, faults }: Truth, injectedAtMs: number): ScoredFault {
  const fault: ScoredFault = { environment, injectedAtMs, healthyAgainAtMs: null }
  faults.push(fault)
  return fault
}

/** Notes a fault and looks until it is over: broken first, then healthy for a while. @returns its entry */
export function watchFault(rig: Truth, injectedAtMs: number, isHealthy: () => boolean | Promise<boolean>): ScoredFault {
  const fault = noteFault(rig, injectedAtMs)
  let isWatched = true
  rig.atEnd(() => {
    isWatched = false
  })
  const isOver = recovery()
  const look = async (): Promise<void> => {
    while (isWatched && fault.healthyAgainAtMs === null && !rig.signal.aborted) {
      const atMs = Date.now()
      fault.healthyAgainAtMs = isOver(atMs, await Promise.resolve(isHealthy()).catch(() => false))
      await pause(BEAT_MS)
    }
  }
  void look()
  return fault
}

/** @returns takes one look after the other; answers when it was healthy again, once it has stayed so after it was broken, else null */
export function recovery(): (atMs: number, isHealthy: boolean) => number | null {
  let wasBroken = false
  let healthySinceMs: number | null = null
  return (atMs, isHealthy) => {
    wasBroken ||= !isHealthy
    healthySinceMs = isHealthy && wasBroken ? (healthySinceMs ?? atMs) : null
    return healthySinceMs !== null && atMs - healthySinceMs >= HOLD_MS ? healthySinceMs : null
  }
}
