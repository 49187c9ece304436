// Outcome: what became of a command, exactly one terminal record each, with evidence, every check and its samples.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'
import { incidentTraceparent } from './ids.ts'

/** `undone`: of a command that takes the act of another one back, when all that passed before that act passes again. */
export const VERDICTS = ['healed', 'partial', 'ineffective', 'harmful', 'inconclusive', 'unknown', 'refused', 'undone'] as const
export const verdictSchema = z.enum(VERDICTS)
export type Verdict = z.infer<typeof verdictSchema>

export const checkResultSchema = z.object({
  name: z.string(),
  type: z.string(),
  result: z.enum(['pass', 'fail', 'no_data']),
  value: z.number().nullable(),
  samples: z.number(),
  expect: z.string(),
  detail: z.string(),
  atMs: z.number()
})
export type CheckResult = z.infer<typeof checkResultSchema>

export const stepResultSchema = z.object({
  idempotencyKey: z.string(),
  name: z.string(),
  driver: z.string(),
  verb: z.string(),
  target: z.string(),
  /** skipped: its condition was false; unknown: may have happened, target frozen. */
  result: z.enum(['applied', 'failed', 'unknown', 'skipped', 'refused']),
  detail: z.string(),
  /** Before it began, for its `waitFor`; null when it had nothing to wait for. */
  waited: z.object({ sinceMs: z.number(), untilMs: z.number().nullable() }).nullable().default(null),
  begunAtMs: z.number().nullable(),
  appliedAtMs: z.number().nullable(),
  verdict: verdictSchema.nullable(),
  checks: z.array(checkResultSchema),
  undo: z.enum(['none', 'undone', 'failed']).default('none')
})
export type StepResult = z.infer<typeof stepResultSchema>

export const outcomeSchema = z.object({
  id: z.string(),
  commandId: z.string(),
  incidentId: z.string(),
  decisionId: z.string(),
  environment: z.string(),
  target: z.string(),
  runbook: z.string(),
  policy: z.string(),
  attempt: z.number(),
  verdict: verdictSchema,
  reason: z.string(),
  /** Signature, environment, expiry, …: which check refused it; null otherwise. */
  refusedBy: z.string().nullable(),
  steps: z.array(stepResultSchema),
  evidence: z.object({
    signals: z.array(z.object({ metric: z.string(), points: z.array(z.tuple([z.number(), z.number()])) })),
    logs: z.array(z.object({ atMs: z.number(), severity: z.string(), body: z.string() })),
    spans: z.array(z.object({ atMs: z.number(), name: z.string(), durationMs: z.number(), status: z.string() })),
    facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
  }),
  receivedAtMs: z.number(),
  begunAtMs: z.number().nullable(),
  /** From when on every check passed without a break (not when verification ended); null unless healed. */
  healedAtMs: z.number().nullable(),
  recordedAtMs: z.number(),
  cost: z.number(),
  /** Whether the actuator itself called people for it: only where it runs without control beside it, whose decisions say so else (M6 counts both). */
  escalated: z.boolean()
})
export type Outcome = z.infer<typeof outcomeSchema>

export const outcomeRecord: RecordType<Outcome> = {
  type: 'homeostat.outcome.v1',
  schema: outcomeSchema,
  id: outcome => outcome.id,
  key: outcome => outcome.target,
  atMs: outcome => outcome.recordedAtMs,
  traceparent: outcome => incidentTraceparent(outcome.incidentId)
}
