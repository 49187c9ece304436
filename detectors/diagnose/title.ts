// What an incident is called: its first cause, in words.

import type { Cause, Incident } from '../../schemas/incident.ts'
import { CANARY_DETECTOR, STOPPED_BY } from '../canary/alarm.ts'
import { serviceName } from './rank-causes.ts'

const PHRASES: Readonly<Record<Cause['signature'], string>> = {
  silent: 'sends nothing',
  crash_loop: 'keeps crashing',
  errors: 'fails',
  latency: 'is slow',
  saturation: 'runs out of a resource',
  traffic: 'has unusual traffic',
  logs: 'logs trouble',
  failure_predicted: 'is about to fail',
  canary: 'is a canary worse than its baseline',
  canary_undecided: 'is a canary that cannot be judged',
  telemetry_gap: 'is not heard',
  other: 'behaves unusually'
}

function phraseOf({ members }: Pick<Incident, 'members'>, { entity, signature }: Cause): string {
  const alarm = members.findLast(member => member.entity === entity && member.detector === CANARY_DETECTOR)
  const person = signature === 'canary' ? alarm?.attributes[STOPPED_BY] : undefined
  return person === undefined ? PHRASES[signature] : `is a canary that ${person} stopped`
}

/** @returns one line; missing telemetry has a title of its own (telemetry-gap.ts) */
export function titleOf(incident: Pick<Incident, 'causes' | 'members'>): string {
  const cause = incident.causes[0]
  if (cause === undefined) return 'anomalies without a cause'
  const others = new Set(incident.members.map(member => serviceName(member.entity)).filter(service => service !== cause.service)).size
  return `${cause.entity} ${phraseOf(incident, cause)}${others === 0 ? '' : `, ${others} other ${others === 1 ? 'service' : 'services'} affected`}`
}
