// Canary: the comparison of a new version with its baseline, and how it stands. Compacted by id: each record is the whole state.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'

export const CANARY_STATES = ['running', 'paused', 'passed', 'failed', 'aborted', 'inconclusive', 'no_data', 'refused', 'released'] as const

/** Estimate and the bounds that hold at the level of the look; null where the data give no bound. */
const intervalSchema = z.object({ estimate: z.number().nullable(), lower: z.number().nullable(), upper: z.number().nullable() })

const armSchema = z.object({ version: z.string(), requests: z.number().int().min(0), errors: z.number().int().min(0) })

export const canarySchema = z.object({
  id: z.string(),
  environment: z.string(),
  /** Entity service, `shop/orders`. */
  service: z.string(),
  /**
   * running: being compared; paused: people hold it, only a failure ends it; passed, failed: the verdict; aborted: people ended it;
   * inconclusive, no_data: not decided in time, people are asked; refused: the version is quarantined; released: no longer quarantined.
   */
  state: z.enum(CANARY_STATES),
  /** One sentence with the figures. */
  reason: z.string(),
  /** Who brought it into this state: `homeostat`, or a person. */
  by: z.string(),
  startedAtMs: z.number(),
  updatedAtMs: z.number(),
  canary: armSchema,
  baseline: armSchema,
  /** Requests that each arm needs before any verdict. */
  samplesMin: z.number().int(),
  /** Error ratio of the canary minus that of the baseline; null before the first look. */
  errorDifference: intervalSchema.nullable(),
  /** 95th percentile of the canary divided by that of the baseline; null before the first look. */
  latencyRatio: intervalSchema.nullable(),
  /** Looks so far. */
  looks: z.number().int(),
  /** The version may not start again until a person releases it. */
  quarantined: z.boolean(),
  version: z.number().int()
})
export type Canary = z.infer<typeof canarySchema>
export type CanaryState = Canary['state']

export const canaryRecord: RecordType<Canary> = {
  type: 'homeostat.canary.v1',
  schema: canarySchema,
  id: canary => `${canary.id}-${canary.version}`,
  key: canary => canary.id,
  atMs: canary => canary.updatedAtMs
}
