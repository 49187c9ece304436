// Builders of control records for tests, each valid and with defaults: an incident that began 100 s ago and was healed after 60 s.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Command } from '../../schemas/command.ts'
import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Model } from '../../schemas/model.ts'
import type { Outcome } from '../../schemas/outcome.ts'

export const NOW_MS = Date.now()
export const S = 1_000
export const INCIDENT_ID = 'a1'.repeat(16)

export const anAnomaly = (more: Partial<Anomaly> = {}): Anomaly => ({
  id: 'anomaly-1',
  status: 'open',
  detector: 'adaptive',
  environment: 'lab',
  entity: 'shop/orders@orders-1',
  service: 'orders',
  signal: 'metric',
  metric: 'latency',
  unit: 's',
  attributes: { route: '/cart' },
  series: 'ff',
  severity: 'critical',
  direction: 'above',
  observed: 2,
  expected: null,
  lower: 0,
  upper: 1,
  score: 4.5,
  threshold: 3,
  samples: 100,
  sinceMs: NOW_MS - 9 * S,
  observedAtMs: NOW_MS - 8 * S,
  detectedAtMs: NOW_MS - 7 * S,
  shadow: false,
  reason: 'too slow',
  ...more
})
export const anIncident = (id: string, more: Partial<Incident> = {}): Incident => ({
  id,
  environment: 'lab',
  status: 'resolved',
  severity: 'critical',
  title: 'orders is slow',
  startedAtMs: NOW_MS - 100 * S,
  openedAtMs: NOW_MS - 90 * S,
  updatedAtMs: NOW_MS,
  healedAtMs: NOW_MS - 40 * S,
  resolvedAtMs: NOW_MS,
  resolution: 'remediated',
  causes: [{ entity: 'shop/orders@orders-1', service: 'orders', score: 0.9, signature: 'latency', evidence: [] }],
  members: [],
  membersOmitted: 0,
  attempts: 1,
  unknownEntities: [],
  version: 3,
  ...more
})
export const aMember = (anomalyId: string): Incident['members'][number] => ({
  anomalyId,
  entity: 'e',
  service: 's',
  metric: 'm',
  attributes: {},
  detector: 'adaptive',
  direction: 'above',
  severity: 'info',
  score: 1,
  observed: null,
  expected: null,
  sinceMs: 0,
  closedAtMs: null,
  reason: ''
})
export const aDecision = (id: string, incidentId: string, more: Partial<Decision> = {}): Decision => ({
  id,
  incidentId,
  environment: 'lab',
  decidedAtMs: NOW_MS - 80 * S,
  policy: 'restart',
  policyVersion: '1',
  runbook: 'restart',
  runbookVersion: '1',
  target: 'shop/orders@orders-1',
  autonomy: 'auto',
  outcome: 'act',
  blockedBy: [],
  guards: [],
  candidates: [],
  commandId: `command-${id}`,
  attempt: 1,
  incidentOpenedAtMs: NOW_MS - 90 * S,
  reason: '',
  ...more
})
export const anOutcome = (id: string, incidentId: string, decisionId: string, more: Partial<Outcome> = {}): Outcome => ({
  id,
  commandId: `command-${decisionId}`,
  incidentId,
  decisionId,
  environment: 'lab',
  target: 'shop/orders@orders-1',
  runbook: 'restart',
  policy: 'restart',
  attempt: 1,
  verdict: 'healed',
  reason: '',
  refusedBy: null,
  steps: [],
  evidence: { signals: [], logs: [], spans: [], facts: {} },
  receivedAtMs: NOW_MS - 80 * S,
  begunAtMs: NOW_MS - 80 * S,
  healedAtMs: NOW_MS - 40 * S,
  recordedAtMs: NOW_MS,
  cost: 2,
  escalated: false,
  ...more
})
export const aStep = (more: Partial<Outcome['steps'][number]> = {}): Outcome['steps'][number] => ({
  idempotencyKey: 'k',
  name: 'restart',
  driver: 'process',
  verb: 'restart',
  target: 't',
  result: 'applied',
  detail: '',
  waited: null,
  begunAtMs: NOW_MS,
  appliedAtMs: NOW_MS,
  verdict: 'healed',
  checks: [],
  undo: 'none',
  ...more
})
export const aLabel = (anomalyId: string, label: 'true_positive' | 'false_positive', atMs = NOW_MS): Control => ({
  kind: 'label',
  anomalyId,
  label,
  note: '',
  atMs,
  by: 'ann'
})

export function aCommand(): Command {
  return {
    id: 'command-1',
    incidentId: INCIDENT_ID,
    decisionId: 'd',
    environment: 'lab',
    target: 't',
    runbook: 'r',
    runbookVersion: '1',
    policy: 'p',
    policyVersion: '1',
    attempt: 1,
    risk: 'low',
    cost: 1,
    steps: [],
    incident: {},
    cause: {},
    startedAtMs: NOW_MS,
    issuedAtMs: NOW_MS,
    expiresAtMs: NOW_MS,
    fence: 7,
    nonce: 'n',
    keyId: 'k',
    signature: 's'
  }
}

export function aModel(): Model {
  const figures = { brier: 0.1, logLoss: 0.3, areaUnderCurve: 0.9, precision: 0.8, recall: 0.7 }
  return {
    name: 'failure',
    version: '1',
    kind: 'failure_probability',
    stage: 'shadow',
    trainedAtMs: NOW_MS,
    backend: 'wasm',
    horizonMs: 300_000,
    windowMs: 300_000,
    features: [],
    layers: [],
    threshold: 0.5,
    rows: { train: 10, heldOut: 5, positiveTrain: 8, positiveHeldOut: 4 },
    heldOut: figures,
    baseline: { ...figures, brier: 0.2 },
    baselineName: 'rate'
  }
}
