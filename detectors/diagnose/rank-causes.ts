// Ranks who is guilty of an incident, from its members and the service graph. Deterministic; text only restates evidence.
//
// Order of the argument: who is in trouble or accused by a caller → an accused callee that shows no trouble of its own in
// time clears itself, and the accusation falls back on the caller → a service with a troubled service below it is an
// effect → what only lost traffic is an effect → of the rest, kind of trouble, severity, and who was first.

import { entityService } from '../../schemas/entity.ts'
import type { Cause, IncidentMember } from '../../schemas/incident.ts'
import { callersOf, hopsDown, isInstrumented, nodeOf, PATH_HOPS_MAX, type ServiceGraph } from './service-graph.ts'
import { readSignal, type SignalKind } from './signal-kind.ts'
import { aloneFromMs } from './silence.ts'

/** Causes kept: people read three, guards read one. */
export const CAUSES_MAX = 5
/** Onsets are known to a window or two of derived rates (10 s each by default); closer ones have no order. */
export const ONSET_TOLERANCE_MS = 20_000
/** An accused callee with server spans that shows neither trouble nor silence for this long is fine. Longer than absence detection takes by default (30 s). */
export const CLEAR_AFTER_MS = 60_000

/** How strongly a kind of own trouble points at its entity, 0..1; the kind listed first names what shows several. Ours; the figures only separate. */
const STRENGTH: Readonly<Record<SignalKind, number>> = {
  canary: 0.95, // A controlled comparison is the only evidence here that is more than coincidence.
  silent: 0.8,
  crash_loop: 0.8,
  errors: 0.78,
  latency: 0.74,
  saturation: 0.7,
  logs: 0.5,
  failure_predicted: 0.55,
  canary_undecided: 0.5,
  telemetry_gap: 0.5, // Never a sign of one series: telemetry-gap.ts concludes it from many.
  other: 0.4,
  traffic: 0.25
}
const KIND_ORDER = Object.keys(STRENGTH) as readonly SignalKind[]
/** Kinds of a callee's trouble that its callers feel. */
const CARRIED: readonly SignalKind[] = ['crash_loop', 'errors', 'latency', 'saturation']
const SILENT_AND_ACCUSED = 0.93 // Absence that callers feel is not a telemetry gap.
const ACCUSED_BLIND = 0.8 // The callee sends no spans: its clients are the only witnesses there will be.
const ACCUSED_ONLY = 0.6 // Its own signals may be late, or it is fine: enough to lead, not enough to be sure.
const EFFECT_FACTOR = 0.4
const TRAFFIC_EFFECT_FACTOR = 0.3
const SEVERITY_BONUS = { info: -0.1, warning: 0, critical: 0.04 } as const
const SCORE_BONUS = 0.02 // For the strongest deviation; score is −log10 of a probability, 20 is beyond any doubt.
const SCORE_FULL = 20
const FIRST_BONUS = 0.02
const EVIDENCE_MAX = 8 // Sentences a cause; more are not read.

interface Sign {
  member: IncidentMember
  kind: SignalKind
}
interface Suspect {
  node: string
  /** Signs of its own telemetry that hurt. */
  own: Sign[]
  /** Own signs that are no trouble by themselves: lost or risen traffic, improvements. */
  harmless: Sign[]
  /** What callers say of it. */
  accusations: (Sign & { caller: string })[]
  notes: string[]
}

/**
 * @param members open members and those closed lately, in any order
 * @param nowMs   for clearing: how long an accused callee had to show trouble
 * @param instancesOf entities known to belong to a node: the only one is what to act on when just its callers speak of it
 * @returns best first, at most CAUSES_MAX; empty only without members. O(members · edges within PATH_HOPS_MAX)
 */
export function rankCauses(
  members: readonly IncidentMember[],
  graph: ServiceGraph,
  nowMs: number,
  instancesOf: (node: string) => readonly string[] = () => []
): Cause[] {
  const suspects = suspectsOf(members, graph)
  for (const suspect of suspects.values()) focus(suspect)
  // First judge all, then move: what is cleared must not change the judgement of the next.
  for (const clear of [...suspects.values()].map(suspect => clearance(suspect, suspects, graph, nowMs))) clear?.()
  const firstMs = Math.min(...[...suspects.values()].filter(isTroubled).map(onsetMs))
  const causes = [...suspects.values()]
    .filter(suspect => suspect.own.length + suspect.harmless.length + suspect.accusations.length > 0)
    .flatMap(suspect => causesOf(suspect, suspects, graph, firstMs, instancesOf))
  return causes.sort((a, b) => b.score - a.score || (a.entity < b.entity ? -1 : 1)).slice(0, CAUSES_MAX)
}

function suspectsOf(members: readonly IncidentMember[], graph: ServiceGraph): Map<string, Suspect> {
  const suspects = new Map<string, Suspect>()
  const suspectOf = (node: string) => {
    const known = suspects.get(node)
    if (known !== undefined) return known
    const made: Suspect = { node, own: [], harmless: [], accusations: [], notes: [] }
    suspects.set(node, made)
    return made
  }
  // A fixed order makes the ranking independent of the order of arrival.
  for (const member of members.toSorted((a, b) => a.sinceMs - b.sinceMs || (a.anomalyId < b.anomalyId ? -1 : 1))) {
    const { kind, peer, hurts } = readSignal(member)
    const node = memberNode(member, graph)
    if (peer === null) suspectOf(node)[hurts ? 'own' : 'harmless'].push({ member, kind })
    else if (hurts) suspectOf(nodeOf(graph, peer)).accusations.push({ member, kind, caller: node })
    else suspectOf(node).harmless.push({ member, kind })
  }
  return suspects
}

/** What closed is remembered only as long as nothing of the suspect is open: it tells who it was, not how it is. */
function focus(suspect: Suspect): void {
  if (!isOpen(suspect)) return
  suspect.own = suspect.own.filter(sign => sign.member.closedAtMs === null)
  suspect.accusations = suspect.accusations.filter(sign => sign.member.closedAtMs === null)
}

function isOpen(suspect: Suspect): boolean {
  return [...suspect.own, ...suspect.accusations].some(sign => sign.member.closedAtMs === null)
}

/** The graph node that a member's entity belongs to. */
export function memberNode(member: Pick<IncidentMember, 'entity'>, graph: ServiceGraph): string {
  return nodeOf(graph, entityService(member.entity))
}

/** How to clear an accused callee that is fine: the accusation becomes trouble of the caller. Undefined when it is not fine. */
function clearance(suspect: Suspect, suspects: Map<string, Suspect>, graph: ServiceGraph, nowMs: number): (() => void) | undefined {
  if (suspect.accusations.length === 0 || suspect.own.length > 0) return undefined
  // Its spans stopped too: it may hang. Only one that goes on working can be fine.
  if (suspect.harmless.some(sign => sign.kind === 'traffic' && sign.member.direction !== 'above')) return undefined
  const sinceMs = Math.min(...suspect.accusations.map(sign => sign.member.sinceMs))
  const hadTime = nowMs - sinceMs >= CLEAR_AFTER_MS && isInstrumented(graph, suspect.node)
  const [only, ...others] = new Set(suspect.accusations.map(sign => sign.caller))
  const loneAccuser = others.length === 0 && accusesOthers(only!, suspect.node, suspects) && callersOf(graph, suspect.node).size > 1
  if (!hadTime && !loneAccuser) return undefined
  const why = hadTime
    ? `${suspect.node} shows no trouble of its own ${seconds(nowMs - sinceMs)} after callers complained`
    : `only ${only} complains of ${suspect.node}, and of other callees too`
  return () => {
    for (const { member, kind, caller: node } of suspect.accusations) {
      const caller = suspects.get(node) ?? { node, own: [], harmless: [], accusations: [], notes: [] }
      suspects.set(node, caller)
      caller.own.push({ member, kind })
      if (!caller.notes.includes(why)) caller.notes.push(why)
    }
    suspect.accusations = []
  }
}

function accusesOthers(caller: string, accused: string, suspects: ReadonlyMap<string, Suspect>): boolean {
  return [...suspects.values()].some(other => other.node !== accused && other.own.length === 0 && other.accusations.some(sign => sign.caller === caller))
}

function causesOf(
  suspect: Suspect,
  suspects: ReadonlyMap<string, Suspect>,
  graph: ServiceGraph,
  firstMs: number,
  instancesOf: (node: string) => readonly string[]
): Cause[] {
  const signature = signatureOf(suspect)
  // What calls a troubled callee suffers in both arms: a canary that is worse than its baseline is worse by itself.
  const culprit = isTroubled(suspect) && signature !== 'canary' ? troubledBelow(suspect, suspects, graph) : undefined
  const starved = isTroubled(suspect) ? undefined : troubledAbove(suspect, suspects, graph)
  const first = isTroubled(suspect) && onsetMs(suspect) <= firstMs + ONSET_TOLERANCE_MS
  const evidence = [...evidenceOf(suspect), ...suspect.notes]
  if (culprit !== undefined) evidence.push(`an effect: it calls ${culprit}, which is in trouble itself`)
  else if (starved !== undefined) evidence.push(`an effect: its caller ${starved} is in trouble, so less work arrives`)
  else if (suspects.size > 1 && isTroubled(suspect)) evidence.push('nothing that it calls is in trouble')
  if (first && suspects.size > 1) evidence.push('among the first to deviate')
  const factor = culprit !== undefined ? EFFECT_FACTOR : starved !== undefined ? TRAFFIC_EFFECT_FACTOR : 1
  const mayBeOneOfMany = suspect.accusations.length === 0 && suspect.own.length > 0 && suspect.own.every(({ kind }) => kind === 'silent')
  const score = clamp((baseScore(suspect, graph) + bonus(suspect) + (first ? FIRST_BONUS : 0)) * factor)
  return entitiesOf(suspect, signature, instancesOf).map((entity, index) => ({
    entity,
    service: serviceName(entity),
    // Instances of one service that show the same: named one by one, the strongest first.
    score: round(clamp(score - index * 0.01)),
    signature,
    open: isOpen(suspect),
    ...(mayBeOneOfMany ? { waitUntilMs: Math.max(...suspect.own.map(({ member }) => aloneFromMs(member))) } : {}),
    evidence: evidence.slice(0, EVIDENCE_MAX)
  }))
}

/** The service's own name, as its telemetry says it: `shop/orders@orders-1` → `orders`. */
export function serviceName(entity: string): string {
  const service = entityService(entity)
  return service.slice(service.indexOf('/') + 1)
}

function isTroubled(suspect: Suspect): boolean {
  return suspect.own.length > 0 || suspect.accusations.length > 0
}

function baseScore(suspect: Suspect, graph: ServiceGraph): number {
  const own = Math.max(0, ...suspect.own.map(sign => STRENGTH[sign.kind]))
  const silent = suspect.own.some(sign => sign.kind === 'silent')
  if (suspect.accusations.length > 0) {
    if (silent) return SILENT_AND_ACCUSED
    const accused = suspect.own.length > 0 || !isInstrumented(graph, suspect.node) ? ACCUSED_BLIND : ACCUSED_ONLY
    return Math.max(own, accused) + (own > 0 ? 0.05 : 0)
  }
  return own > 0 ? own : STRENGTH.traffic
}

function bonus(suspect: Suspect): number {
  const signs = [...suspect.own, ...suspect.accusations]
  if (signs.length === 0) return 0
  const severity = Math.max(...signs.map(sign => SEVERITY_BONUS[sign.member.severity]))
  return severity + SCORE_BONUS * Math.min(1, Math.max(...signs.map(sign => sign.member.score)) / SCORE_FULL)
}

/** The troubled service below this one that explains it: nearest first, then the earliest. A cycle explains nothing. */
function troubledBelow(suspect: Suspect, suspects: ReadonlyMap<string, Suspect>, graph: ServiceGraph): string | undefined {
  let best: { node: string; hops: number; atMs: number } | undefined
  for (const other of suspects.values()) {
    if (other === suspect || !isTroubled(other) || !explains(other, suspect)) continue
    const hops = hopsDown(graph, suspect.node, other.node, PATH_HOPS_MAX)
    if (hops === undefined || hopsDown(graph, other.node, suspect.node, PATH_HOPS_MAX) !== undefined) continue
    const atMs = onsetMs(other)
    if (best === undefined || hops < best.hops || (hops === best.hops && atMs < best.atMs)) best = { node: other.node, hops, atMs }
  }
  return best?.node
}

/** Trouble of a callee explains its caller's, unless it began clearly later and nobody complains of the callee. */
function explains(callee: Suspect, caller: Suspect): boolean {
  if (callee.accusations.length > 0 || callee.own.some(sign => sign.kind === 'silent')) return true
  const strong = callee.own.filter(sign => CARRIED.includes(sign.kind))
  return strong.some(sign => sign.member.sinceMs <= onsetMs(caller) + ONSET_TOLERANCE_MS)
}

function troubledAbove(suspect: Suspect, suspects: ReadonlyMap<string, Suspect>, graph: ServiceGraph): string | undefined {
  for (const other of suspects.values()) {
    if (other !== suspect && isTroubled(other) && (hopsDown(graph, other.node, suspect.node, PATH_HOPS_MAX) ?? 0) > 0) return other.node
  }
  return undefined
}

function onsetMs(suspect: Suspect): number {
  return Math.min(...[...suspect.own, ...suspect.accusations].map(sign => sign.member.sinceMs))
}

function signatureOf(suspect: Suspect): SignalKind {
  const own = suspect.own.map(sign => sign.kind)
  // What keeps dying is silent between two starts, too.
  for (const kind of ['canary', 'crash_loop', 'silent'] as const) if (own.includes(kind)) return kind
  const saturation = suspect.own.find(sign => sign.kind === 'saturation')
  const rest = [...suspect.own, ...suspect.accusations].filter(sign => sign.kind !== 'saturation')
  // Memory that grew long before the errors came is what broke it; memory that grew with them is an effect.
  if (saturation !== undefined && rest.every(sign => saturation.member.sinceMs + ONSET_TOLERANCE_MS < sign.member.sinceMs)) return 'saturation'
  for (const kind of KIND_ORDER) if (own.includes(kind)) return kind
  const strongest = suspect.accusations.toSorted((a, b) => b.member.score - a.member.score)[0]
  if (strongest !== undefined) return strongest.kind
  return suspect.harmless[0]?.kind ?? 'other'
}

/** What a runbook would act on: troubled instances of the service, else the service as its callers know it. */
function entitiesOf(suspect: Suspect, signature: SignalKind, instancesOf: (node: string) => readonly string[]): string[] {
  const signs = suspect.own.length > 0 ? suspect.own : suspect.harmless
  const instances = (of: Sign[]) => of.filter(sign => sign.member.entity.includes('@'))
  const telling = instances(signs.filter(sign => sign.kind === signature))
  const chosen = telling.length > 0 ? telling : instances(signs).length > 0 ? instances(signs) : instances(suspect.harmless)
  const strongest = chosen.toSorted((a, b) => b.member.score - a.member.score || (a.member.entity < b.member.entity ? -1 : 1))
  if (strongest.length > 0) return [...new Set(strongest.map(sign => sign.member.entity))]
  const known = instancesOf(suspect.node)
  if (known.length === 1) return [known[0]!]
  return [signs[0]?.member.entity ?? suspect.accusations[0]?.member.attributes.peer ?? suspect.node]
}

function evidenceOf(suspect: Suspect): string[] {
  const silent = suspect.own.filter(sign => sign.kind === 'silent')
  const sentences: string[] = []
  if (silent.length > 0) sentences.push(`${suspect.node} sends no telemetry since ${iso(Math.min(...silent.map(sign => sign.member.sinceMs)))}`)
  for (const kind of KIND_ORDER) {
    const told = suspect.accusations.filter(sign => sign.kind === kind)
    for (const caller of new Set(told.map(sign => sign.caller)))
      sentences.push(`${caller} sees ${kind} from ${suspect.node}: ${strongestReason(told.filter(sign => sign.caller === caller))}`)
    const own = suspect.own.filter(sign => sign.kind === kind && kind !== 'silent')
    if (own.length > 0) sentences.push(`${kind} of its own: ${strongestReason(own)}`)
  }
  if (sentences.length === 0 && suspect.harmless.length > 0) sentences.push(`its traffic changed: ${strongestReason(suspect.harmless)}`)
  return sentences
}

function strongestReason(signs: readonly Sign[]): string {
  const { member } = signs.toSorted((a, b) => b.member.score - a.member.score)[0]!
  return member.reason === '' ? `${member.metric} ${member.direction} what is expected since ${iso(member.sinceMs)}` : member.reason
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString()
}
function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`
}
function clamp(score: number): number {
  return Math.min(1, Math.max(0, score))
}
function round(score: number): number {
  return Math.round(score * 1_000) / 1_000
}
