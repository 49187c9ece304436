// The diagnose worker: anomalies, topology, decisions and outcomes in, incidents out. Runs in the control role: one
// instance owns the state, others stand by.
//
// State and input positions are one checkpoint, so a restart goes on where it was. Without a readable checkpoint the open
// incidents come back from the compacted incidents topic (each record is the whole state), their commands that still run from decisions
// and outcomes, and the graph from topology; lost are only which members were not listed, and replayed anomalies repeat known ids.

import { anomalyRecord } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import { decisionRecord, decisionSchema } from '../../schemas/decision.ts'
import { decodeRecord, encodeRecord } from '../../schemas/envelope.ts'
import { incidentRecord } from '../../schemas/incident.ts'
import { outcomeRecord, outcomeSchema } from '../../schemas/outcome.ts'
import type { Log, LogRecord } from '../../schemas/ports.ts'
import { readWholeTopic } from '../../schemas/read-whole-topic.ts'
import { type DecodedEvent, type RunningWorker, type StatefulPorts, statefulWorker } from '../../schemas/stateful-worker.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { edgeRecord, instanceRecord } from '../../schemas/topology.ts'
import { type DiagnoseEffect, type DiagnoseEvent, diagnose } from './diagnose.ts'
import { noteInstanceNews } from './replacements.ts'
import { addEdge } from './service-graph.ts'
import { adopt, begin, type DiagnoseState, emptyState, graphOf, restore, retire, snapshot, tracked } from './state.ts'

const VERSION = 6
const TICK_MS = 1_000 // Lifecycle delays are tens of seconds; fast settings are seconds.

/** Of a decision only what is asked here: every guard with its inputs is the most of it. */
const decidedRecord = {
  type: decisionRecord.type,
  schema: decisionSchema.pick({ incidentId: true, outcome: true, commandId: true, outcomeByMs: true, attempt: true, decidedAtMs: true })
}
/** Of an outcome the same: its evidence is the most of it. */
const endedRecord = {
  type: outcomeRecord.type,
  schema: outcomeSchema.pick({
    ...{ incidentId: true, commandId: true, attempt: true, target: true, verdict: true, healedAtMs: true, recordedAtMs: true }
  })
}

export interface DiagnoseWorkerOptions extends StatefulPorts {
  /** groupWindow and resolveAfter, ms. */
  config: Config['diagnose']
}

/** Incidents of all environments. */
export function diagnoseWorker({ config, ...ports }: DiagnoseWorkerOptions): RunningWorker {
  const { log, clock, meter } = ports
  return statefulWorker<DiagnoseState, DiagnoseEvent, DiagnoseEffect>({
    name: 'diagnose',
    group: 'homeostat-diagnose',
    topics: [TOPICS.anomalies.name, TOPICS.topology.name, TOPICS.decisions.name, TOPICS.outcomes.name],
    version: VERSION,
    tickMs: TICK_MS,
    ...ports,
    restore,
    rebuild: async () => ({ state: await rebuild(log, clock.nowMs()), positions: [] }), // No anomaly may be lost: all are read.
    snapshot,
    decode,
    tick: { kind: 'tick' },
    reduce(state, event, nowMs) {
      const effects = diagnose(state, event, nowMs, config)
      for (const effect of effects) if (effect.kind === 'ignored') meter.count('homeostat.diagnose.ignored', 1, { reason: effect.reason })
      meter.gauge('homeostat.diagnose.incidents_open', state.open.size)
      return effects.filter(effect => effect.kind === 'publish')
    },
    coalesce: latestRecords,
    async deliver(effects) {
      const records = effects.flatMap(effect => (effect.kind === 'publish' ? [encodeRecord(incidentRecord, effect.record)] : []))
      if (records.length > 0) await log.append(TOPICS.incidents.name, records)
    }
  })
}

/** Of each incident the last record: it holds the whole state, and a storm would write thousands. */
function latestRecords(effects: readonly DiagnoseEffect[]): DiagnoseEffect[] {
  const last = new Map<string, DiagnoseEffect>()
  for (const effect of effects) {
    if (effect.kind !== 'publish') continue
    last.delete(effect.record.id) // Set again at the end: order of the last change.
    last.set(effect.record.id, effect)
  }
  return [...last.values()]
}

function decode(record: LogRecord): DecodedEvent<DiagnoseEvent> {
  switch (record.topic) {
    case TOPICS.anomalies.name:
      return event('anomaly', decodeRecord(anomalyRecord, record))
    case TOPICS.topology.name:
      return record.headers.ce_type === instanceRecord.type
        ? event('instance', decodeRecord(instanceRecord, record))
        : event('edge', decodeRecord(edgeRecord, record))
    case TOPICS.decisions.name:
      return event('decision', decodeRecord(decidedRecord, record))
    default:
      return event('outcome', decodeRecord(endedRecord, record))
  }
}

function event(kind: DiagnoseEvent['kind'], decoded: { ok: true; record: unknown } | { ok: false; reason: string }): DecodedEvent<DiagnoseEvent> {
  return decoded.ok ? { ok: true, event: { kind, record: decoded.record } as DiagnoseEvent } : decoded
}

async function rebuild(log: Log, nowMs: number): Promise<DiagnoseState> {
  const state = emptyState()
  await readWholeTopic(log, TOPICS.topology.name, record => {
    const edge = decodeRecord(edgeRecord, record)
    if (edge.ok) addEdge(graphOf(state, edge.record.environment), edge.record)
    const instance = decodeRecord(instanceRecord, record)
    if (instance.ok) noteInstanceNews(state.births, instance.record)
  })
  await readWholeTopic(log, TOPICS.incidents.name, record => {
    const decoded = decodeRecord(incidentRecord, record)
    if (!decoded.ok) return
    const incident = decoded.record
    const known = state.open.get(incident.id)
    if (known !== undefined && known.incident.version >= incident.version) return
    const healed =
      incident.healedAtMs === null
        ? null
        : { recordedAtMs: incident.updatedAtMs, healedAtMs: incident.healedAtMs, target: incident.causes[0]?.entity ?? '', attempt: incident.attempts }
    adopt(state, { ...tracked(incident), healed, actedAtMs: incident.attempts > 0 ? incident.updatedAtMs : null })
    if (incident.status === 'resolved') retire(state, incident.id, nowMs)
  })
  // The group gives again what it had not settled, so an outcome is no news yet: only that its command need not be awaited.
  const ended = new Set<string>()
  await readWholeTopic(log, TOPICS.outcomes.name, record => {
    const decoded = decodeRecord(endedRecord, record)
    if (decoded.ok && state.open.has(decoded.record.incidentId)) ended.add(decoded.record.commandId)
  })
  await readWholeTopic(log, TOPICS.decisions.name, record => {
    const decoded = decodeRecord(decidedRecord, record)
    if (!decoded.ok) return
    const { incidentId, commandId, outcomeByMs } = decoded.record
    const entry = state.open.get(incidentId)
    // One of an earlier release does not say for how long.
    if (entry !== undefined && commandId !== null && outcomeByMs !== undefined && !ended.has(commandId)) begin(entry, commandId, outcomeByMs)
  })
  return state
}
