// Kinds that people write as YAML: Policy (when may what be done) and Runbook (what is done and how it is checked).

import { z } from 'zod'
import { autonomySchema } from './decision.ts'

/** Durations are written `500ms`, `5s`, `10m`, `2h`, `1d` and read as milliseconds. */
export const durationSchema = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'a duration such as 500ms, 5s, 10m, 2h or 1d')
  .transform(parseDuration)

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `"1.5s"` → 1500. The text must fit durationSchema's pattern. */
export function parseDuration(text: string): number {
  const unit = text.replace(/^[\d.]+/, '') as keyof typeof UNIT_MS
  return Math.round(Number.parseFloat(text) * UNIT_MS[unit])
}

const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,62})$/, 'lower-case letters, digits and dashes, at most 63')
const metadata = z.strictObject({ name, description: z.string().default('') })
/** CEL. In policies: `incident`, `cause`. In runbooks: `incident`, `cause`, `target`, `facts`; in checks also `value`, `samples`, `before`. */
const expression = z.string().min(1)

const metricCheck = z.strictObject({
  name,
  type: z.literal('metric'),
  /** Defaults to the target's entity. */
  entity: z.string().optional(),
  metric: z.string(),
  attributes: z.record(z.string(), z.string()).default({}),
  aggregate: z.enum(['last', 'mean', 'max', 'min', 'p95', 'sum', 'count']).default('mean'),
  window: durationSchema,
  /** Fewer samples than this is inconclusive, never healed. */
  minSamples: z.number().int().min(1).default(3),
  /** CEL over `value`, `samples`, `before` (the same aggregate before the onset; null if unknown). */
  expect: expression
})
const httpCheck = z.strictObject({
  name,
  type: z.literal('http'),
  url: z.string(),
  status: z.number().int().default(200),
  timeout: durationSchema.prefault('2s')
})
const stateCheck = z.strictObject({ name, type: z.literal('state'), driver: z.string(), target: z.string().optional(), expect: expression })
export const checkSchema = z.discriminatedUnion('type', [metricCheck, httpCheck, stateCheck])
export type Check = z.infer<typeof checkSchema>

const actSchema = z.strictObject({ driver: z.string(), verb: z.string(), target: z.string().optional(), args: z.record(z.string(), z.unknown()).default({}) })

export const stepSchema = z.strictObject({
  name,
  /** CEL over facts read again at the moment of acting; false skips the step. */
  when: expression.optional(),
  action: actSchema,
  timeout: durationSchema.prefault('30s'),
  /** Time the effect needs before checking makes sense. */
  settle: durationSchema.prefault('5s'),
  verify: z.strictObject({
    deadline: durationSchema.prefault('60s'),
    /** All checks must pass without a break for this long. */
    holdFor: durationSchema.prefault('10s'),
    checks: z.array(checkSchema).min(1)
  }),
  undo: actSchema.optional()
})
export type RunbookStep = z.infer<typeof stepSchema>

export const runbookSchema = z.strictObject({
  apiVersion: z.literal('homeostat.io/v1'),
  kind: z.literal('Runbook'),
  metadata,
  spec: z.strictObject({
    risk: z.enum(['low', 'medium', 'high']),
    /** Cost of one run in the units of M8. */
    cost: z.number().min(0).default(1),
    /** The kinds of trouble it answers. */
    signatures: z.array(z.string()).min(1),
    /** Lightest first: the next step runs only when the one before did not heal. */
    steps: z.array(stepSchema).min(1).max(10)
  })
})
export type Runbook = z.infer<typeof runbookSchema>

export const policySchema = z.strictObject({
  apiVersion: z.literal('homeostat.io/v1'),
  kind: z.literal('Policy'),
  metadata,
  spec: z.strictObject({
    /** CEL over `incident` and `cause`. Empty is an error: it would hit the whole fleet. */
    match: expression,
    runbooks: z.array(name).min(1),
    autonomy: autonomySchema.default('observe'),
    /** Least score of the first cause, 0..1, and least members, for the evidence guard. */
    evidence: z.strictObject({ causeScoreMin: z.number().min(0).max(1).default(0.5), membersMin: z.number().int().min(1).default(1) }).prefault({}),
    /** How long an incident is watched before deciding; lets the anomalies of one cause gather. */
    confirmFor: durationSchema.prefault('0s'),
    cooldown: z
      .strictObject({
        initial: durationSchema.prefault('60s'),
        factor: z.number().min(1).default(2),
        max: durationSchema.prefault('1h'),
        jitter: z.number().min(0).max(1).default(0.1)
      })
      .prefault({}),
    attempts: z.strictObject({ max: z.number().int().min(1).default(3), window: durationSchema.prefault('1h') }).prefault({}),
    blastRadius: z.strictObject({ concurrentMax: z.number().int().min(1).default(1) }).prefault({}),
    maintenanceWindows: z.array(z.strictObject({ schedule: z.string(), duration: durationSchema, timezone: z.string().default('UTC') })).default([]),
    approval: z.strictObject({ expiresAfter: durationSchema.prefault('30m'), approvers: z.number().int().min(1).default(1) }).prefault({}),
    /** A healed target that breaks again within this time counts as recurrence. */
    recurrenceWindow: durationSchema.prefault('10m'),
    escalate: z.strictObject({ channels: z.array(z.string()).default(['default']) }).prefault({})
  })
})
export type Policy = z.infer<typeof policySchema>
