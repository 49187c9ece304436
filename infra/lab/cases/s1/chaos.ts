// The chaos driver: arms crash points, waits until one of them killed Homeostat, starts it again, until all have fired.

import { type Rig, until } from '../rig.ts'
import { arm, type Crash, crashes, disarm } from './arming.ts'
import type { Point } from './points.ts'

const FIRED_DEADLINE_MS = 75_000 // An attempt after the longest back-off, and a start in between.

export interface Hit {
  point: Point
  /** When Homeostat died, and when it was ready again; null: the point was not passed in time. */
  crashedAtMs: number | null
  readyAtMs: number | null
}

/**
 * Visits the points, in the order in which they are passed.
 * @param isOver nothing that passes them will happen any more
 */
export async function visit(rig: Rig, points: readonly Point[], isOver: () => boolean = () => false): Promise<Hit[]> {
  const { folder, homeostat, say } = rig
  const left = new Set(points)
  const hits: Hit[] = []
  let seen = crashes(folder).length
  arm(folder, points)
  while (left.size > 0 && !rig.signal.aborted) {
    const crash = await until<Crash | 'over'>(rig, FIRED_DEADLINE_MS, () => crashes(folder)[seen] ?? (isOver() ? 'over' : undefined))
    if (crash === undefined || crash === 'over') break
    seen++
    await homeostat.kill() // What is left of its group.
    const readyMs = await homeostat.start()
    say(`S1: killed at ${crash.point}, ready again after ${readyMs} ms`)
    if (left.delete(crash.point)) hits.push({ point: crash.point, crashedAtMs: crash.atMs, readyAtMs: Date.now() })
  }
  disarm(folder)
  for (const point of left) say(`S1: ${point} was not passed`)
  return [...hits, ...[...left].map(point => ({ point, crashedAtMs: null, readyAtMs: null }))]
}
