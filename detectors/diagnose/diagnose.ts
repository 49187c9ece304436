// The diagnose reducer: (state, event, now) → effects. Anomalies become incidents with ranked causes.
//
// Pure but for changing `state` in place: no clock, no I/O; the worker publishes the effects and saves the state. The same
// events in the same order give the same incidents; repeated events change nothing (ids are derived, members known).

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import type { Decision } from '../../schemas/decision.ts'
import { incidentId } from '../../schemas/ids.ts'
import type { Cause, Incident } from '../../schemas/incident.ts'
import type { Edge, Instance } from '../../schemas/topology.ts'
import { CANARY_DETECTOR } from '../canary/alarm.ts'
import { incidentsFor, memberOf } from './correlate.ts'
import { advance, applyOutcome, type Ended, healOf, QUIET_LOOKS_MIN } from './lifecycle.ts'
import { admitMember, OMITTED_IDS_MAX, standingMembers, unknownEntities, worstSeverity } from './members.ts'
import { memberNode, rankCauses } from './rank-causes.ts'
import { endAbsence, noteInstanceNews, replaceMember, replaceSilent } from './replacements.ts'
import { addEdge } from './service-graph.ts'
import { readSignal } from './signal-kind.ts'
import { adopt, begin, type DiagnoseState, graphOf, moveWatch, noteInstance, retire, type Tracked, tracked } from './state.ts'
import { isLeftBehind, telemetryGap } from './telemetry-gap.ts'
import { titleOf } from './title.ts'

/** What of a decision is asked here. */
export type Decided = Pick<Decision, 'incidentId' | 'outcome' | 'commandId' | 'outcomeByMs' | 'attempt' | 'decidedAtMs'>

export type DiagnoseEvent =
  | { kind: 'anomaly'; record: Anomaly }
  | { kind: 'edge'; record: Edge }
  | { kind: 'instance'; record: Instance }
  | { kind: 'decision'; record: Decided }
  | { kind: 'outcome'; record: Ended }
  | { kind: 'tick' }

export type DiagnoseEffect =
  | { kind: 'publish'; record: Incident }
  /** An anomaly that changed nothing, and why. */
  | { kind: 'ignored'; reason: 'shadow' | 'known' | 'unknown_close' | 'replaced' | 'info_only' | 'incidents_max' }

export type DiagnoseConfig = Config['diagnose']

/** Open incidents at once. Beyond it anomalies are counted and open none: a fleet with 500 separate troubles has one, elsewhere. */
export const OPEN_INCIDENTS_MAX = 500
/** Rule: a deviation worth a note only (`info`) joins an incident but opens none. */
export const INFO_OPENS_INCIDENTS = false

/** Takes one event in. O(open incidents · members) for an anomaly. */
export function diagnose(state: DiagnoseState, event: DiagnoseEvent, nowMs: number, config: DiagnoseConfig): DiagnoseEffect[] {
  moveWatch(state.watch, nowMs, config.resolveAfter / QUIET_LOOKS_MIN)
  switch (event.kind) {
    case 'anomaly':
      return onAnomaly(state, event.record, nowMs, config)
    case 'edge':
      addEdge(graphOf(state, event.record.environment), event.record)
      return []
    case 'instance':
      return onInstance(state, event.record, nowMs, config)
    case 'decision':
      return onDecision(state, event.record, nowMs, config)
    case 'outcome': {
      const entry = state.open.get(event.record.incidentId)
      return entry !== undefined && applyOutcome(entry, event.record) ? publish(state, entry, nowMs, config) : []
    }
    case 'tick':
      return [...state.open.values()].flatMap(entry => onTick(state, entry, nowMs, config))
  }
}

function onAnomaly(state: DiagnoseState, anomaly: Anomaly, nowMs: number, config: DiagnoseConfig): DiagnoseEffect[] {
  if (anomaly.detector !== CANARY_DETECTOR) noteInstance(state, anomaly.environment, anomaly.entity) // Its entity is a version.
  if (anomaly.shadow) return [{ kind: 'ignored', reason: 'shadow' }]
  const owner = state.owners.get(anomaly.id)
  if (owner !== undefined) {
    const entry = state.open.get(owner)
    return entry !== undefined && updateMember(entry, anomaly) ? publish(state, entry, nowMs, config) : [{ kind: 'ignored', reason: 'known' }]
  }
  if (anomaly.status === 'close') {
    endAbsence(state.births, anomaly)
    return [{ kind: 'ignored', reason: 'unknown_close' }]
  }
  if (replaceSilent(state.births, anomaly)) return [{ kind: 'ignored', reason: 'replaced' }]
  const incidents = [...state.open.values()].map(entry => entry.incident)
  const fitting = incidentsFor(anomaly, incidents, graphOf(state, anomaly.environment), config.groupWindow)
  if (fitting.length === 0) {
    if (anomaly.severity === 'info' && !INFO_OPENS_INCIDENTS) return [{ kind: 'ignored', reason: 'info_only' }]
    if (state.open.size >= OPEN_INCIDENTS_MAX) return [{ kind: 'ignored', reason: 'incidents_max' }]
    return publish(state, openIncident(state, anomaly, nowMs), nowMs, config)
  }
  // The one that was acted on keeps its history; among untouched ones the oldest does.
  const main = state.open.get((fitting.find(incident => incident.attempts > 0) ?? fitting[0]!).id)!
  const merged = fitting.filter(incident => incident !== main.incident && incident.attempts === 0 && incident.status === 'open')
  const effects = merged.map(incident => absorb(state, main, state.open.get(incident.id)!, nowMs))
  join(state, main, anomaly)
  return [...effects, ...publish(state, main, nowMs, config)]
}

function onInstance(state: DiagnoseState, instance: Instance, nowMs: number, config: DiagnoseConfig): DiagnoseEffect[] {
  const effects = noteInstanceNews(state.births, instance).flatMap(absence => onAnomaly(state, absence, nowMs, config))
  const open = [...state.open.values()].map(entry => entry.incident)
  const found = replaceMember(state.births, instance, open)
  if (found === undefined) return effects
  found.member.closedAtMs = Math.max(instance.lastSeenMs, found.member.sinceMs)
  found.member.reason += ` Replaced by ${instance.entity}.`
  return [...effects, ...publish(state, state.open.get(found.incident.id)!, nowMs, config)]
}

function openIncident(state: DiagnoseState, anomaly: Anomaly, nowMs: number): Tracked {
  const entry = tracked({
    id: incidentId(anomaly.environment, anomaly.id),
    environment: anomaly.environment,
    status: 'open',
    severity: anomaly.severity,
    title: '',
    startedAtMs: anomaly.sinceMs,
    openedAtMs: nowMs,
    updatedAtMs: nowMs,
    healedAtMs: null,
    resolvedAtMs: null,
    resolution: null,
    causes: [],
    members: [memberOf(anomaly)],
    membersOmitted: 0,
    attempts: 0,
    unknownEntities: [],
    version: 0
  })
  adopt(state, entry)
  return entry
}

function join(state: DiagnoseState, entry: Tracked, anomaly: Anomaly): void {
  state.owners.set(anomaly.id, entry.incident.id)
  omit(entry, admitMember(entry.incident.members, memberOf(anomaly)))
}

function omit(entry: Tracked, member: Incident['members'][number] | undefined): void {
  if (member === undefined) return
  entry.incident.membersOmitted++
  const isOpen = member.closedAtMs === null && !entry.givenUp.includes(member.anomalyId) // What was given up tells of no end.
  if (entry.omitted.size < OMITTED_IDS_MAX) entry.omitted.set(member.anomalyId, isOpen)
}

/** Two incidents turned out to be one: `other` ends, its members go over. */
function absorb(state: DiagnoseState, main: Tracked, other: Tracked, nowMs: number): DiagnoseEffect {
  const { incident } = other
  const kept = { ...incident, members: [...incident.members] }
  state.open.delete(incident.id)
  main.givenUp.push(...other.givenUp)
  for (const member of incident.members) {
    state.owners.set(member.anomalyId, main.incident.id)
    omit(main, admitMember(main.incident.members, member))
  }
  for (const [anomalyId, open] of other.omitted) {
    state.owners.set(anomalyId, main.incident.id)
    if (main.omitted.size < OMITTED_IDS_MAX) main.omitted.set(anomalyId, open)
  }
  main.incident.membersOmitted += incident.membersOmitted
  const record: Incident = {
    ...kept,
    status: 'resolved',
    resolution: 'merged',
    title: `${incident.title} (merged into ${main.incident.id})`,
    resolvedAtMs: nowMs,
    updatedAtMs: nowMs,
    version: incident.version + 1
  }
  return { kind: 'publish', record }
}

function updateMember(entry: Tracked, anomaly: Anomaly): boolean {
  const members = entry.incident.members
  const index = members.findIndex(member => member.anomalyId === anomaly.id)
  if (index === -1) {
    if (anomaly.status !== 'close' || entry.omitted.get(anomaly.id) !== true) return false
    entry.omitted.set(anomaly.id, false)
    return true
  }
  // A repeated `open` says nothing new, and nothing reopens a closed anomaly: the next one has its own id.
  if (anomaly.status === 'open' || members[index]!.closedAtMs !== null) return false
  // Nobody was heard, so nobody can tell who was removed: that shows when the others are back.
  if (anomaly.givenUp === true && isGap(entry.incident)) {
    if (!entry.givenUp.includes(anomaly.id)) entry.givenUp.push(anomaly.id)
    return false
  }
  // What closed it is that nothing is wrong any more: the member goes on saying what was.
  members[index] = anomaly.status === 'close' ? { ...members[index]!, closedAtMs: memberOf(anomaly).closedAtMs } : memberOf(anomaly)
  return true
}

function onDecision(state: DiagnoseState, decision: Decided, nowMs: number, config: DiagnoseConfig): DiagnoseEffect[] {
  const entry = state.open.get(decision.incidentId)
  if (entry === undefined) return []
  const { incident } = entry
  const before = `${incident.status}/${incident.attempts}`
  if (decision.outcome === 'act' && decision.commandId !== null) {
    incident.attempts = Math.max(incident.attempts, decision.attempt)
    entry.actedAtMs = Math.max(entry.actedAtMs ?? 0, decision.decidedAtMs)
    if (begin(entry, decision.commandId, decision.outcomeByMs ?? null)) incident.status = 'acting'
  } else if (decision.outcome === 'escalate') incident.status = 'escalated'
  return before === `${incident.status}/${incident.attempts}` ? [] : publish(state, entry, nowMs, config)
}

function onTick(state: DiagnoseState, entry: Tracked, nowMs: number, config: DiagnoseConfig): DiagnoseEffect[] {
  const isLeft = closeLeftBehind(entry, nowMs)
  if (advance(entry, nowMs, state.watch.watchedMs, config) || isLeft) return publish(state, entry, nowMs, config)
  // Ranking may change by time alone: an accused callee that stays well clears itself, and what came back leaves others behind.
  const causes = healOf(entry) === null ? conclude(state, entry.incident, nowMs, config).causes : entry.incident.causes
  return sameRanking(causes, entry.incident.causes) ? [] : publish(state, entry, nowMs, config)
}

/** Brings the incident up to date with its members and gives the record. */
function publish(state: DiagnoseState, entry: Tracked, nowMs: number, config: DiagnoseConfig): DiagnoseEffect[] {
  const { incident } = entry
  if (incident.status !== 'resolved') {
    advance(entry, nowMs, state.watch.watchedMs, config)
    Object.assign(incident, conclude(state, incident, nowMs, config))
    incident.startedAtMs = onsetOf(incident.members)
    incident.unknownEntities = unknownEntities(incident.members)
  }
  incident.updatedAtMs = nowMs
  incident.version++
  if ((incident.status as Incident['status']) === 'resolved') retire(state, incident.id, nowMs)
  // A copy of what is changed in place: the incident and its members. All else in it is replaced as a whole.
  return [{ kind: 'publish', record: { ...incident, members: incident.members.map(member => ({ ...member })) } }]
}

/** Absences that the detector gave up end when those that fell silent with them are back, or when something else proved to be wrong. */
function closeLeftBehind(entry: Tracked, nowMs: number): boolean {
  const { incident, givenUp } = entry
  const { members } = incident
  const left = members.filter(one => one.closedAtMs === null && givenUp.includes(one.anomalyId) && (!isGap(incident) || isLeftBehind(one, members, nowMs)))
  for (const member of left) member.closedAtMs = nowMs
  entry.givenUp = givenUp.filter(id => members.some(one => one.anomalyId === id && one.closedAtMs === null))
  return left.length > 0
}

/** What the members mean: whose trouble it is, or that nobody can say because telemetry is missing. */
function conclude(state: DiagnoseState, incident: Incident, nowMs: number, config: DiagnoseConfig): Pick<Incident, 'causes' | 'severity' | 'title'> {
  const graph = graphOf(state, incident.environment)
  const knownNodes = () => [...(state.instances.get(incident.environment) ?? [])].map(entity => memberNode({ entity }, graph))
  const gap = telemetryGap(incident.members, graph, nowMs, knownNodes)
  if (gap !== undefined) return { causes: [gap.cause], severity: gap.severity, title: gap.title }
  const causes = causesOf(state, incident, nowMs, config)
  const { severity, title } = incident
  return isGap({ causes }) ? { causes, severity, title } : { causes, severity: worstSeverity(incident.members), title: titleOf({ ...incident, causes }) }
}

function isGap({ causes }: Pick<Incident, 'causes'>): boolean {
  return causes[0]?.signature === 'telemetry_gap'
}

/** The earliest onset of the most severe members: a passing wobble just before must not lengthen the time to repair. */
function onsetOf(members: Incident['members']): number {
  const severity = worstSeverity(members)
  return Math.min(...members.filter(member => member.severity === severity).map(member => member.sinceMs))
}

/**
 * Ranked from members that are open, or were until lately: a healed cause must not hand its guilt to a symptom that
 * lingers. Once all trouble has closed the ranking stands as it was: what is left says only that things come back.
 */
function causesOf(state: DiagnoseState, incident: Incident, nowMs: number, config: DiagnoseConfig): Cause[] {
  const trouble = incident.members.filter(member => readSignal(member).hurts)
  if (incident.causes.length > 0 && trouble.length > 0 && trouble.every(member => member.closedAtMs !== null)) {
    return incident.causes.map(cause => ({ ...cause, open: false }))
  }
  const members = standingMembers(incident.members)
  const telling = members.filter(member => member.closedAtMs === null || nowMs - member.closedAtMs <= config.groupWindow)
  const graph = graphOf(state, incident.environment)
  const instancesOf = (node: string) => [...(state.instances.get(incident.environment) ?? [])].filter(entity => memberNode({ entity }, graph) === node)
  return rankCauses(telling.length > 0 ? telling : members, graph, nowMs, instancesOf)
}

function sameRanking(a: readonly Cause[], b: readonly Cause[]): boolean {
  return (
    a.length === b.length &&
    a.every(
      (cause, index) =>
        cause.entity === b[index]!.entity && cause.score === b[index]!.score && cause.signature === b[index]!.signature && cause.open === b[index]!.open
    )
  )
}
