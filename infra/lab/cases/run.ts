// `npm run -s lab -- --case UC1,UC6 --seed N --json`: acceptance cases one after the other, each on a rig of its own.

import { tableLines } from '../table.ts'
import { type AcceptanceReport, brokenReport, reportLines } from './assertions.ts'
import type { AcceptanceCase, CaseRun } from './case.ts'
import { CASES } from './catalogue.ts'

/** Names every case at once. */
const ALL = 'ALL'

export interface AcceptanceRun {
  pass: boolean
  seed: number
  seconds: number
  /** One for each case that was run, in that order. */
  runs: CaseResult[]
  /** The reports of all of them: of a case, of its twins, of its scorecard. */
  cases: AcceptanceReport[]
}

export interface CaseResult {
  name: string
  pass: boolean
  seconds: number
  reports: number
  /** `UC1/config: silence` */
  failed: string[]
}

/** @returns the named cases in the catalogue's order, for `all` each that is no part of another; names that it lacks */
export function findCases(names: readonly string[]): { cases: AcceptanceCase[]; unknown: string[] } {
  const wanted = new Set(names.map(name => name.toUpperCase()))
  const cases = CASES.filter(({ name, partOf }) => wanted.has(name) || (wanted.has(ALL) && partOf === undefined))
  return { cases, unknown: [...wanted].filter(name => name !== ALL && !CASES.some(other => other.name === name)) }
}

/** A line a case: its name, and what happens and must come of it. */
export function caseList(): string[] {
  const width = Math.max(...CASES.map(({ name }) => name.length))
  return CASES.map(({ name, title, partOf }) => `${name.padEnd(width)}  ${title}${partOf === undefined ? '' : ` (in ${partOf})`}`)
}

/** A case that throws is a failed one; the next is run all the same. */
export async function runCases(cases: readonly AcceptanceCase[], run: CaseRun): Promise<AcceptanceRun> {
  const reports: AcceptanceReport[] = []
  const runs: CaseResult[] = []
  for (const each of cases) {
    if (run.signal.aborted) break
    run.say(`── ${each.name}: ${each.title}`)
    const begunMs = Date.now()
    const own = await each.run(run).catch(error => [brokenReport(each.name, run.seed, error as Error)])
    runs.push(resultOf(each.name, own, secondsSince(begunMs)))
    reports.push(...own)
  }
  const pass = runs.length > 0 && !run.signal.aborted && runs.every(result => result.pass)
  return { pass, seed: run.seed, seconds: Number(runs.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(1)), runs, cases: reports }
}

const secondsSince = (begunMs: number): number => Math.round((Date.now() - begunMs) / 100) / 10

function resultOf(name: string, reports: readonly AcceptanceReport[], seconds: number): CaseResult {
  const failed = reports.flatMap(report => report.assertions.flatMap(assertion => (assertion.ok ? [] : [`${report.case}: ${assertion.name}`])))
  return { name, pass: reports.length > 0 && reports.every(({ pass }) => pass), seconds, reports: reports.length, failed }
}

/** For a terminal: figures and what does not hold of each report, then a line a case. */
export function runLines({ runs, cases }: AcceptanceRun): string[] {
  if (runs.length === 0) return []
  const rows = [
    ['case', '', 'seconds', 'reports', 'what does not hold'],
    ...runs.map(({ name, pass, seconds, reports, failed }) => [name, pass ? 'pass' : 'FAIL', seconds.toFixed(1), String(reports), failed.join(', ')])
  ]
  return [...reportLines(cases), '', ...tableLines(rows, [2, 3])]
}
