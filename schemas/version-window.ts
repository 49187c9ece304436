// Version window: what one version of a service did in one window, as one instance of it and one partition of the spans saw it.
//
// Told only while a service runs several versions. Delta counts: whoever adds them up drops what a crash made its writer tell again,
// which is known by (shard, entity, version): windows of these come in the order of their start.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'

const count = z.number().int().min(0)

export const versionWindowSchema = z.object({
  environment: z.string(),
  /** Entity service, `shop/orders`. */
  service: z.string(),
  /** Entity that served, `shop/orders@orders-7`. */
  entity: z.string(),
  /** `service.version` of its resource. */
  version: z.string(),
  /** Partition of the spans that counted. */
  shard: z.number().int().min(0),
  /** The window is [startMs, startMs + windowMs), by the time at which requests ended. */
  startMs: z.number(),
  windowMs: z.number(),
  requests: count,
  /** Requests whose span has the status error. */
  errors: count,
  /** Durations in seconds: bucket i of `counts` holds (base^(offset + i), base^(offset + i + 1)], base 2^(2^-scale). */
  duration: z.object({ scale: z.number().int(), offset: z.number().int(), zeroCount: count, counts: z.array(count) })
})
export type VersionWindow = z.infer<typeof versionWindowSchema>

export const versionWindowRecord: RecordType<VersionWindow> = {
  type: 'homeostat.version.window.v1',
  schema: versionWindowSchema,
  id: window => `${window.environment}/${window.entity}/${window.version}/${window.shard}@${window.startMs}`,
  key: window => `${window.environment}/${window.service}`,
  atMs: window => window.startMs + window.windowMs
}
