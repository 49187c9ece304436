// Which silent instances were replaced: for each that ended, a sibling of the same service and environment that is new.
//
// Pure; part of the diagnose state. One birth makes good one absence, so that a service is never told to be whole with fewer instances
// than it had. A birth counts for an absence that is not told yet as soon as it is new, and gives it back when it is lost before it
// settled; an absence that was told already ends with a birth that has settled. An instance that ends young was no
// instance to replace, so a loop of crashes under new names is told each time.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { entityService } from '../../schemas/entity.ts'
import type { Incident, IncidentMember } from '../../schemas/incident.ts'
import type { Instance } from '../../schemas/topology.ts'
import { ABSENCE } from '../rules/absence.ts'

export interface Birth extends Instance {
  /** Its own absence was told: it stands in for nobody. */
  wasAbsent: boolean
  /** Id of the absence that it makes good. */
  replaces: string | null
  /** That absence, as long as it may have to be told after all. */
  held: Anomaly | null
}

/** `environment/entity` → its birth, the earliest noted first. */
export type Births = Map<string, Birth>

export const BIRTHS_MAX = 5_000
/** By the log's clock, against the newest birth: an absence is given up after an hour, and a replay reaches back less. */
export const BIRTHS_KEEP_MS = 2 * 3_600_000
/** A rolling release starts the next before it ends the last: they overlap by start, readiness and grace, a few times what a sender's silence is noticed after. */
const OVERLAP_PATIENCES = 5
/** Longer ago it was a matter of its own, however seldom the sender reports. */
const OVERLAP_MAX_MS = 900_000

/**
 * Takes news of an instance in.
 * @returns absences that were held back for a birth that came to nothing, or that is forgotten: they are to be told now
 */
export function noteInstanceNews(births: Births, instance: Instance): Anomaly[] {
  const name = nameOf(instance)
  const known = births.get(name)
  if (instance.state === 'lost') {
    births.delete(name)
    return heldOf(known)
  }
  if (known === undefined) {
    births.set(name, { ...instance, wasAbsent: false, replaces: null, held: null })
    return forget(births, instance.firstSeenMs)
  }
  if (instance.lastSeenMs < known.lastSeenMs) return [] // Read again.
  Object.assign(known, instance)
  if (known.state === 'settled') known.held = null
  return []
}

/**
 * Looks for the birth that makes good an absence which is to be told, and notes it.
 * @returns true when there is one: the absence need not be told
 */
export function replaceSilent(births: Births, absence: Anomaly): boolean {
  if (absence.detector !== ABSENCE) return false
  for (const birth of births.values()) if (birth.replaces === absence.id) return true
  const own = births.get(nameOf(absence))
  if (own !== undefined) {
    own.wasAbsent = true
    if (absence.sinceMs - own.firstSeenMs < overlapMs(own)) return false
  }
  const birth = [...births.values()].find(candidate => candidate.firstSeenMs <= absence.detectedAtMs && fits(candidate, absence.environment, absence))
  if (birth === undefined) return false
  birth.replaces = absence.id
  birth.held = birth.state === 'settled' ? null : absence
  return true
}

/** An absence has ended, or its entity was given up: if it is held back, there is nothing left to tell. */
export function endAbsence(births: Births, { id }: Anomaly): void {
  for (const birth of births.values()) if (birth.held?.id === id) birth.held = null
}

/**
 * Looks for the member of an open incident that an instance makes good by having settled, and notes it.
 * @returns undefined when there is none, or the birth stands in for another
 */
export function replaceMember(births: Births, instance: Instance, incidents: Iterable<Incident>): { incident: Incident; member: IncidentMember } | undefined {
  const birth = births.get(nameOf(instance))
  if (birth?.state !== 'settled') return undefined
  for (const incident of incidents) {
    const member = incident.members.find(one => one.detector === ABSENCE && one.closedAtMs === null && fits(birth, incident.environment, one))
    if (member === undefined) continue
    birth.replaces = member.anomalyId
    return { incident, member }
  }
  return undefined
}

/** An unused birth of a sibling, no longer before the end than the two may overlap. */
function fits(birth: Birth, environment: string, { entity, sinceMs }: Pick<Anomaly, 'entity' | 'sinceMs'>): boolean {
  const isSibling = birth.environment === environment && birth.entity !== entity && entityService(birth.entity) === entityService(entity)
  return isSibling && birth.replaces === null && !birth.wasAbsent && birth.firstSeenMs >= sinceMs - overlapMs(birth)
}

function overlapMs({ patienceMs }: Instance): number {
  return Math.min(OVERLAP_MAX_MS, OVERLAP_PATIENCES * patienceMs)
}

function forget(births: Births, newestMs: number): Anomaly[] {
  const told: Anomaly[] = []
  for (const [name, birth] of births) {
    if (births.size <= BIRTHS_MAX && newestMs - birth.firstSeenMs < BIRTHS_KEEP_MS) break
    births.delete(name)
    told.push(...heldOf(birth))
  }
  return told
}

function heldOf(birth: Birth | undefined): Anomaly[] {
  return birth?.held ? [birth.held] : []
}

function nameOf({ environment, entity }: Pick<Instance, 'environment' | 'entity'>): string {
  return `${environment}/${entity}`
}
