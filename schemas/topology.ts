// Topology: one edge of the service graph, as traces showed it. Compacted: the last record an edge.

import { z } from 'zod'
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
