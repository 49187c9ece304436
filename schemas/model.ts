// Model: a trained predictor with its held-out figures, small enough to travel on the compacted models topic.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'

export const figuresSchema = z.object({ brier: z.number(), logLoss: z.number(), areaUnderCurve: z.number(), precision: z.number(), recall: z.number() })
export type Figures = z.infer<typeof figuresSchema>

export const modelSchema = z.object({
  /** Compaction key: the newest of a name wins. */
  name: z.string(),
  version: z.string(),
  kind: z.literal('failure_probability'),
  /** shadow: scores are stored and open nothing; champion: beat the baseline on held-out time. */
  stage: z.enum(['shadow', 'champion']),
  trainedAtMs: z.number(),
  backend: z.string(),
  horizonMs: z.number(),
  windowMs: z.number(),
  /** Feature names in input order, each `metric|statistic`, with their scaling. */
  features: z.array(z.object({ name: z.string(), mean: z.number(), scale: z.number() })),
  layers: z.array(z.object({ units: z.number(), activation: z.string(), kernel: z.string(), bias: z.string() })),
  /** Probability above which it raises an anomaly. */
  threshold: z.number(),
  rows: z.object({ train: z.number(), heldOut: z.number(), positiveTrain: z.number(), positiveHeldOut: z.number() }),
  heldOut: figuresSchema,
  baseline: figuresSchema,
  baselineName: z.string()
})
export type Model = z.infer<typeof modelSchema>

export const modelRecord: RecordType<Model> = {
  type: 'homeostat.model.v1',
  schema: modelSchema,
  id: model => `${model.name}@${model.version}`,
  key: model => model.name,
  atMs: model => model.trainedAtMs
}
