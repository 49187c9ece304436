// An acceptance case: what it is called, how it is run, and what its report says.

import type { AcceptanceReport } from './assertions.ts'

export interface CaseRun {
  seed: number
  /** Keep the folder of each rig. */
  keep: boolean
  say(line: string): void
  /** Aborted by the user: nothing is waited for any more. */
  signal: AbortSignal
}

export interface AcceptanceCase {
  /** As acceptance names it: `UC1`. */
  name: string
  /** One sentence: what happens, and what must come of it. */
  title: string
  /** The case that plays this one, too, among others: then a run of all leaves it out. */
  partOf?: string
  /** @returns one report for the case and one for each of its twins; every process of the run has ended */
  run(run: CaseRun): Promise<AcceptanceReport[]>
}
