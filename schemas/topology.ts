// Topology: who calls whom, as traces showed it, and which instances of services are new. Compacted: the last record an edge, and of
// each service the last of its new instances; those are news for diagnosis, not a list of who exists.

import { z } from 'zod'
import { entityService } from './entity.ts'
import type { RecordType } from './envelope.ts'

export const edgeSchema = z.object({
  environment: z.string(),
  /** Entity service (`shop/orders`) that calls. */
  source: z.string(),
  /** Entity service, or the peer's name where the callee sends no spans. */
  target: z.string(),
  /** False when the callee is known only from its clients. */
  instrumented: z.boolean(),
  lastSeenMs: z.number()
})
export type Edge = z.infer<typeof edgeSchema>

export const edgeRecord: RecordType<Edge> = {
  type: 'homeostat.topology.edge.v1',
  schema: edgeSchema,
  id: edge => `${edge.environment}/${edge.source}>${edge.target}@${edge.lastSeenMs}`,
  key: edge => `${edge.environment}/${edge.source}>${edge.target}`,
  atMs: edge => edge.lastSeenMs
}

export const instanceSchema = z.object({
  environment: z.string(),
  /** Of a service, with its instance: `shop/orders@orders-9b2d`. */
  entity: z.string(),
  /**
   * new: heard a few times, for the first time ever; settled: heard often enough that its silence will be told as an absence;
   * lost: silent before that. A lost one that is heard again is new again.
   */
  state: z.enum(['new', 'settled', 'lost']),
  /** Log's clock. */
  firstSeenMs: z.number(),
  lastSeenMs: z.number(),
  /** How long it may be silent before it is missed, as far as its interval is known by now. */
  patienceMs: z.number()
})
export type Instance = z.infer<typeof instanceSchema>

export const instanceRecord: RecordType<Instance> = {
  type: 'homeostat.topology.instance.v1',
  schema: instanceSchema,
  id: ({ environment, entity, state, lastSeenMs }) => `${environment}/${entity}:${state}@${lastSeenMs}`,
  key: ({ environment, entity }) => `${environment}/${entityService(entity)}`,
  atMs: instance => instance.lastSeenMs
}
