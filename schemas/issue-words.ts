// What zod finds wrong, in words that say what is expected, what was given and what may have been meant.

import type { z } from 'zod'
import { SECRET_FORM } from './secret.ts'
import { closestName } from './yaml-hints.ts'

type Issue = z.core.$ZodIssue

/** `field: what is expected, not what was given. Did you mean …?` for each issue, joined; `raw` is what was checked. */
export function inWords(issues: readonly Issue[], raw: unknown): string {
  return issues.map(issue => issueInWords(issue, raw)).join('; ')
}

/** One issue; see `inWords`. @param name where it is, as the reader knows that place */
export function issueInWords(issue: Issue, raw: unknown, name = issue.path.join('.')): string {
  const { message, hint } = wordsOf(issue, raw)
  return [`${name === '' ? '' : `${name}: `}${message}`, ...(hint === '' ? [] : [hint])].join('. ')
}

/** What is wrong, as a clause that does not name the field, and what may have been meant: '' when nothing is near. */
export function wordsOf(issue: Issue, raw: unknown): { message: string; hint: string } {
  const { path } = issue
  if (issue.code === 'unrecognized_keys') return { message: `unknown ${issue.keys.length === 1 ? 'key' : 'keys'} ${issue.keys.join(', ')}`, hint: '' }
  const value = valueAt(raw, path)
  const isMissing = value === undefined
  const siblings = Object.keys((valueAt(raw, path.slice(0, -1)) as object | undefined) ?? {})
  const hint = isMissing ? misspelt(path, siblings) : choiceHint(issue, value)
  if (issue.code === 'custom') return { message: issue.message, hint } // A rule over several values: it names them itself.
  return { message: `${expectation(issue)}, ${isMissing ? 'and it is missing' : `not ${given(issue, value)}`}`, hint }
}

/** Whether what stands there is most likely a secret that was to be given by reference. */
export const isAboutSecret = (issue: Issue): boolean => issue.message === SECRET_FORM

function given(issue: Issue, value: unknown): string {
  if (isAboutSecret(issue)) return 'the secret itself'
  const isCounted = issue.code === 'too_small' || issue.code === 'too_big'
  return isCounted && Array.isArray(value) ? String(value.length) : shown(value)
}

/** What was expected, as a clause. */
function expectation(issue: Issue): string {
  if (issue.code === 'invalid_type' && !issue.message.startsWith(ZOD_SAYS)) return `${issue.message} is expected`
  if (issue.code === 'invalid_type') return `a ${TYPES[issue.expected] ?? issue.expected} is expected`
  if (issue.code === 'invalid_value') return `${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')} is expected`
  if (issue.code === 'invalid_union' && 'options' in issue) return `one of ${(issue.options as unknown[]).map(String).join(', ')} is expected`
  if (issue.code === 'too_small') return `${issue.inclusive === false ? 'more than' : 'at least'} ${sized(issue.minimum, issue.origin)} expected`
  if (issue.code === 'too_big') return `${issue.inclusive === false ? 'less than' : 'at most'} ${sized(issue.maximum, issue.origin)} expected`
  return issue.code === 'invalid_format' ? `${issue.message} is expected` : issue.message
}

/** Of a name that is none of `names`: what is expected, and what may have been meant. */
export function unknownName(name: unknown, names: readonly string[]): string {
  const near = typeof name === 'string' ? closestName(name, names) : undefined
  return `one of ${names.join(', ')} is expected, ${name === undefined ? 'and it is missing' : `not ${shown(name)}`}${near === undefined ? '' : `. Did you mean ${near}?`}`
}

/** As `shown` calls them. */
const TYPES: Readonly<Record<string, string>> = { object: 'map', record: 'map', array: 'list', int: 'whole number' }

/** How the messages begin that zod makes where a schema has none of its own. */
const ZOD_SAYS = 'Invalid input'

function sized(limit: number | bigint, origin: string): string {
  const [one, many] = origin === 'string' ? ['character', 'characters'] : ['entry', 'entries']
  if (origin === 'number') return `${limit} is`
  return limit === 1 ? `1 ${one} is` : `${limit} ${many} are`
}

/** The nearest of the choices, as a question; '' when none is near. */
function choiceHint(issue: Issue, value: unknown): string {
  const choices = issue.code === 'invalid_value' ? issue.values : issue.code === 'invalid_union' && 'options' in issue ? (issue.options as unknown[]) : []
  const near = typeof value === 'string' ? closestName(value, choices.map(String)) : undefined
  return near === undefined ? '' : `Did you mean ${near}?`
}

/** A missing key whose misspelling stands beside it: name the pair. */
function misspelt(path: readonly PropertyKey[], present: readonly string[]): string {
  const near = closestName(String(path.at(-1) ?? ''), present)
  return near === undefined ? '' : `${near} is there: did you mean ${String(path.at(-1))}?`
}

/** A value as people would call it. */
function shown(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? `"${value}"` : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

/** What stands at `path`, or undefined. */
function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<PropertyKey, unknown>)[key]
  }
  return value
}
