// The chaos driver: arms one crash point after the other, waits until it killed Homeostat, starts it again.

import { type Rig, until } from '../rig.ts'
import { arm, crashes, disarm } from './arming.ts'
import type { Point } from './points.ts'

const FIRED_DEADLINE_MS = 75_000 // An attempt after the longest back-off, and a start in between.

export interface Hit {
  point: Point
  /** When Homeostat died, and when it was ready again; null: the point was not passed in time. */
  crashedAtMs: number | null
  readyAtMs: number | null
}

/** Visits the points in their order. */
export async function visit(rig: Rig, points: readonly Point[]): Promise<Hit[]> {
  const hits: Hit[] = []
  for (const point of points) {
    if (rig.signal.aborted) break
    hits.push(await visitOne(rig, point))
  }
  return hits
}

async function visitOne(rig: Rig, point: Point): Promise<Hit> {
  const { folder, homeostat, say } = rig
  const before = crashes(folder).length
  arm(folder, point)
  const crash = await until(rig, FIRED_DEADLINE_MS, () => crashes(folder)[before])
  if (crash === undefined) {
    disarm(folder)
    say(`S1: ${point} was not passed within ${FIRED_DEADLINE_MS} ms`)
    return { point, crashedAtMs: null, readyAtMs: null }
  }
  await homeostat.kill() // What is left of its group.
  const readyMs = await homeostat.start()
  say(`S1: killed at ${point}, ready again after ${readyMs} ms`)
  return { point, crashedAtMs: crash.atMs, readyAtMs: Date.now() }
}
