// The health of a Homeostat in which nothing is amiss, for tests that show or tell it.

import type { PipelineHealth } from '../../pipeline/self/health-routes.ts'

export function aHealth(fields: Partial<PipelineHealth> = {}): PipelineHealth {
  const nothing = { roles: [], addresses: {}, checks: [], warnings: {}, lag: {}, counters: {} }
  return { ready: true, version: '0', environment: 'lab', startedAtMs: 0, ...nothing, ...fields }
}
