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
const SCORES = [0, 0.5, 1]

const PATH = String.raw`\b(?:incident|cause)\.(\w+)`
const TEXT = String.raw`(["'])(.*?)\2`
const COMPARED = [new RegExp(`${PATH}\\s*[!=]=\\s*${TEXT}`, 'g'), new RegExp(`${PATH}\\.(?:startsWith|endsWith|contains|matches)\\(\\s*${TEXT}`, 'g')]
const LISTED = new RegExp(`${PATH}\\s+in\\s+\\[(.*?)\\]`, 'g')

/** Fields that are imagined; a selector that asks for others is not judged by these incidents alone. */
const FIELDS: ReadonlySet<string> = new Set(['environment', 'severity', 'service', 'entity', 'signature', 'score'])

/** Whether these selectors ask for nothing but what is imagined. */
export function isImaginable(...matches: readonly string[]): boolean {
  return matches.every(match => [...match.replaceAll(/(["']).*?\1/g, '""').matchAll(new RegExp(PATH, 'g'))].every(([, field]) => FIELDS.has(field!)))
}

/** Incidents in every combination of what `matches` compare, at most IMAGINED_MAX. Deterministic. */
export function imagineIncidents(...matches: readonly string[]): ImaginedIncident[] {
  const literals = literalsOf(matches)
  const among = (field: string, others: readonly string[]): string[] => [...new Set([...(literals.get(field) ?? []), ...others])]
  const services = among('service', ['another-service'])
  const entities = among('entity', [])
  const scores = literals.has('score') || matches.some(match => /cause\.score/.test(match)) ? SCORES : [0.9]
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
    for (const pattern of COMPARED) for (const [, field, , text] of match.matchAll(pattern)) add(field!, text!)
    for (const [, field, list] of match.matchAll(LISTED)) for (const [, , text] of list!.matchAll(/(["'])(.*?)\1/g)) add(field!, text!)
  }
  return literals
}
