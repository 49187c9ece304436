// The six assertions that every acceptance case is held to, and its own beside them.
//
//   detected   in time, the guilty among the first two causes        verdict  that of the last outcome is the ground truth
//   guilty     nobody else was acted on                              joined   signal, evidence, decision, act, checks and verdict share one incident id
//   effects    at the witness, each once, each of a decided step              in ClickHouse, and the audit chain verifies
//                                                                    pages    exactly the expected number of incidents called somebody

import { undoKey } from '../../../actuators/execute/ledger.ts'
import type { IncidentStory } from '../../../pipeline/console/live-view.ts'
import type { Verdict } from '../../../schemas/outcome.ts'
import type { Effect } from './effects.ts'
import { pagedIncidents, type ReceivedPage } from './pages.ts'

/** A number, or the least and the most. */
export type Count = number | readonly [min: number, max: number]

export interface Expectation {
  /** Within this time of the injection an incident must be open; null: none needs to be. */
  detectedWithinMs: number | null
  /** Entities or services, one of which must be among the first two causes of an incident; null: no cause is asked for. */
  cause: readonly string[] | null
  /** Targets as the witness names them; nothing else may be acted on. */
  targets: readonly string[]
  effects: Count
  /** Of the last outcome; null: there is no outcome. Several: any of them. */
  verdict: Verdict | readonly Verdict[] | null
  /** Incidents that called somebody. */
  pages: Count
}

export interface CaseFacts {
  injectedAtMs: number
  /** Incidents since the injection. */
  stories: readonly IncidentStory[]
  /** Orders at the witness since the injection. */
  effects: readonly Effect[]
  pages: readonly ReceivedPage[]
  /** What ClickHouse and the audit chain lack (joined.ts); empty when nothing. */
  joined: readonly string[]
  /** Targets that the ground truth holds healthy at the end; a verdict `healed` needs it. */
  healthy: boolean
}

export interface Assertion {
  name: string
  ok: boolean
  /** With figures. */
  detail: string
}

export interface AcceptanceReport {
  /** `UC1`, and `UC1/config` for a twin. */
  case: string
  seed: number
  pass: boolean
  assertions: Assertion[]
  /** What was measured: ms, counts. */
  figures: Readonly<Record<string, number | string | null>>
  /** What could not be asserted, and why. */
  notes?: readonly string[]
}

/** Of a twin in which nothing may come of what happens. */
export const NOTHING: Expectation = { detectedWithinMs: null, cause: null, targets: [], effects: 0, verdict: null, pages: 0 }

/** `own`: what the case asserts beside the six. */
export function judge(name: string, seed: number, expected: Expectation, facts: CaseFacts, own: readonly Assertion[] = []): AcceptanceReport {
  const outcomes = facts.stories.flatMap(story => story.outcomes).sort((a, b) => a.recordedAtMs - b.recordedAtMs)
  const opened = facts.stories.map(({ incident }) => incident.openedAtMs - facts.injectedAtMs)
  const detectedMs = opened.length === 0 ? null : Math.min(...opened)
  const paged = pagedIncidents(facts.pages)
  const assertions: Assertion[] = [
    detection(expected, facts.stories, detectedMs),
    guiltyOnly(expected, facts.effects),
    effectsOnce(expected, facts),
    verdictTrue(
      expected,
      outcomes.map(({ verdict }) => verdict),
      facts.healthy
    ),
    {
      name: 'joined',
      ok: facts.joined.length === 0,
      detail: facts.joined.length === 0 ? 'all rows of each incident share its id, the audit chain verifies' : facts.joined.join('; ')
    },
    { name: 'pages', ok: within(paged.length, expected.pages), detail: `${paged.length} incidents called somebody, ${inWords(expected.pages)} expected` },
    ...own
  ]
  const figures = { detectedMs, incidents: facts.stories.length, effects: facts.effects.length, outcomes: outcomes.length, pages: paged.length }
  return { case: name, seed, pass: assertions.every(({ ok }) => ok), assertions, figures }
}

function detection(expected: Expectation, stories: readonly IncidentStory[], detectedMs: number | null): Assertion {
  const causes = [...new Set(stories.flatMap(({ incident }) => incident.causes.slice(0, 2).flatMap(({ entity, service }) => [entity, service])))]
  const inTime = expected.detectedWithinMs === null || (detectedMs !== null && detectedMs <= expected.detectedWithinMs)
  const named = expected.cause === null || expected.cause.some(cause => causes.includes(cause))
  const detail =
    `${detectedMs === null ? 'no incident' : `incident after ${detectedMs} ms`}${expected.detectedWithinMs === null ? '' : ` of ${expected.detectedWithinMs} allowed`}` +
    `, first causes ${causes.join(', ') || 'none'}${expected.cause === null ? '' : `, guilty ${expected.cause.join(' or ')}`}`
  return { name: 'detected', ok: inTime && named, detail }
}

function guiltyOnly({ targets }: Expectation, effects: readonly Effect[]): Assertion {
  const wrong = effects.filter(({ target }) => !targets.includes(target))
  const detail =
    wrong.length === 0
      ? `acted on ${[...new Set(effects.map(({ target }) => target))].join(', ') || 'nothing'}`
      : `acted on ${wrong[0]!.target} (${wrong[0]!.what})`
  return { name: 'guilty', ok: wrong.length === 0, detail }
}

/** A step that was applied has one effect with its key, and an effect without a step was decided by nobody. */
function effectsOnce(expected: Expectation, { stories, effects }: CaseFacts): Assertion {
  const steps = stories.flatMap(({ outcomes }) => outcomes.flatMap(outcome => outcome.steps))
  const decided = new Set(steps.flatMap(({ idempotencyKey }) => [idempotencyKey, undoKey(idempotencyKey)]))
  const keys = effects.map(({ key, what }) => `${key} ${what}`)
  const twice = keys.filter((key, index) => keys.indexOf(key) !== index)
  const undecided = effects.filter(({ key }) => !decided.has(key))
  const unseen = steps.filter(({ result, idempotencyKey }) => result === 'applied' && !effects.some(({ key }) => key === idempotencyKey))
  const problems = [
    ...(within(effects.length, expected.effects) ? [] : [`${inWords(expected.effects)} expected`]),
    ...(twice.length === 0 ? [] : [`twice: ${twice[0]}`]),
    ...(undecided.length === 0 ? [] : [`decided by no outcome: ${undecided[0]!.what} of ${undecided[0]!.target}`]),
    ...(unseen.length === 0 ? [] : [`applied without a witness: ${unseen.map(({ name }) => name).join(', ')}`])
  ]
  return { name: 'effects', ok: problems.length === 0, detail: [`${effects.length} effects`, ...problems].join(', ') }
}

function verdictTrue({ verdict }: Expectation, verdicts: readonly Verdict[], healthy: boolean): Assertion {
  const last = verdicts.at(-1) ?? null
  const allowed: readonly (Verdict | null)[] = verdict === null ? [null] : [verdict].flat()
  const lied = last === 'healed' && !healthy
  const detail = `verdicts ${verdicts.join(', ') || 'none'}, expected ${allowed.map(each => each ?? 'none').join(' or ')}${lied ? ', and it is not healthy' : ''}`
  return { name: 'verdict', ok: allowed.includes(last) && !lied, detail }
}

export function within(value: number, count: Count): boolean {
  return typeof count === 'number' ? value === count : value >= count[0] && value <= count[1]
}

function inWords(count: Count): string {
  return typeof count === 'number' ? String(count) : `${count[0]} to ${count[1]}`
}

/** What a case asserts beside the six. */
export function that(name: string, ok: boolean, detail: string): Assertion {
  return { name, ok, detail }
}

/** The report with more that was measured. */
export function withFigures(report: AcceptanceReport, figures: AcceptanceReport['figures']): AcceptanceReport {
  return { ...report, figures: { ...report.figures, ...figures } }
}

/** Of a case or a play that threw. */
export function brokenReport(name: string, seed: number, error: Error): AcceptanceReport {
  return { case: name, seed, pass: false, assertions: [that('run', false, error.stack ?? error.message)], figures: {} }
}

/** Name, figures, what does not hold and what was left out, for a terminal. */
export function reportLines(reports: readonly AcceptanceReport[]): string[] {
  const width = Math.max(...reports.map(report => report.case.length), 4)
  return reports.flatMap(report => {
    const figures = Object.entries(report.figures)
      .map(([name, value]) => `${name} ${value ?? '–'}`)
      .join(', ')
    const failed = report.assertions.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`)
    const below = [...failed, ...(report.notes ?? [])].map(line => `${' '.repeat(width + 8)}${line}`)
    return [`${report.case.padEnd(width)}  ${report.pass ? 'pass' : 'FAIL'}  ${figures}`, ...below]
  })
}
