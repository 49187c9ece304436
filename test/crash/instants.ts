// When and whom: the seeded plan of a crash run on a cluster. Every process is killed and is stopped, in ever new order.

import type { Seeded } from '../../infra/lab/seeded.ts'

/** The least and most time that a stopped process sleeps beyond the end of its session. */
const OVERSLEEP_MIN_MS = 500
const OVERSLEEP_MAX_MS = 3_000
const UPTIME_MIN_MS = 300 // A hit may come this soon after the last one is over …
const UPTIME_MAX_MS = 4_000 // … and this late.
const AFTER_EFFECT_MAX_MS = 1_500 // Some aim at the time just after an effect, where the doubt lies.
const AFTER_EFFECT_SHARE = 0.25

/** kill -9; SIGSTOP, later SIGCONT; SIGTERM and a new process, as a rolling restart does. */
export type HitKind = 'kill' | 'pause' | 'restart'

export interface Instant {
  victim: string
  kind: HitKind
  /** How long a stopped one is stopped. */
  pauseMs: number
  /** Wait for an effect first. */
  afterEffect: boolean
  waitMs: number
}

interface Plan {
  victims: readonly string[]
  kinds: readonly HitKind[]
  count: number
  /** A member that is silent for this long has lost what it owned. */
  sessionMs: number
  draw: Seeded
}

export function planInstants({ victims, kinds, count, sessionMs, draw }: Plan): Instant[] {
  const instants: Instant[] = []
  while (instants.length < count) {
    const round = victims.flatMap(victim => kinds.map(kind => ({ victim, kind })))
    for (const { victim, kind } of draw.shuffle(round)) {
      const afterEffect = draw.next() < AFTER_EFFECT_SHARE
      instants.push({
        victim,
        kind,
        pauseMs: sessionMs + draw.integer(OVERSLEEP_MIN_MS, OVERSLEEP_MAX_MS),
        afterEffect,
        waitMs: afterEffect ? draw.integer(0, AFTER_EFFECT_MAX_MS) : draw.integer(UPTIME_MIN_MS, UPTIME_MAX_MS)
      })
    }
  }
  return instants.slice(0, count)
}
