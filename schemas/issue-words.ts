// What zod finds wrong, in words that say what is expected, what was given and what may have been meant.

import type { z } from 'zod'
import { closestName } from './yaml-hints.ts'

type Issue = z.core.$ZodIssue

/** `field: what is expected, not what was given. Did you mean …?` for each issue, joined; `raw` is what was checked. */
export function inWords(issues: readonly Issue[], raw: unknown): string {
  return issues.map(issue => issueInWords(issue, raw)).join('; ')
}

/** One issue; see `inWords`. @param name where it is, as the reader knows that place */
export function issueInWords(issue: Issue, raw: unknown, name = issue.path.join('.')): string {
  const { path } = issue
  const value = valueAt(raw, path)
  const said = `${name === '' ? '' : `${name}: `}${expectation(issue)}`
  if (value !== undefined) return sentence(`${said}, not ${shown(value)}`, choiceHint(issue, value))
  const present = Object.keys((valueAt(raw, path.slice(0, -1)) as object | undefined) ?? {})
  return sentence(`${said}, and it is missing`, misspelt(path, present))
}

function sentence(text: string, hint: string): string {
  return hint === '' ? text : `${text}. ${hint}`
}

/** What was expected, as a clause. */
export function expectation(issue: Issue): string {
  if (issue.code === 'invalid_type') return `a ${TYPES[issue.expected] ?? issue.expected} is expected`
  if (issue.code === 'invalid_value') return `${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')} is expected`
  if (issue.code === 'invalid_union' && 'options' in issue) return `one of ${(issue.options as unknown[]).map(String).join(', ')} is expected`
  if (issue.code === 'too_small') return `at least ${issue.minimum}${sizeUnit(issue.origin)} expected`
  if (issue.code === 'too_big') return `at most ${issue.maximum}${sizeUnit(issue.origin)} expected`
  return issue.message
}

/** As `shown` calls them. */
const TYPES: Readonly<Record<string, string>> = { object: 'map', record: 'map', array: 'list', int: 'whole number' }

function sizeUnit(origin: string): string {
  if (origin === 'string') return ' characters are'
  return origin === 'array' || origin === 'set' || origin === 'map' ? ' entries are' : ' is'
}

/** The nearest of the choices, as a question; '' when none is near. */
export function choiceHint(issue: Issue, value: unknown): string {
  const choices = issue.code === 'invalid_value' ? issue.values : issue.code === 'invalid_union' && 'options' in issue ? (issue.options as unknown[]) : []
  const near = typeof value === 'string' ? closestName(value, choices.map(String)) : undefined
  return near === undefined ? '' : `Did you mean ${near}?`
}

/** A missing key whose misspelling stands beside it: name the pair. */
export function misspelt(path: readonly PropertyKey[], present: readonly string[]): string {
  const near = closestName(String(path.at(-1) ?? ''), present)
  return near === undefined ? '' : `${near} is there: did you mean ${String(path.at(-1))}?`
}

/** A value as people would call it. */
export function shown(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? `"${value}"` : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

/** What stands at `path`, or undefined. */
export function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<PropertyKey, unknown>)[key]
  }
  return value
}
