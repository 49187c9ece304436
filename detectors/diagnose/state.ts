// What diagnose remembers: service graphs, open incidents with their side notes, and what was resolved lately.
//
// Owned by one reducer, which changes it in place; saved whole with its input positions (JSON of `snapshot`), and rebuilt
// from the compacted incidents and topology topics when there is no checkpoint.

import type { Incident } from '../../schemas/incident.ts'
import type { Edge } from '../../schemas/topology.ts'
import type { Birth, Births } from './replacements.ts'
import { type ServiceGraph, serviceGraph } from './service-graph.ts'

export interface Tracked {
  incident: Incident
  /** Members that are not listed: anomaly id → still open. */
  omitted: Map<string, boolean>
  /** Commands that run for it: several where instances are acted on side by side. `outcomeByMs`: awaited until then; null: for ever. */
  running: { commandId: string; outcomeByMs: number | null }[]
  /** When the last command was decided. */
  actedAtMs: number | null
  /** Commands whose outcome is known; a decision may be read after its outcome, they travel on two topics. */
  settledCommandIds: string[]
  /** What its commands healed, taken together; null: nothing, or it did not last. */
  healed: Heal | null
  /** The last attempt whose verdict is another; 0: none. */
  unhealedAttempt: number
  /** Since when no member holds it open, on the watch (`DiagnoseState.watch`). */
  quietSinceMs: number | null
  /** Absences that the detector gave up while the telemetry of many was missing: they end when others are back and these are not. */
  givenUp: string[]
}

/** `healed` verdicts: their latest times, and whom the latest attempt was for. */
export interface Heal {
  recordedAtMs: number
  healedAtMs: number
  target: string
  attempt: number
}

export interface DiagnoseState {
  graphs: Map<string, ServiceGraph>
  open: Map<string, Tracked>
  /** Incident id → anomalies of it, so that replays and stragglers of a closed matter open no new one. */
  resolved: Map<string, { resolvedAtMs: number; anomalyIds: string[] }>
  /** Environment → entities with an instance that anomalies ever named, the latest last. */
  instances: Map<string, Set<string>>
  births: Births
  watch: Watch
  /** Anomaly id → incident, over open and lately resolved ones. Derived. */
  owners: Map<string, string>
}

/** Time during which somebody looked. */
export interface Watch {
  /** Runs while events and ticks come, whatever the wall clock is set to; ms since an arbitrary origin. */
  watchedMs: number
  /** The wall clock at the last event; null: none yet. */
  wallMs: number | null
}

/** Incidents kept after they were resolved, and for how long: a straggling `close` comes within minutes. */
export const RESOLVED_MAX = 500
export const RESOLVED_KEEP_MS = 30 * 60_000
const INSTANCES_MAX = 5_000 // An environment; the one named longest ago makes room.
const COMMANDS_MAX = 256 // Of one incident, running and settled; a rollout goes through 200 members at most.

/** Nothing known yet. */
export function emptyState(): DiagnoseState {
  return {
    graphs: new Map(),
    open: new Map(),
    resolved: new Map(),
    instances: new Map(),
    births: new Map(),
    watch: { watchedMs: 0, wallMs: null },
    owners: new Map()
  }
}

/** Side notes of an incident at its start. */
export function tracked(incident: Incident): Tracked {
  return {
    ...{ incident, omitted: new Map(), quietSinceMs: null, givenUp: [] },
    ...{ running: [], actedAtMs: null, settledCommandIds: [], healed: null, unhealedAttempt: 0 }
  }
}

/** The graph of an environment, made when it is not there. */
export function graphOf(state: DiagnoseState, environment: string): ServiceGraph {
  let graph = state.graphs.get(environment)
  if (graph === undefined) {
    graph = serviceGraph()
    state.graphs.set(environment, graph)
  }
  return graph
}

/** Remembers that an entity exists, so that a service known only from its callers can be named by its instance. */
export function noteInstance(state: DiagnoseState, environment: string, entity: string): void {
  if (entity.indexOf('@') <= 0) return
  const known = state.instances.get(environment) ?? new Set<string>()
  state.instances.set(environment, known)
  known.delete(entity)
  known.add(entity)
  if (known.size > INSTANCES_MAX) known.delete(known.values().next().value!)
}

/**
 * Moves the watch on. A stretch in which nobody looked, and a step of the wall clock, count as `gapMsMax` at most: what was not
 * watched was not seen to be quiet. A step back counts nothing.
 */
export function moveWatch(watch: Watch, nowMs: number, gapMsMax: number): void {
  if (watch.wallMs !== null) watch.watchedMs += Math.max(0, Math.min(nowMs - watch.wallMs, gapMsMax))
  watch.wallMs = nowMs
}

/** Moves an incident from open to resolved and forgets the oldest resolved ones. */
export function retire(state: DiagnoseState, id: string, nowMs: number): void {
  const entry = state.open.get(id)
  if (entry === undefined) return
  state.open.delete(id)
  state.resolved.set(id, { resolvedAtMs: nowMs, anomalyIds: [...entry.incident.members.map(member => member.anomalyId), ...entry.omitted.keys()] })
  for (const [oldId, old] of state.resolved) {
    if (state.resolved.size <= RESOLVED_MAX && nowMs - old.resolvedAtMs < RESOLVED_KEEP_MS) break
    state.resolved.delete(oldId)
    for (const anomalyId of old.anomalyIds) if (state.owners.get(anomalyId) === oldId) state.owners.delete(anomalyId)
  }
}

/** Notes that a command's outcome is known. */
export function settle(entry: Tracked, commandId: string): void {
  entry.running = entry.running.filter(one => one.commandId !== commandId)
  if (!entry.settledCommandIds.includes(commandId)) entry.settledCommandIds.push(commandId)
  if (entry.settledCommandIds.length > COMMANDS_MAX) entry.settledCommandIds.shift()
}

/** Notes that a command runs. @returns false when it is over already */
export function begin(entry: Tracked, commandId: string, outcomeByMs: number | null): boolean {
  if (entry.settledCommandIds.includes(commandId)) return false
  if (!entry.running.some(one => one.commandId === commandId)) entry.running.push({ commandId, outcomeByMs })
  if (entry.running.length > COMMANDS_MAX) entry.running.shift()
  return true
}

interface Snapshot {
  edges: Edge[]
  open: (Omit<Tracked, 'omitted'> & { omitted: [string, boolean][] })[]
  resolved: [string, { resolvedAtMs: number; anomalyIds: string[] }][]
  instances: [string, string[]][]
  births: [string, Birth][]
  watch: Watch
}

/** The state as JSON values. */
export function snapshot(state: DiagnoseState): Snapshot {
  return {
    edges: [...state.graphs.values()].flatMap(graph => [...graph.edges.values()]),
    open: [...state.open.values()].map(entry => ({ ...entry, omitted: [...entry.omitted] })),
    resolved: [...state.resolved],
    instances: [...state.instances].map(([environment, entities]) => [environment, [...entities]]),
    births: [...state.births],
    watch: state.watch
  }
}

/** The state that `snapshot` described. */
export function restore(saved: unknown): DiagnoseState {
  const { edges, open, resolved, instances, births, watch } = saved as Snapshot
  const state = emptyState()
  const byEnvironment = Map.groupBy(edges, edge => edge.environment)
  for (const [environment, list] of byEnvironment) state.graphs.set(environment, serviceGraph(list))
  for (const entry of open) adopt(state, { ...entry, omitted: new Map(entry.omitted) })
  for (const [id, entry] of resolved) {
    state.resolved.set(id, entry)
    for (const anomalyId of entry.anomalyIds) state.owners.set(anomalyId, id)
  }
  for (const [environment, entities] of instances) state.instances.set(environment, new Set(entities))
  state.births = new Map(births)
  state.watch = watch
  return state
}

/** Takes an open incident in, with the ownership of its anomalies. */
export function adopt(state: DiagnoseState, entry: Tracked): void {
  state.open.set(entry.incident.id, entry)
  for (const member of entry.incident.members) state.owners.set(member.anomalyId, entry.incident.id)
  for (const anomalyId of entry.omitted.keys()) state.owners.set(anomalyId, entry.incident.id)
}
