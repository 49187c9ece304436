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
const count = z.number().int().min(1)
const ratio = z.number().min(0).max(1)
const riskSchema = z.enum(['low', 'medium', 'high'])
export type Risk = z.infer<typeof riskSchema>
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
    risk: riskSchema,
    /** Cost of one run in the units of M8. */
    cost: z.number().min(0).default(1),
    /** The kinds of trouble it answers. */
    signatures: z.array(z.string()).min(1),
    /** Lightest first: the next step runs only when the one before did not heal. */
    steps: z.array(stepSchema).min(1).max(10)
  })
})
export type Runbook = z.infer<typeof runbookSchema>

/** Planned work: starts by cron (`schedule`) or by RFC 5545 recurrence (`rrule` with its first `start`), each lasting `duration`. */
const windowSchema = z
  .strictObject({
    /** Minute, hour, day, month, weekday. */
    schedule: z.string().optional(),
    /** FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, UNTIL. */
    rrule: z.string().optional(),
    /** Local date and time of the first window, `2026-01-03T02:00`; with `rrule` only. */
    start: z
      .string()
      .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/, 'a local date and time such as 2026-01-03T02:00')
      .optional(),
    /** Elapsed time, also across a change of the clocks. */
    duration: durationSchema,
    /** IANA name. */
    timezone: z.string().default('UTC')
  })
  .refine(window => (window.schedule === undefined) !== (window.rrule === undefined), 'either schedule or rrule is needed, not both')
  .refine(window => (window.rrule === undefined) === (window.start === undefined), 'rrule and start belong together')
export type MaintenanceWindow = z.infer<typeof windowSchema>

/** A number of members, or a share of the group: `3` or `50%`. */
const membersSchema = z.union([z.number().int().min(0), z.string().regex(/^(100|\d{1,2})%$/, 'a number or a share such as 50%')])

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
        jitter: z.number().min(0).max(1).default(0.1),
        /** How long a target that healed may settle before any runbook acts on it; `initial` when absent. */
        stabilise: durationSchema.optional()
      })
      .prefault({}),
    /** Attempts over all verdicts within the window: of a runbook on a target, of a runbook anywhere, of anything in the environment. */
    attempts: z
      .strictObject({
        max: count.default(3),
        window: durationSchema.prefault('1h'),
        runbook: z.strictObject({ max: count.default(20), window: durationSchema.prefault('1h') }).prefault({}),
        environment: z.strictObject({ max: count.default(60), window: durationSchema.prefault('1h') }).prefault({})
      })
      .prefault({}),
    /** At once under treatment within the group: `concurrentMax`, or `percentMax` of its members where that is more. */
    blastRadius: z
      .strictObject({
        concurrentMax: count.default(1),
        percentMax: z.number().min(0).max(100).default(0),
        group: z.enum(['environment', 'service']).default('environment'),
        /** Members that must stay well while one is treated. */
        minHealthy: membersSchema.default(0)
      })
      .prefault({}),
    maintenanceWindows: z.array(windowSchema).default([]),
    /** What a deploy of the target means, and how long after its end. */
    deploys: z.strictObject({ during: z.enum(['wait', 'ask', 'allow']).default('wait'), settle: durationSchema.prefault('5m') }).prefault({}),
    /** After another's change of the target nobody acts for `handsOff`; two reverts by one actor within `revertWindow` end automation there. */
    ownership: z.strictObject({ handsOff: durationSchema.prefault('15m'), revertWindow: durationSchema.prefault('1d') }).prefault({}),
    /** Makes automation more careful as the budget goes; absent: it plays no part. */
    errorBudget: z
      .strictObject({
        /** Objective of the service, 0..1: with it error ratios in the incident's own anomalies tell the burn rate too. */
        objective: z.number().gt(0).lt(1).optional(),
        /** From this burn rate on only low-risk runbooks act by themselves: 2 % of 30 days' budget in one hour (SRE workbook, chapter 5). */
        burnRateMax: z.number().gt(0).default(14.4),
        /** Less than this left: everything asks. */
        remainingMin: z.number().min(0).max(1).default(0),
        /** What was reported longer ago is not known. */
        staleAfter: durationSchema.prefault('15m')
      })
      .optional(),
    /** Most cost within a window, of one class of actions (`driver/verb`) or `*` for all, in the environment. */
    costBudgets: z.array(z.strictObject({ action: z.string().min(1), max: z.number().min(0), window: durationSchema })).default([]),
    approval: z
      .strictObject({
        expiresAfter: durationSchema.prefault('30m'),
        approvers: count.default(1),
        /** Role → its people. Someone of each role must approve, one person for one role; then others do not count. */
        roles: z.record(name, z.array(z.string().min(1)).min(1)).default({}),
        /** From this risk on two people are needed at least, whatever `approvers` says. */
        twoPersonRisk: riskSchema.optional()
      })
      .prefault({}),
    /** What earns a level: the lower bound of the precision (Wilson) over enough scored decisions. */
    trust: z
      .strictObject({
        confidence: z.number().gt(0.5).lt(1).default(0.95),
        trialsMin: count.default(20),
        precisionMin: z.strictObject({ suggest: ratio.default(0.5), approve: ratio.default(0.7), auto: ratio.default(0.9) }).prefault({})
      })
      .prefault({}),
    /** A healed target that breaks again within this time counts as recurrence. */
    recurrenceWindow: durationSchema.prefault('10m'),
    escalate: z.strictObject({ channels: z.array(z.string()).default(['default']) }).prefault({})
  })
})
export type Policy = z.infer<typeof policySchema>
