// Control records as rows of the homeostat_* tables: useful scalars as columns, nested parts as JSON text.
//
// The trace id of everything that follows an incident is the incident's id. RecordId is the record's CloudEvents id, so that a record
// that was delivered twice stays one row. Records of the audit chain keep their bytes and their place in it.

import { type Anchor, anchorRecord } from '../../../schemas/anchor.ts'
import { auditLink } from '../../../schemas/audit.ts'
import { type Anomaly, anomalyRecord } from '../../../schemas/anomaly.ts'
import { type Command, commandRecord } from '../../../schemas/command.ts'
import { type Canary, canaryRecord } from '../../../schemas/canary.ts'
import { type Control, controlRecord, controlSubject } from '../../../schemas/control.ts'
import { type Decision, decisionRecord } from '../../../schemas/decision.ts'
import { decodeRecord, type RecordType } from '../../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../../schemas/incident.ts'
import { type Model, modelRecord } from '../../../schemas/model.ts'
import type { LogRecord } from '../../../schemas/ports.ts'
import { type Edge, edgeRecord, instanceRecord } from '../../../schemas/topology.ts'
import { outcomeRecord } from '../../../schemas/outcome.ts'
import { outcomeRows } from './outcome-rows.ts'
import { count, float, msText, nullableMsText, type Row, serviceName, type TableRow } from './values.ts'

export type Rows = { ok: true; rows: TableRow[] } | { ok: false; reason: string }

type ToRows = (record: Pick<LogRecord, 'value' | 'headers'>) => Rows

/** Reads a record of `type` and makes one row of `table`, completed with what every record has. */
function one<T>(type: RecordType<T>, table: string, columns: (record: T) => Row): ToRows {
  return many(type, (record, common) => [{ table, row: { ...common, ...columns(record) } }])
}
function many<T>(type: RecordType<T>, rows: (record: T, common: Row) => TableRow[]): ToRows {
  return record => {
    const decoded = decodeRecord(type, record)
    if (!decoded.ok) return decoded
    const common = { Timestamp: msText(type.atMs(decoded.record)), RecordId: type.id(decoded.record) }
    return { ok: true, rows: rows(decoded.record, common) }
  }
}

/**
 * The table's row, which is the first, with the record's bytes and its place in the audit chain; '' and 0 when it is in none.
 * @param nested column → field: columns that hold the very text of a part of the record, so that they can be held against it
 */
function chained(toRows: ToRows, nested: Readonly<Record<string, string>>): ToRows {
  return record => {
    const made = toRows(record)
    if (!made.ok) return made
    const [first, ...others] = made.rows
    const link = auditLink(record.headers)
    const audit = { AuditChain: link?.chain ?? '', AuditSeq: link?.seq ?? 0, AuditPrev: link?.prev ?? '', AuditHash: link?.hash ?? '' }
    const payload = decoder.decode(record.value!)
    const said = JSON.parse(payload) as Record<string, unknown>
    const texts = Object.fromEntries(Object.entries(nested).map(([column, field]) => [column, JSON.stringify(said[field])]))
    const row = { ...first!.row, ...audit, RecordType: record.headers.ce_type, Payload: payload, ...texts }
    return { ok: true, rows: [{ table: first!.table, row }, ...others] }
  }
}
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** CloudEvents type → rows. */
const BY_TYPE: Readonly<Record<string, ToRows>> = {
  [anomalyRecord.type]: one(anomalyRecord, 'homeostat_anomalies', anomalyColumns),
  [incidentRecord.type]: one(incidentRecord, 'homeostat_incidents', incidentColumns),
  [decisionRecord.type]: chained(one(decisionRecord, 'homeostat_decisions', decisionColumns), { Guards: 'guards', Candidates: 'candidates' }),
  [commandRecord.type]: chained(one(commandRecord, 'homeostat_commands', commandColumns), { Steps: 'steps', Incident: 'incident', Cause: 'cause' }),
  [outcomeRecord.type]: chained(many(outcomeRecord, outcomeRows), { Steps: 'steps', Evidence: 'evidence' }),
  [anchorRecord.type]: one(anchorRecord, 'homeostat_anchors', anchorColumns),
  [controlRecord.type]: one(controlRecord, 'homeostat_control', controlColumns),
  [canaryRecord.type]: one(canaryRecord, 'homeostat_canaries', canaryColumns),
  [modelRecord.type]: one(modelRecord, 'homeostat_models', modelColumns),
  [edgeRecord.type]: one(edgeRecord, 'homeostat_edges', edgeColumns),
  [instanceRecord.type]: many(instanceRecord, () => []) // News for diagnosis; who was seen when is in homeostat_entities.
}

/** The rows of one control record, or why it cannot be read. */
export function recordRows(record: Pick<LogRecord, 'value' | 'headers'>): Rows {
  const type = record.headers.ce_type ?? '(none)'
  return BY_TYPE[type]?.(record) ?? { ok: false, reason: `record type ${type} is not stored` }
}

function anomalyColumns(anomaly: Anomaly): Row {
  return {
    AnomalyId: anomaly.id,
    Status: anomaly.status,
    Detector: anomaly.detector,
    Environment: anomaly.environment,
    Entity: anomaly.entity,
    ServiceName: anomaly.service,
    Signal: anomaly.signal,
    MetricName: anomaly.metric,
    MetricUnit: anomaly.unit,
    Attributes: anomaly.attributes,
    Series: anomaly.series,
    Severity: anomaly.severity,
    Direction: anomaly.direction,
    Observed: anomaly.observed,
    Expected: anomaly.expected,
    Lower: anomaly.lower,
    Upper: anomaly.upper,
    Score: float(anomaly.score),
    Threshold: float(anomaly.threshold),
    Samples: count(anomaly.samples, Number.MAX_SAFE_INTEGER),
    Since: msText(anomaly.sinceMs),
    DetectedAt: msText(anomaly.detectedAtMs),
    Shadow: anomaly.shadow,
    Reason: anomaly.reason
  }
}

function incidentColumns(incident: Incident): Row {
  const cause = incident.causes[0]
  return {
    IncidentId: incident.id,
    Version: count(incident.version),
    Environment: incident.environment,
    Entity: cause?.entity ?? '',
    ServiceName: cause?.service ?? '',
    TraceId: incident.id,
    Status: incident.status,
    Severity: incident.severity,
    Title: incident.title,
    Signature: cause?.signature ?? '',
    CauseScore: cause?.score ?? null,
    StartedAt: msText(incident.startedAtMs),
    OpenedAt: msText(incident.openedAtMs),
    UpdatedAt: msText(incident.updatedAtMs),
    HealedAt: nullableMsText(incident.healedAtMs),
    ResolvedAt: nullableMsText(incident.resolvedAtMs),
    Resolution: incident.resolution ?? '',
    Attempts: count(incident.attempts),
    MembersCount: incident.members.length,
    MembersOmitted: count(incident.membersOmitted),
    AnomalyIds: incident.members.map(member => member.anomalyId),
    UnknownEntities: incident.unknownEntities,
    Causes: JSON.stringify(incident.causes),
    Members: JSON.stringify(incident.members)
  }
}

function decisionColumns(decision: Decision): Row {
  return {
    DecisionId: decision.id,
    IncidentId: decision.incidentId,
    TraceId: decision.incidentId,
    Environment: decision.environment,
    Target: decision.target ?? '',
    ServiceName: serviceName(decision.target ?? ''),
    Policy: decision.policy ?? '',
    PolicyVersion: decision.policyVersion,
    Runbook: decision.runbook ?? '',
    RunbookVersion: decision.runbookVersion,
    Autonomy: decision.autonomy,
    Outcome: decision.outcome,
    BlockedBy: decision.blockedBy,
    CommandId: decision.commandId ?? '',
    Attempt: count(decision.attempt),
    IncidentOpenedAt: msText(decision.incidentOpenedAtMs),
    Reason: decision.reason
  }
}

function commandColumns(command: Command): Row {
  return {
    CommandId: command.id,
    IncidentId: command.incidentId,
    TraceId: command.incidentId,
    DecisionId: command.decisionId,
    Environment: command.environment,
    Target: command.target,
    ServiceName: serviceName(command.target),
    Runbook: command.runbook,
    RunbookVersion: command.runbookVersion,
    Policy: command.policy,
    PolicyVersion: command.policyVersion,
    Attempt: count(command.attempt),
    Risk: command.risk,
    Cost: float(command.cost),
    StepsCount: command.steps.length,
    StartedAt: msText(command.startedAtMs),
    IssuedAt: msText(command.issuedAtMs),
    ExpiresAt: msText(command.expiresAtMs),
    Fence: count(command.fence, Number.MAX_SAFE_INTEGER),
    Nonce: command.nonce,
    KeyId: command.keyId,
    Signature: command.signature
  }
}

function anchorColumns(anchor: Anchor): Row {
  return { AuditChain: anchor.chain, AuditSeq: anchor.seq, AuditHash: anchor.hash, KeyId: anchor.keyId, Signature: anchor.signature }
}

function controlColumns(record: Control): Row {
  const texts = Object.entries(record).map(([name, value]) => [name, String(value)] as const)
  const environment = record.kind === 'kill_switch' && record.scope.startsWith('environment/') ? record.scope.slice('environment/'.length) : ''
  const incidentId = record.kind === 'approval' || record.kind === 'acknowledgement' ? record.incidentId : ''
  return {
    Kind: record.kind,
    Subject: controlSubject(record),
    Actor: record.by,
    Environment: environment,
    ServiceName: record.kind === 'release_target' ? serviceName(record.target) : '',
    TraceId: incidentId,
    IncidentId: incidentId,
    DecisionId: record.kind === 'approval' ? record.decisionId : '',
    AnomalyId: record.kind === 'label' ? record.anomalyId : '',
    Label: record.kind === 'label' ? record.label : '',
    Attributes: Object.fromEntries(texts)
  }
}

function canaryColumns(record: Canary): Row {
  const { canary, baseline, errorDifference, latencyRatio } = record
  return {
    CanaryId: record.id,
    Version: count(record.version),
    Environment: record.environment,
    ServiceName: serviceName(record.service),
    CanaryVersion: canary.version,
    BaselineVersion: baseline.version,
    State: record.state,
    Reason: record.reason,
    Actor: record.by,
    StartedAt: msText(record.startedAtMs),
    Quarantined: record.quarantined,
    Looks: count(record.looks),
    CanaryRequests: count(canary.requests, Number.MAX_SAFE_INTEGER),
    CanaryErrors: count(canary.errors, Number.MAX_SAFE_INTEGER),
    BaselineRequests: count(baseline.requests, Number.MAX_SAFE_INTEGER),
    BaselineErrors: count(baseline.errors, Number.MAX_SAFE_INTEGER),
    ErrorDifference: errorDifference?.estimate ?? null,
    ErrorDifferenceLower: errorDifference?.lower ?? null,
    ErrorDifferenceUpper: errorDifference?.upper ?? null,
    LatencyRatio: latencyRatio?.estimate ?? null,
    LatencyRatioLower: latencyRatio?.lower ?? null,
    LatencyRatioUpper: latencyRatio?.upper ?? null
  }
}

function modelColumns(model: Model): Row {
  return {
    ModelName: model.name,
    ModelVersion: model.version,
    Kind: model.kind,
    Stage: model.stage,
    Backend: model.backend,
    BaselineName: model.baselineName,
    HorizonSeconds: model.horizonMs / 1_000,
    WindowSeconds: model.windowMs / 1_000,
    ModelThreshold: float(model.threshold),
    TrainRows: count(model.rows.train, Number.MAX_SAFE_INTEGER),
    TrainPositives: count(model.rows.positiveTrain, Number.MAX_SAFE_INTEGER),
    HeldOutRows: count(model.rows.heldOut, Number.MAX_SAFE_INTEGER),
    HeldOutPositives: count(model.rows.positiveHeldOut, Number.MAX_SAFE_INTEGER),
    Brier: float(model.heldOut.brier),
    LogLoss: float(model.heldOut.logLoss),
    AreaUnderCurve: float(model.heldOut.areaUnderCurve),
    Precision: float(model.heldOut.precision),
    Recall: float(model.heldOut.recall),
    BaselineBrier: float(model.baseline.brier),
    BaselineLogLoss: float(model.baseline.logLoss),
    BaselineAreaUnderCurve: float(model.baseline.areaUnderCurve),
    BaselinePrecision: float(model.baseline.precision),
    BaselineRecall: float(model.baseline.recall),
    Features: JSON.stringify(model.features),
    Layers: JSON.stringify(model.layers)
  }
}

function edgeColumns(edge: Edge): Row {
  return { Environment: edge.environment, Source: edge.source, Target: edge.target, ServiceName: serviceName(edge.source), Instrumented: edge.instrumented }
}
