// Incident: the anomalies of one cause, with ranked causes. Compacted by id: each record is the whole state.

import { z } from 'zod'
import { severitySchema } from './anomaly.ts'
import type { RecordType } from './envelope.ts'
import { incidentTraceparent } from './ids.ts'

export const causeSchema = z.object({
  /** The guilty entity: what a runbook would act on. */
  entity: z.string(),
  /** Its service's name without namespace. */
  service: z.string(),
  /** 0..1, the first is the highest. */
  score: z.number(),
  /** What kind of trouble its own signals show. */
  signature: z.enum([
    'silent',
    'crash_loop',
    'errors',
    'latency',
    'saturation',
    'traffic',
    'logs',
    'failure_predicted',
    'canary',
    'canary_undecided',
    'telemetry_gap',
    'other'
  ]),
  /** Whether an open anomaly still shows it; false: its signs have closed, so there is nothing to act upon. Absent means true. */
  open: z.boolean().optional(),
  /** Of a silence that stands alone: until then it may prove to be one of many, and is not to be acted upon. Absent: nothing to wait for. */
  waitUntilMs: z.number().optional(),
  /** Sentences, each restating evidence: position in the graph, time order, severity. */
  evidence: z.array(z.string())
})
export type Cause = z.infer<typeof causeSchema>

export const memberSchema = z.object({
  anomalyId: z.string(),
  entity: z.string(),
  service: z.string(),
  metric: z.string(),
  attributes: z.record(z.string(), z.string()),
  detector: z.string(),
  direction: z.enum(['above', 'below', 'absent']),
  severity: severitySchema,
  score: z.number(),
  observed: z.number().nullable(),
  expected: z.number().nullable(),
  sinceMs: z.number(),
  /** When the detector said so, by its clock; records of earlier releases lack it. */
  detectedAtMs: z.number().optional(),
  closedAtMs: z.number().nullable(),
  reason: z.string()
})
export type IncidentMember = z.infer<typeof memberSchema>

export const incidentSchema = z.object({
  id: z.string(),
  environment: z.string(),
  /** open: undecided or waiting; acting: a command runs; resolved: healthy again; escalated: a person has it (still open for facts). */
  status: z.enum(['open', 'acting', 'resolved', 'escalated']),
  severity: severitySchema,
  title: z.string(),
  /** Onset: the earliest onset of a member as severe as the incident. */
  startedAtMs: z.number(),
  openedAtMs: z.number(),
  updatedAtMs: z.number(),
  /** From when on all raw signals were healthy; null while they are not. */
  healedAtMs: z.number().nullable(),
  resolvedAtMs: z.number().nullable(),
  /** healed by a command, by itself, given up on, or found to be part of another incident (no MTTR of its own). null while open. */
  resolution: z.enum(['remediated', 'self_healed', 'escalated', 'expired', 'merged']).nullable(),
  causes: z.array(causeSchema),
  members: z.array(memberSchema),
  /** Members beyond the kept ones (storms): counted, not listed. */
  membersOmitted: z.number(),
  /** Commands so far. */
  attempts: z.number(),
  /** Entities whose telemetry is missing: unknown, which vetoes risky actions. */
  unknownEntities: z.array(z.string()),
  version: z.number()
})
export type Incident = z.infer<typeof incidentSchema>

export const incidentRecord: RecordType<Incident> = {
  type: 'homeostat.incident.v1',
  schema: incidentSchema,
  id: incident => `${incident.id}-${incident.version}`,
  key: incident => incident.id,
  atMs: incident => incident.updatedAtMs,
  traceparent: incident => incidentTraceparent(incident.id)
}
