// Decision: what was chosen for an incident and why, every guard with its inputs. Written for each change of the answer.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'
import { incidentTraceparent } from './ids.ts'

export const AUTONOMY_LEVELS = ['observe', 'suggest', 'approve', 'auto'] as const
export const autonomySchema = z.enum(AUTONOMY_LEVELS)
export type Autonomy = z.infer<typeof autonomySchema>

/** Why a decision is blocked. An enum, so that it can be counted; blocked is not terminal. */
export const BLOCK_REASONS = [
  'evidence',
  'freshness',
  'ownership',
  'maintenance_window',
  'deploy_window',
  'cooldown',
  'attempt_budget',
  'flapping',
  'blast_radius',
  'storm',
  'error_budget',
  'cost_budget',
  'approval',
  'autonomy',
  'kill_switch',
  'no_policy',
  'no_runbook',
  'target_frozen',
  'stages'
] as const
export type BlockReason = (typeof BLOCK_REASONS)[number]

export const guardResultSchema = z.object({
  guard: z.enum(BLOCK_REASONS),
  verdict: z.enum(['allow', 'wait', 'ask', 'refuse']),
  /** What the guard looked at, values included. The commonest type is tried first: a decision has a hundred of them. */
  inputs: z.record(z.string(), z.union([z.number(), z.null(), z.string(), z.boolean()])),
  /** One sentence. */
  reason: z.string(),
  /** What would have changed the answer; '' for allow. */
  counterfactual: z.string(),
  /** For `wait`: when to look again; null otherwise. */
  retryAtMs: z.number().nullable()
})
export type GuardResult = z.infer<typeof guardResultSchema>

export const decisionSchema = z.object({
  id: z.string(),
  incidentId: z.string(),
  environment: z.string(),
  decidedAtMs: z.number(),
  /** Null when no policy matched. */
  policy: z.string().nullable(),
  policyVersion: z.string(),
  runbook: z.string().nullable(),
  runbookVersion: z.string(),
  target: z.string().nullable(),
  autonomy: autonomySchema,
  /** act: a command was sent; would_act: it would have been, at a lower autonomy; ask: an approval is awaited; blocked; none; escalate. */
  outcome: z.enum(['act', 'would_act', 'ask', 'blocked', 'none', 'escalate']),
  blockedBy: z.array(z.enum(BLOCK_REASONS)),
  guards: z.array(guardResultSchema),
  /** Runbooks that were considered, best first, with what their ranking read. */
  candidates: z.array(
    z.object({
      runbook: z.string(),
      risk: z.string(),
      successMean: z.number(),
      successes: z.number(),
      failures: z.number(),
      chosen: z.boolean(),
      reason: z.string()
    })
  ),
  commandId: z.string().nullable(),
  /** Of an act: without an outcome by then its command is given up. Absent in records of earlier releases. */
  outcomeByMs: z.number().optional(),
  attempt: z.number(),
  /** Whether people are called with it. Absent in records of earlier releases: not known. */
  calledPeople: z.boolean().optional(),
  /** When people are called if nothing is done before; null or absent: not by time alone. */
  callAtMs: z.number().nullable().optional(),
  /** Times that M5 and M10 are computed from. */
  incidentOpenedAtMs: z.number(),
  reason: z.string()
})
export type Decision = z.infer<typeof decisionSchema>

export const decisionRecord: RecordType<Decision> = {
  type: 'homeostat.decision.v1',
  schema: decisionSchema,
  id: decision => decision.id,
  key: decision => decision.incidentId,
  atMs: decision => decision.decidedAtMs,
  traceparent: decision => incidentTraceparent(decision.incidentId)
}
