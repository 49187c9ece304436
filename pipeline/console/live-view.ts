// What the console shows of the loop now: incidents with their anomalies, decisions and outcomes, kept from the topics.
//
// Reads the control topics without a group (every console sees everything), from the last records kept. A view only:
// after a crash it is read again. Bounded: the newest INCIDENTS_MAX incidents, ANOMALIES_MAX anomalies.

import { type Anomaly, anomalyRecord } from '../../schemas/anomaly.ts'
import { type Canary, canaryRecord } from '../../schemas/canary.ts'
import { type Control, controlRecord } from '../../schemas/control.ts'
import { type Decision, decisionRecord } from '../../schemas/decision.ts'
import { decodeRecord, type RecordType } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import { type Incident, incidentRecord } from '../../schemas/incident.ts'
import { type Model, modelRecord } from '../../schemas/model.ts'
import { type Outcome, outcomeRecord } from '../../schemas/outcome.ts'
import type { Clock, Log, Logger } from '../../schemas/ports.ts'
import { type Edge, edgeRecord } from '../../schemas/topology.ts'
import { TOPICS } from '../../schemas/topics.ts'

/** More incidents than a person reads on one page. */
export const INCIDENTS_MAX = 500
const ANOMALIES_MAX = 5_000
const DECISIONS_PER_INCIDENT_MAX = 100
const OUTCOMES_PER_INCIDENT_MAX = 100
/** Edges, models and control records are few by nature; the limits only bound a mistake. */
const KEYED_MAX = 5_000
const READ_RECORDS_MAX = 500
const POLL_MS = 100
const PAUSE_AFTER_ERROR_MS = 1_000

export type LiveEvent =
  | { kind: 'incident'; record: Incident }
  | { kind: 'anomaly'; record: Anomaly }
  | { kind: 'decision'; record: Decision }
  | { kind: 'outcome'; record: Outcome }
  | { kind: 'model'; record: Model }
  | { kind: 'control'; record: Control }
  | { kind: 'edge'; record: Edge }
  | { kind: 'canary'; record: Canary }

export interface IncidentStory {
  incident: Incident
  anomalies: Anomaly[]
  decisions: Decision[]
  outcomes: Outcome[]
}

export interface LiveView {
  /** Newest first. */
  incidents(limit: number): Incident[]
  story(incidentId: string): IncidentStory | undefined
  anomalies(limit: number): Anomaly[]
  decision(decisionId: string): Decision | undefined
  /** Of every incident that is kept. */
  decisions(): Decision[]
  outcomes(): Outcome[]
  edges(): Edge[]
  models(): Model[]
  controls(): Control[]
  /** Newest first. */
  canaries(): Canary[]
  /** Every record from now on. @returns a function that ends it */
  listen(listener: (event: LiveEvent) => void): () => void
  close(): Promise<void>
}

/** Opens the view; it has read what the topics hold when this resolves. */
export async function openLiveView(options: { log: Log; clock: Clock; logger: Logger }): Promise<LiveView> {
  const { log, clock, logger } = options
  const incidents = new Map<string, Incident>()
  const anomalies = new Map<string, Anomaly>()
  const decisions = new Map<string, Map<string, Decision>>()
  const outcomes = new Map<string, Map<string, Outcome>>()
  const edges = new Map<string, Edge>()
  const models = new Map<string, Model>()
  const controls = new Map<string, Control>()
  const canaries = new Map<string, Canary>()
  const listeners = new Set<(event: LiveEvent) => void>()
  const stop = new AbortController()

  const take: { [Kind in LiveEvent['kind']]: (record: Extract<LiveEvent, { kind: Kind }>['record']) => void } = {
    incident: record =>
      keep(incidents, record.id, record, INCIDENTS_MAX, dropped => {
        decisions.delete(dropped)
        outcomes.delete(dropped)
      }),
    anomaly: record => keep(anomalies, record.id, record, ANOMALIES_MAX),
    decision: record => keep(bucket(decisions, record.incidentId), record.id, record, DECISIONS_PER_INCIDENT_MAX),
    outcome: record => keep(bucket(outcomes, record.incidentId), record.id, record, OUTCOMES_PER_INCIDENT_MAX),
    edge: record => keep(edges, edgeRecord.key(record), record, KEYED_MAX),
    model: record => keep(models, record.name, record, KEYED_MAX),
    control: record => keep(controls, controlRecord.key(record), record, KEYED_MAX),
    canary: record => keep(canaries, record.id, record, KEYED_MAX)
  }

  const tails = [
    tail(TOPICS.incidents.name, incidentRecord, 'incident'),
    tail(TOPICS.anomalies.name, anomalyRecord, 'anomaly'),
    tail(TOPICS.decisions.name, decisionRecord, 'decision'),
    tail(TOPICS.outcomes.name, outcomeRecord, 'outcome'),
    tail(TOPICS.topology.name, edgeRecord, 'edge'),
    tail(TOPICS.models.name, modelRecord, 'model'),
    tail(TOPICS.control.name, controlRecord, 'control'),
    tail(TOPICS.canaries.name, canaryRecord, 'canary')
  ]
  await Promise.all(tails.map(({ caughtUp }) => caughtUp))

  /** Follows every partition of a topic; `caughtUp` resolves once what was there at the start has been taken. */
  function tail<Kind extends LiveEvent['kind']>(topic: string, type: RecordType<Extract<LiveEvent, { kind: Kind }>['record']>, kind: Kind) {
    const { promise: caughtUp, resolve } = Promise.withResolvers<void>()
    const finished = follow()
    return { caughtUp, finished }

    async function follow(): Promise<void> {
      let positions: number[] | undefined
      while (!stop.signal.aborted) {
        try {
          positions ??= await startOffsets(log, topic)
          let read = 0
          for (const [partition, offset] of positions.entries()) {
            const records = await log.read({ topic, partition, offset }, READ_RECORDS_MAX)
            for (const record of records) {
              const decoded = decodeRecord(type, record)
              if (!decoded.ok) continue // The role that owns the topic dead-letters it; the view only shows.
              take[kind](decoded.record as never)
              for (const listener of listeners) listener({ kind, record: decoded.record } as LiveEvent)
            }
            read += records.length
            if (records.length > 0) positions[partition] = records.at(-1)!.offset + 1
          }
          if (read > 0) continue
          resolve()
          await clock.sleep(POLL_MS, stop.signal)
        } catch (cause) {
          logger.warn({ topic, error: cause, retriable: cause instanceof AppError && cause.retriable }, 'console cannot read a topic, will try again')
          await clock.sleep(PAUSE_AFTER_ERROR_MS, stop.signal)
        }
      }
      resolve()
    }
  }

  return {
    incidents: limit => [...incidents.values()].sort((a, b) => b.openedAtMs - a.openedAtMs).slice(0, limit),
    story(incidentId) {
      const incident = incidents.get(incidentId)
      if (!incident) return undefined
      return {
        incident,
        anomalies: incident.members.flatMap(member => anomalies.get(member.anomalyId) ?? []),
        decisions: [...(decisions.get(incidentId)?.values() ?? [])],
        outcomes: [...(outcomes.get(incidentId)?.values() ?? [])]
      }
    },
    anomalies: limit => [...anomalies.values()].slice(-limit).reverse(),
    decision(decisionId) {
      for (const ofIncident of decisions.values()) if (ofIncident.has(decisionId)) return ofIncident.get(decisionId)
      return undefined
    },
    decisions: () => [...decisions.values()].flatMap(ofIncident => [...ofIncident.values()]),
    outcomes: () => [...outcomes.values()].flatMap(ofIncident => [...ofIncident.values()]),
    edges: () => [...edges.values()],
    models: () => [...models.values()],
    controls: () => [...controls.values()],
    canaries: () => [...canaries.values()].sort((a, b) => b.startedAtMs - a.startedAtMs),
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      stop.abort()
      listeners.clear()
      await Promise.all(tails.map(({ finished }) => finished))
    }
  }
}

async function startOffsets(log: Log, topic: string): Promise<number[]> {
  const starts: number[] = []
  for (const { partition, start } of await log.offsets(topic)) starts[partition] = start
  return starts
}

/** Sets and keeps insertion order by first sight; beyond `max` the oldest goes. */
function keep<T>(map: Map<string, T>, key: string, value: T, max: number, onDrop?: (key: string) => void): void {
  map.set(key, value)
  if (map.size <= max) return
  const oldest = map.keys().next().value!
  map.delete(oldest)
  onDrop?.(oldest)
}

function bucket<T>(map: Map<string, Map<string, T>>, key: string): Map<string, T> {
  const known = map.get(key)
  if (known) return known
  const fresh = new Map<string, T>()
  // A decision may come before its incident was read: bounded like the incidents.
  keep(map, key, fresh, INCIDENTS_MAX * 2)
  return fresh
}
