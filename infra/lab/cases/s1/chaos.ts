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
  const { folder, say } = rig
  const left = new Set(points)
  const hits: Hit[] = []
  let seen = crashes(folder).length
  arm(folder, points)
  while (left.size > 0 && !rig.signal.aborted) {
    const crash = await until<Crash | 'over'>(rig, FIRED_DEADLINE_MS, () => crashes(folder)[seen] ?? (isOver() ? 'over' : undefined))
    if (crash === undefined || crash === 'over') break
    const fired = await revive(rig, seen)
    seen += fired.length
    for (const [index, { point, atMs }] of fired.entries()) {
      if (left.delete(point)) hits.push({ point, crashedAtMs: atMs, readyAtMs: fired[index + 1]?.atMs ?? Date.now() })
    }
  }
  disarm(folder)
  for (const point of left) say(`S1: ${point} was not passed`)
  return [...hits, ...[...left].map(point => ({ point, crashedAtMs: null, readyAtMs: null }))]
}

/** Starts Homeostat until it is ready: points are passed while it starts, too. @returns the crashes from the `seen`-th on */
async function revive({ folder, homeostat, say }: Rig, seen: number): Promise<Crash[]> {
  for (;;) {
    const before = crashes(folder).length
    await homeostat.kill() // What is left of its group.
    const readyMs = await homeostat.start().catch((error: Error) => {
      if (crashes(folder).length === before) throw error
      return undefined
    })
    say(`S1: killed at ${crashes(folder)[before - 1]!.point}, ${readyMs === undefined ? 'and again before it was ready' : `ready again after ${readyMs} ms`}`)
    if (readyMs !== undefined) return crashes(folder).slice(seen)
  }
}
