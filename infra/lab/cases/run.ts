// `npm run -s lab -- --case UC1,UC6 --seed N --json`: acceptance cases one after the other, each on a rig of its own.

import type { AcceptanceReport } from './assertions.ts'
import type { AcceptanceCase, CaseRun } from './case.ts'
import { CASES } from './catalogue.ts'

export interface AcceptanceRun {
  pass: boolean
  seed: number
  cases: AcceptanceReport[]
}

/** @returns the named cases in the catalogue's order; names that it lacks */
export function findCases(names: readonly string[]): { cases: AcceptanceCase[]; unknown: string[] } {
  const wanted = new Set(names.map(name => name.toUpperCase()))
  return { cases: CASES.filter(({ name }) => wanted.has(name)), unknown: [...wanted].filter(name => !CASES.some(other => other.name === name)) }
}

/** A case that throws is a failed one; the next is run all the same. */
export async function runCases(cases: readonly AcceptanceCase[], run: CaseRun): Promise<AcceptanceRun> {
  const reports: AcceptanceReport[] = []
  for (const each of cases) {
    if (run.signal.aborted) break
    run.say(`── ${each.name}: ${each.title}`)
    reports.push(...(await each.run(run).catch(error => [broken(each, run.seed, error as Error)])))
  }
  return { pass: reports.length > 0 && !run.signal.aborted && reports.every(({ pass }) => pass), seed: run.seed, cases: reports }
}

function broken({ name }: AcceptanceCase, seed: number, error: Error): AcceptanceReport {
  return { case: name, seed, pass: false, assertions: [{ name: 'run', ok: false, detail: error.stack ?? error.message }], figures: {} }
}
