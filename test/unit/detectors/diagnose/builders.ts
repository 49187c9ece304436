// Small builders for diagnosis: anomalies as detect raises them, the lab fleet's graph, a reducer to feed.

import { type DiagnoseEffect, type DiagnoseEvent, diagnose } from '../../../../detectors/diagnose/diagnose.ts'
import { type DiagnoseState, emptyState } from '../../../../detectors/diagnose/state.ts'
import type { Anomaly } from '../../../../schemas/anomaly.ts'
import type { Decision } from '../../../../schemas/decision.ts'
import { entityService } from '../../../../schemas/entity.ts'
import { anomalyId } from '../../../../schemas/ids.ts'
import type { Incident } from '../../../../schemas/incident.ts'
import type { Outcome } from '../../../../schemas/outcome.ts'
import type { Edge } from '../../../../schemas/topology.ts'

export const T0 = Date.UTC(2026, 0, 5, 12)
export const CONFIG = { groupWindow: 60_000, resolveAfter: 60_000 }

/** An anomaly; `atS` seconds after T0 is its onset. */
export function anAnomaly(fields: Partial<Anomaly> & { entity: string; metric: string; atS?: number }): Anomaly {
  const { atS = 0, ...rest } = fields
  const sinceMs = rest.sinceMs ?? T0 + atS * 1_000
  const detector = rest.detector ?? (rest.direction === 'absent' ? 'absence' : 'adaptive')
  const series = rest.series ?? `${rest.entity}|${rest.metric}|${JSON.stringify(rest.attributes ?? {})}`
  return {
    id: anomalyId(series, detector, sinceMs),
    status: 'open',
    detector,
    environment: 'lab',
    service: entityService(rest.entity).replace(/^.*\//, ''),
    signal: rest.metric.startsWith('homeostat.log') ? 'log' : rest.metric.startsWith('homeostat.') ? 'span' : 'metric',
    unit: '1',
    attributes: {},
    series,
    severity: 'warning',
    direction: 'above',
    observed: 5,
    expected: 1,
    lower: 0,
    upper: 2,
    score: 8,
    threshold: 5,
    samples: 500,
    sinceMs,
    observedAtMs: sinceMs,
    detectedAtMs: sinceMs + 2_000,
    shadow: false,
    reason: `${rest.metric} of ${rest.entity} is ${rest.direction ?? 'above'} what is expected`,
    ...rest
  }
}

export const closing = (anomaly: Anomaly, atS: number): Anomaly => ({ ...anomaly, status: 'close', observedAtMs: T0 + atS * 1_000 })

export const edgeSignal = (caller: string, peer: string, what: string, fields: Partial<Anomaly> & { atS?: number } = {}): Anomaly =>
  anAnomaly({ entity: caller, metric: `homeostat.edge.${what}`, ...fields, attributes: { peer, ...fields.attributes } })

export const absence = (entity: string, metric: string, fields: Partial<Anomaly> & { atS?: number } = {}): Anomaly =>
  anAnomaly({ entity, metric, direction: 'absent', observed: null, ...fields })

/** One that was missed at once: others had no time to fall silent with it, so nothing is awaited. */
export const absenceAtOnce = (entity: string, metric: string): Anomaly => {
  const told = absence(entity, metric)
  return { ...told, detectedAtMs: told.sinceMs }
}

/** gateway → orders → payments → store (no spans of its own); worker stands alone. */
export const FLEET: Edge[] = [edge('lab/gateway', 'lab/orders'), edge('lab/orders', 'lab/payments'), edge('lab/payments', 'store', false)]

export function edge(source: string, target: string, instrumented = true): Edge {
  return { environment: 'lab', source, target, instrumented, lastSeenMs: T0 }
}

const TICK_S = 10

/** Feeds events and keeps what was published. */
export function reducer(options: { edges?: Edge[]; config?: typeof CONFIG; state?: DiagnoseState } = {}) {
  const state = options.state ?? emptyState()
  const published: Incident[] = []
  const effects: DiagnoseEffect[] = []
  let latestS = 0
  const feed = (event: DiagnoseEvent, atS: number) => {
    latestS = Math.max(latestS, atS)
    const made = diagnose(state, event, T0 + atS * 1_000, options.config ?? CONFIG)
    effects.push(...made)
    for (const effect of made) if (effect.kind === 'publish') published.push(effect.record)
    return made
  }
  /** As the worker does, time passes in ticks: up to `atS`. */
  const tick = (atS: number) => {
    while (latestS + TICK_S < atS) feed({ kind: 'tick' }, latestS + TICK_S)
    return feed({ kind: 'tick' }, atS)
  }
  for (const record of options.edges ?? FLEET) feed({ kind: 'edge', record }, 0)
  return {
    state,
    published,
    effects,
    feed,
    /** Delivered when they were detected, in the order given. */
    see(...anomalies: Anomaly[]) {
      for (const record of anomalies) feed({ kind: 'anomaly', record }, (Math.max(record.detectedAtMs, record.observedAtMs) - T0) / 1_000)
    },
    tick,
    /** The newest record of each incident. */
    incidents: () => [...new Map(published.map(incident => [incident.id, incident])).values()],
    top: () => published.at(-1)!.causes[0]!
  }
}

export function aDecision(incident: Incident, fields: Partial<Decision> = {}): Decision {
  return {
    id: `decision-${incident.id}`,
    incidentId: incident.id,
    environment: incident.environment,
    decidedAtMs: T0 + 10_000,
    policy: 'p',
    policyVersion: 'v',
    runbook: 'restart-process',
    runbookVersion: 'v',
    target: incident.causes[0]!.entity,
    autonomy: 'auto',
    outcome: 'act',
    blockedBy: [],
    guards: [],
    candidates: [],
    commandId: 'command-1',
    attempt: 1,
    incidentOpenedAtMs: incident.openedAtMs,
    reason: '',
    ...fields
  }
}

export function anOutcome(incident: Incident, fields: Partial<Outcome> = {}): Outcome {
  return {
    id: 'outcome-1',
    commandId: 'command-1',
    incidentId: incident.id,
    decisionId: `decision-${incident.id}`,
    environment: incident.environment,
    target: incident.causes[0]?.entity ?? 't',
    runbook: 'restart-process',
    policy: 'p',
    attempt: 1,
    verdict: 'healed',
    reason: '',
    refusedBy: null,
    steps: [],
    evidence: { signals: [], logs: [], spans: [], facts: {} },
    receivedAtMs: T0 + 11_000,
    begunAtMs: T0 + 11_000,
    healedAtMs: T0 + 15_000,
    recordedAtMs: T0 + 30_000,
    cost: 1,
    escalated: false,
    ...fields
  }
}
