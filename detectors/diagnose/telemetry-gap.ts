// When several fall silent at the same moment and nothing else is wrong, it is their telemetry that is missing: a Collector, a network, an
// exporter's credentials. Whether they are well is unknown, so nobody is accused and nothing is restarted.
//
// Pure; asked by the reducer whenever it ranks causes. Corroboration decides, and it comes from those who are heard: a caller that
// complains, or a crash loop, makes silences what they were before: dead or hung processes.
//
//   several services silent together, nobody who is heard complains ────────────► gap of the environment; critical when half of it is silent
//   several instances of one service, its callers are heard and see no trouble ─► gap of that service; a warning
//   one instance, or a service that nobody calls ───────────────────────────────► no gap: it may have died, and nobody would notice

import type { Severity } from '../../schemas/anomaly.ts'
import { entityService } from '../../schemas/entity.ts'
import type { Cause, IncidentMember } from '../../schemas/incident.ts'
import { formatTime } from '../score/format.ts'
import { memberNode, ONSET_TOLERANCE_MS, serviceName } from './rank-causes.ts'
import { callersSince, hopsDown, nodeOf, PATH_HOPS_MAX, type ServiceGraph } from './service-graph.ts'
import { beganTogether, isSilence, mayBeginAt } from './silence.ts'
import { readSignal } from './signal-kind.ts'

export interface TelemetryGap {
  cause: Cause
  severity: Severity
  title: string
}

/** What is heard again counts among those that fell silent for so long: senders return over their interval and the Collector's backoff. */
const RETURN_MS = 300_000
/** A caller is a witness when it was seen to call so lately before the silence: derive tells an edge once a minute. */
const WITNESS_MS = 600_000
/** Of an environment's services: when so many are silent, whoever looks at it is blind. */
const BLIND_SHARE = 0.5
const GAP_SCORE = 0.8 // As of any silence.
const LISTED_MAX = 6 // Names in a sentence; the count says the rest.

/**
 * @param knownNodes services that were ever heard, whatever the graph knows of them
 * @returns undefined when nothing is silent together, or what is heard says that it is no gap. O(members² + edges)
 */
export function telemetryGap(
  members: readonly IncidentMember[],
  graph: ServiceGraph,
  nowMs: number,
  knownNodes: () => Iterable<string> = () => []
): TelemetryGap | undefined {
  // A fixed order makes the conclusion independent of the order of arrival.
  const silences = members.filter(isSilence).sort((a, b) => a.sinceMs - b.sinceMs || (a.entity < b.entity ? -1 : 1))
  const group = togetherOf(silences.filter(({ closedAtMs }) => closedAtMs === null || nowMs - closedAtMs <= RETURN_MS))
  if (new Set(group.map(({ entity }) => entity)).size < 2 || group.every(({ closedAtMs }) => closedAtMs !== null)) return undefined
  const view: View = {
    graph,
    group,
    nodes: new Set(group.map(member => memberNode(member, graph))),
    silent: silentOf(members),
    sinceMs: Math.max(...group.map(({ sinceMs }) => sinceMs)),
    others: members.filter(member => !isSilence(member))
  }
  if (view.others.some(member => corroborates(member, view))) return undefined
  return view.nodes.size === 1 ? gapOfService(view) : gapOfEnvironment(view, knownNodes())
}

/** Whether of those that are heard nothing shows trouble: what falls silent at the same moment then belongs to the incident, wherever it is. */
export function isSilenceOnly(members: readonly IncidentMember[]): boolean {
  const silent = silentOf(members)
  return members.every(member => member.closedAtMs !== null || silent.has(member.entity) || !isTrouble(member))
}

/** Whether others that fell silent with it have been back for long: what is silent still does not come back. */
export function isLeftBehind(member: IncidentMember, members: readonly IncidentMember[], nowMs: number): boolean {
  return members.some(other => isSilence(other) && beganTogether(other, member) && other.closedAtMs !== null && nowMs - other.closedAtMs > RETURN_MS)
}

interface View {
  graph: ServiceGraph
  /** Those that fell silent together. */
  group: readonly IncidentMember[]
  nodes: ReadonlySet<string>
  /** Entities that are not heard now. */
  silent: ReadonlySet<string>
  /** The last time that one of the group was heard. */
  sinceMs: number
  others: readonly IncidentMember[]
}

function silentOf(members: readonly IncidentMember[]): Set<string> {
  return new Set(members.filter(member => member.closedAtMs === null && isSilence(member)).map(({ entity }) => entity))
}

/** A deviation that is worth more than a note. */
function isTrouble(member: IncidentMember): boolean {
  return member.severity !== 'info' && readSignal(member).hurts
}

/** The most of them that can have begun at one moment. */
function togetherOf(silences: readonly IncidentMember[]): IncidentMember[] {
  let most: IncidentMember[] = []
  for (const { sinceMs } of silences) {
    const group = silences.filter(one => mayBeginAt(one, sinceMs))
    if (group.length > most.length) most = group
  }
  return most
}

/** Whether it says that one of the silent is in trouble indeed. What was told of it before it fell silent is no news. */
function corroborates(member: IncidentMember, { graph, nodes, silent, sinceMs }: View): boolean {
  if (!isTrouble(member) || (member.closedAtMs !== null && member.closedAtMs < sinceMs)) return false
  const { kind, peer } = readSignal(member)
  const node = memberNode(member, graph)
  if (silent.has(member.entity)) return kind === 'crash_loop' || (nodes.size === 1 && nodes.has(node))
  if (peer !== null) return nodes.has(nodeOf(graph, peer))
  if (nodes.size === 1 && nodes.has(node)) return true
  const isNew = member.sinceMs >= sinceMs - ONSET_TOLERANCE_MS
  return isNew && [...nodes].some(below => hopsDown(graph, node, below, PATH_HOPS_MAX) !== undefined)
}

function gapOfService({ graph, group, nodes, silent, others, sinceMs }: View): TelemetryGap | undefined {
  const [node] = [...nodes] as [string]
  const silentNodes = new Set([...silent].map(entity => memberNode({ entity }, graph)))
  const callers = callersSince(graph, node, sinceMs - WITNESS_MS).filter(caller => !silentNodes.has(caller))
  // Who calls it less sees no errors either.
  const isCalledLess = others.some(member => {
    const { kind, peer } = readSignal(member)
    return member.closedAtMs === null && kind === 'traffic' && member.direction !== 'above' && peer !== null && nodeOf(graph, peer) === node
  })
  if (callers.length === 0 || isCalledLess) return undefined
  const entity = entityService(group[0]!.entity)
  const names = group.map(member => member.entity.slice(entity.length + 1)).sort()
  const witnesses = `${listed(callers)}, which ${callers.length === 1 ? 'calls it and is' : 'call it and are'} heard, ${callers.length === 1 ? 'sees' : 'see'} no trouble`
  return {
    cause: {
      ...{ entity, service: serviceName(entity), score: GAP_SCORE, signature: 'telemetry_gap', open: true },
      evidence: [
        `${names.length} instances of ${entity} fell silent at the same moment, ${formatTime(sinceMs)}: ${listed(names)}`,
        `${witnesses}: it may be well`,
        'look at what carries its telemetry: its exporter, its Collector, the network between'
      ]
    },
    severity: 'warning',
    title: `no telemetry of ${entity} since ${formatTime(sinceMs)}: ${names.length} instances silent at once, its callers see no trouble`
  }
}

function gapOfEnvironment({ graph, group, sinceMs }: View, knownNodes: Iterable<string>): TelemetryGap {
  const services = [...new Set(group.filter(({ service }) => service !== '').map(member => memberNode(member, graph)))].sort()
  const hosts = group.flatMap(member => (member.service === '' ? [member.entity] : [])).sort()
  const known = new Set([...services, ...graph.instrumented, ...knownNodes])
  const others = [...known].filter(node => !services.includes(node)).sort()
  const who = [counted(services, 'service'), counted(hosts, 'host')].filter(text => text !== '').join(' and ')
  return {
    cause: {
      ...{ entity: 'telemetry', service: 'telemetry', score: GAP_SCORE, signature: 'telemetry_gap', open: true },
      evidence: [
        `${group.length} senders fell silent at the same moment, ${formatTime(sinceMs)}: ${[...services, ...hosts].slice(0, LISTED_MAX).join(', ')}`,
        others.length === 0 ? 'no other service is known here' : `not silent: ${listed(others)}`,
        'nobody who is heard complains of them: they may be well',
        'look at what they share on the way of their telemetry: a Collector, its exporter, the network, a host'
      ]
    },
    severity: services.length > 0 && services.length >= known.size * BLIND_SHARE ? 'critical' : 'warning',
    title: `no telemetry of ${who} since ${formatTime(sinceMs)}: ${group.length} senders silent at once, nobody complains of them`
  }
}

function counted(names: readonly string[], what: string): string {
  return names.length === 0 ? '' : `${names.length} ${what}${names.length === 1 ? '' : 's'}`
}

function listed(names: readonly string[]): string {
  const left = names.length - LISTED_MAX
  return left <= 0 ? names.join(', ') : `${names.slice(0, LISTED_MAX).join(', ')} and ${left} more`
}
