// Freshness: unknown is a value. Where telemetry is missing, a risky act (medium, high) is neither safe nor verifiable.
//
// One silence is not ignorance but the fault itself: the target's own, when callers whose telemetry does arrive see errors or
// delays from it. A silent target that nobody complains of may as well be a broken exporter: risky acts wait. Any other
// silent entity (a caller, a neighbour) blinds the collateral check: risky acts wait. Low-risk acts (as a restart of what
// sends nothing anyway) are what a low risk is for, unless many fell silent at once and nothing else is wrong: then it is their telemetry
// that is missing, and no act on them is a cure.

import { entityService } from '../../../schemas/entity.ts'
import type { GuardResult } from '../../../schemas/decision.ts'
import type { Cause, Incident } from '../../../schemas/incident.ts'
import { allow, type Guard, wait } from './guard.ts'

const LISTED_MAX = 5 // Names in the record; the count says the rest.

export const freshness: Guard = ({ incident, cause, target, runbook }) => {
  if (cause.signature === 'telemetry_gap') return telemetryMissing(incident, cause)
  const { risk } = runbook.spec
  const service = baseName(target)
  const others = incident.unknownEntities.filter(entity => entity !== target && baseName(entity) !== service)
  const targetUnknown = others.length < incident.unknownEntities.length
  const witnesses = accusers(incident, service).filter(caller => !incident.unknownEntities.some(entity => baseName(entity) === caller))
  const inputs = {
    risk,
    unknown: incident.unknownEntities.length,
    unknownOthers: others.slice(0, LISTED_MAX).join(', '),
    targetUnknown,
    callersThatComplain: witnesses.slice(0, LISTED_MAX).join(', ')
  }
  if (incident.unknownEntities.length === 0) return allow('freshness', inputs, 'telemetry of every entity of the incident arrives')
  if (risk === 'low')
    return allow('freshness', inputs, `telemetry of ${incident.unknownEntities.length} entities is missing, which a low-risk runbook may bear`)
  if (others.length > 0) {
    const reason = `${others.slice(0, LISTED_MAX).join(', ')} ${others.length === 1 ? 'is' : 'are'} unknown (no telemetry): a ${risk}-risk act could not be verified`
    return wait('freshness', inputs, reason, 'Telemetry of these entities, or a low-risk runbook.', null)
  }
  if (witnesses.length === 0) {
    const reason = `${target} sends no telemetry and no caller complains of it: it may be well`
    return wait('freshness', inputs, reason, `A caller of ${service} that sees errors or delays, telemetry of ${target}, or a low-risk runbook.`, null)
  }
  return allow('freshness', inputs, `${target} is silent, and ${witnesses.slice(0, LISTED_MAX).join(', ')} suffers from it`)
}

/** What holds every act, of whatever risk, on those whose telemetry is missing. */
export function telemetryMissing({ unknownEntities }: Pick<Incident, 'unknownEntities'>, { entity, service }: Pick<Cause, 'entity' | 'service'>): GuardResult {
  const isOneService = unknownEntities.every(unknown => baseName(unknown) === service)
  const more = unknownEntities.length - LISTED_MAX
  const names = `${unknownEntities.slice(0, LISTED_MAX).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
  const inputs = { unknown: unknownEntities.length, unknownOthers: isOneService ? '' : names, targetUnknown: true, callersThatComplain: '' }
  if (isOneService) {
    const reason = `${entity} sends no telemetry and no caller complains of it: it may be well`
    const counterfactual = `A caller of ${service} that sees errors or delays, or its telemetry: an instance that then stays silent alone is judged by itself.`
    return wait('freshness', inputs, reason, counterfactual, null)
  }
  const reason = 'several fell silent at the same moment and nobody who is heard complains of them: they may be well'
  return wait('freshness', inputs, reason, 'A caller that is heard and sees errors or delays of one of them, or their telemetry.', null)
}

/** The same when all of them are heard again, until the incident is over. */
export function telemetryBack(): GuardResult {
  const reason = 'telemetry was missing and nobody complained; all that fell silent is heard again'
  return wait('evidence', { causeOpen: false }, reason, 'A caller that is heard and sees errors or delays.', null)
}

/** Services whose own edge signals to `service` are open and hurt. */
function accusers(incident: Incident, service: string): string[] {
  const callers = incident.members
    .filter(member => member.closedAtMs === null && member.direction === 'above' && /^homeostat\.edge\.(error|duration)/.test(member.metric))
    .filter(member => baseName(member.attributes.peer ?? member.attributes['peer.service'] ?? '') === service)
  return [...new Set(callers.map(member => baseName(member.entity)))].sort()
}

function baseName(entity: string): string {
  const service = entityService(entity)
  return service.slice(service.indexOf('/') + 1)
}
