// The frame of an acceptance case: a rig and a Homeostat of its own, what the case sets up on it, its plays one after the other, the scorecard.
//
// So a case reads as its story: what is given (rig, setUp), and of each play the fault and what must come of it.

import { watchAudit } from '../audit-watch.ts'
import { WARMUP_MS } from '../settings.ts'
import { type AcceptanceReport, brokenReport } from './assertions.ts'
import type { CaseRun } from './case.ts'
import { openRig, type Rig, type RigOptions, wait } from './rig.ts'
import { type ScorecardPlan, scorecardReport } from './scorecard.ts'

/** The case itself, or one of its twins. */
export interface Play<Stage> {
  /** `UC1`, and `UC1/config` for a twin. */
  name: string
  play(stage: Stage): Promise<AcceptanceReport | AcceptanceReport[]>
}

export interface Performance<Stage> {
  name: string
  rig: Omit<RigOptions, 'seed' | 'say' | 'signal'>
  /** Homeostat is ready; starts the case's processes. @returns the case's hands on them */
  setUp(rig: Rig): Promise<Stage>
  /** What is normal has to be learned before anything is broken. */
  warmUp?: boolean
  plays: readonly Play<Stage>[]
  /** Before each play but the first: as if nothing had been. */
  between?(stage: Stage): Promise<void>
  /** Whether the lab looks at ClickHouse all the time, so that it knows how long a record takes. Not where Homeostat is killed. */
  watchAudit: boolean
  /** Judged when all plays are over. */
  scorecard: ScorecardPlan | ((stage: Stage) => ScorecardPlan)
}

/** A play that throws is a failed one; the next is played all the same. @returns their reports and that of the scorecard; every process has ended */
export async function perform<Stage>(run: CaseRun, performance: Performance<Stage>): Promise<AcceptanceReport[]> {
  const { name, plays, between, setUp, warmUp = false, scorecard } = performance
  const { seed, say, signal } = run
  const rig = await openRig({ ...performance.rig, seed, say, signal })
  try {
    say(`Homeostat is ready after ${await rig.homeostat.start()} ms in ${rig.folder}`)
    const audit = performance.watchAudit ? watchAudit(rig.homeostat) : undefined
    rig.atEnd(() => void audit?.close())
    const stage = await setUp(rig)
    if (warmUp) {
      say('warm-up: learning what is normal')
      await wait(rig, WARMUP_MS)
    }
    const reports: AcceptanceReport[] = []
    for (const [index, each] of plays.entries()) {
      if (signal.aborted) break
      if (index > 0) await between?.(stage)
      reports.push(...[await each.play(stage).catch(error => brokenReport(each.name, seed, error as Error))].flat())
    }
    if (signal.aborted) return reports
    const plan = typeof scorecard === 'function' ? scorecard(stage) : scorecard
    return [...reports, await scorecardReport(name, rig, plan, audit?.delaysMs() ?? [])]
  } finally {
    await rig.end(run.keep)
  }
}
