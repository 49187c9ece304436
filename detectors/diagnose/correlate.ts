// Finds the incident that an anomaly belongs to: near in time to a member, and connected to its service; or silent since the same moment.
//
// Pure. Several incidents may fit when symptoms came before what joins them; the oldest takes the anomaly, and those on
// which nothing was decided yet are to be merged into it.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Incident, IncidentMember } from '../../schemas/incident.ts'
import { memberNode } from './rank-causes.ts'
import { connected, type ServiceGraph } from './service-graph.ts'
import { beganTogether, isSilence } from './silence.ts'
import { isSilenceOnly } from './telemetry-gap.ts'

/** What of an anomaly a member keeps. */
export function memberOf(anomaly: Anomaly): IncidentMember {
  return {
    anomalyId: anomaly.id,
    entity: anomaly.entity,
    service: anomaly.service,
    metric: anomaly.metric,
    attributes: anomaly.attributes,
    detector: anomaly.detector,
    direction: anomaly.direction,
    severity: anomaly.severity,
    score: anomaly.score,
    observed: anomaly.observed,
    expected: anomaly.expected,
    sinceMs: anomaly.sinceMs,
    detectedAtMs: anomaly.detectedAtMs,
    closedAtMs: anomaly.status === 'close' ? anomaly.observedAtMs : null,
    reason: anomaly.reason
  }
}

/**
 * Open incidents of the anomaly's environment that it fits, oldest first.
 * @param groupWindowMs how far from a connected member's time it may lie; a member that is still open has no end
 */
export function incidentsFor(anomaly: Anomaly, open: Iterable<Incident>, graph: ServiceGraph, groupWindowMs: number): Incident[] {
  const node = memberNode(anomaly, graph)
  const nearness = new Map<string, boolean>()
  const isNear = (other: string) => {
    let near = nearness.get(other)
    if (near === undefined) {
      near = connected(graph, node, other)
      nearness.set(other, near)
    }
    return near
  }
  const fits = (member: IncidentMember) =>
    anomaly.sinceMs >= member.sinceMs - groupWindowMs &&
    (member.closedAtMs === null || anomaly.sinceMs <= member.closedAtMs + groupWindowMs) &&
    (member.entity === anomaly.entity || isNear(memberNode(member, graph)))
  const fellSilentWith = ({ members }: Incident) =>
    isSilence(anomaly) && isSilenceOnly(members) && members.some(member => member.closedAtMs === null && isSilence(member) && beganTogether(anomaly, member))
  return [...open]
    .filter(incident => incident.environment === anomaly.environment && (incident.members.some(fits) || fellSilentWith(incident)))
    .sort((a, b) => a.openedAtMs - b.openedAtMs || (a.id < b.id ? -1 : 1))
}
