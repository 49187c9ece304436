// Imagined incidents: what policies' selectors are tried on, to see which of them hold always, never, or together.
//
// A selector is CEL and may say anything; what it compares with text literals is known, and that is nearly all that people
// write. Each field takes every literal that the selectors compare it with, and one value that nobody thought of.

import { entityService } from '../../schemas/entity.ts'
import { causeSchema } from '../../schemas/incident.ts'

/** What a selector sees of an incident, as far as it is imagined. */
export interface ImaginedIncident {
  incident: Readonly<Record<string, unknown>>
  cause: Readonly<Record<string, unknown>>
}

/** A product beyond this is cut: 40 services in three environments fit. */
const IMAGINED_MAX = 2_000
const SEVERITIES = ['info', 'warning', 'critical']
/** Beside what scores are compared with, and a little above and below it. */
const SCORES = [0, 0.5, 1]
const SCORE_STEP = 0.01

const PATH = String.raw`\b(?:incident|cause)\.(\w+)`
const TEXT = String.raw`(["'])(.*?)\2`
const EQUALS = new RegExp(`${PATH}\\s*[!=]=\\s*${TEXT}`, 'g')
const PART = new RegExp(`${PATH}\\.(?:startsWith|endsWith|contains)\\(\\s*${TEXT}\\s*\\)`, 'g')
const LISTED = new RegExp(`${PATH}\\s+in\\s+\\[([^\\]]*)\\]`, 'g')
const SCORE = /\bcause\.score\s*(?:[<>]=?|[!=]=)\s*(\d*\.?\d+)/g

/** Fields that are imagined. */
const FIELDS: ReadonlySet<string> = new Set(['environment', 'severity', 'service', 'entity', 'signature', 'score'])

/** Whether these selectors say nothing but comparisons of imagined fields, so that imagined incidents tell all of them. */
export function isUnderstood(...matches: readonly string[]): boolean {
  return matches.every(match => {
    const rest = [EQUALS, PART, LISTED].reduce((text, pattern) => text.replaceAll(pattern, (whole, field: string) => (FIELDS.has(field) ? '' : whole)), match)
    return /^[\s()!&|]*$/.test(rest.replaceAll(SCORE, ''))
  })
}

/** Incidents in every combination of what `matches` compare, at most IMAGINED_MAX. Deterministic. */
export function imagineIncidents(...matches: readonly string[]): ImaginedIncident[] {
  const literals = literalsOf(matches)
  const among = (field: string, others: readonly string[]): string[] => [...new Set([...(literals.get(field) ?? []), ...others])]
  const services = among('service', ['another-service'])
  const entities = among('entity', [])
  const scores = scoresOf(matches)
  const severities = literals.has('severity') ? SEVERITIES : ['critical']
  const imagined: ImaginedIncident[] = []
  // Signatures vary fastest, so that a product that is cut still has all of them.
  for (const environment of among('environment', ['another-environment'])) {
    for (const { entity, service } of [...services.map(name => ({ entity: `${name}@1`, service: name })), ...entities.map(ofEntity)]) {
      for (const severity of severities) {
        for (const score of scores) {
          for (const signature of causeSchema.shape.signature.options) {
            if (imagined.length >= IMAGINED_MAX) return imagined
            imagined.push({ incident: { ...INCIDENT, environment, severity }, cause: { entity, service, score, signature, open: true, evidence: [] } })
          }
        }
      }
    }
  }
  return imagined
}

const INCIDENT = { id: '', status: 'open', title: '', attempts: 0, causes: [], members: [], unknownEntities: [], membersOmitted: 0 }

function ofEntity(entity: string): { entity: string; service: string } {
  return { entity, service: entityService(entity).replace(/^.*\//, '') }
}

/** Field → the texts that it is compared with. */
function literalsOf(matches: readonly string[]): Map<string, Set<string>> {
  const literals = new Map<string, Set<string>>()
  const add = (field: string, text: string): void => {
    const known = literals.get(field) ?? new Set<string>()
    if (text !== '') literals.set(field, known.add(text)) // Nothing is named by nothing.
  }
  for (const match of matches) {
    for (const pattern of [EQUALS, PART]) for (const [, field, , text] of match.matchAll(pattern)) add(field!, text!)
    for (const [, field, list] of match.matchAll(LISTED)) for (const [, , text] of list!.matchAll(/(["'])(.*?)\1/g)) add(field!, text!)
  }
  return literals
}

/** Scores that make a difference to these selectors; one high one where they do not ask for it. */
function scoresOf(matches: readonly string[]): number[] {
  const compared = matches.flatMap(match => [...match.matchAll(SCORE)].map(([, text]) => Number(text)))
  if (compared.length === 0 && matches.every(match => !match.includes('cause.score'))) return [0.9]
  const around = compared.flatMap(score => [score - SCORE_STEP, score, score + SCORE_STEP])
  return [...new Set([...around, ...SCORES])].filter(score => score >= 0 && score <= 1)
}
