// Anomaly: one series that left what was expected of it, from onset to return. Three records at most: open, (update), close.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'

export const SEVERITIES = ['info', 'warning', 'critical'] as const
export const severitySchema = z.enum(SEVERITIES)
export type Severity = z.infer<typeof severitySchema>

export const anomalySchema = z.object({
  /** derived: ids.anomalyId(series, detector, sinceMs) */
  id: z.string(),
  status: z.enum(['open', 'update', 'close']),
  /** `adaptive`, `novelty`, `multivariate`, `rule:<name>`, `absence`, `model:<name>` */
  detector: z.string(),
  environment: z.string(),
  entity: z.string(),
  service: z.string(),
  signal: z.enum(['metric', 'span', 'log']),
  metric: z.string(),
  unit: z.string(),
  attributes: z.record(z.string(), z.string()),
  /** Hex of the 64-bit series key. */
  series: z.string(),
  severity: severitySchema,
  /** Which way it hurts: a value above or below the band, or telemetry that stopped (the value is unknown, not bad). */
  direction: z.enum(['above', 'below', 'absent']),
  observed: z.number().nullable(),
  expected: z.number().nullable(),
  lower: z.number().nullable(),
  upper: z.number().nullable(),
  /** −log10 of the false alarms a day that a normal series raises at least as strong: 3 = one in a thousand days. Of a model: of 1 − probability. */
  score: z.number(),
  threshold: z.number(),
  /** Points the baseline was learned from. */
  samples: z.number(),
  /** Onset of the deviation, by event time. */
  sinceMs: z.number(),
  /** Event time of the point that this record speaks of. */
  observedAtMs: z.number(),
  /** When the detector said so, by its clock. */
  detectedAtMs: z.number(),
  /** Of an absence that closes: its entity was not heard again, it counts as removed. Absent means false. */
  givenUp: z.boolean().optional(),
  /** In shadow: stored and scored, but opens no incident. */
  shadow: z.boolean().default(false),
  /** One sentence: what was expected, what was seen, since when, how rare. */
  reason: z.string()
})
export type Anomaly = z.infer<typeof anomalySchema>

export const anomalyRecord: RecordType<Anomaly> = {
  type: 'homeostat.anomaly.v1',
  schema: anomalySchema,
  id: anomaly => `${anomaly.id}-${anomaly.status}-${anomaly.observedAtMs}`,
  key: anomaly => anomaly.environment,
  atMs: anomaly => anomaly.observedAtMs
}
