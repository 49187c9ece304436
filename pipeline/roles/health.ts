// Pipeline health for /readyz, `homeostat status` and the console: what must work, how far behind, what was counted.

import type { Config } from '../../schemas/config.ts'
import type { PipelineHealth } from '../console/server.ts'
import type { Log } from '../../schemas/ports.ts'
import type { SelfMeter } from '../self/meter.ts'
import type { RoleHost } from '../hosting/role-host.ts'

/** Above this a consumer is not keeping up, and the instance is not ready for more. */
const LAG_READY_MAX = 100_000

export interface HealthSources {
  config: Config
  version: string
  startedAtMs: number
  addresses: Readonly<Record<string, string>>
  log: Log
  meter: SelfMeter
  roles: Readonly<Record<string, RoleHost>>
  ready(): boolean
}

export async function pipelineHealth(sources: HealthSources): Promise<PipelineHealth> {
  const { config, version, startedAtMs, addresses, meter, roles, log } = sources
  const lag = await logLag(log)
  const checks = [
    { name: 'started', ok: sources.ready(), detail: sources.ready() ? 'every part is open' : 'opening' },
    ...Object.entries(roles).map(([name, role]) => ({ name: `${name} role`, ok: role.alive, detail: role.alive ? 'running' : 'restarting' })),
    lag.error ? { name: 'log', ok: false, detail: lag.error } : { name: 'log', ok: true, detail: 'readable' },
    ...Object.entries(lag.groups)
      .filter(([, records]) => records > LAG_READY_MAX)
      .map(([group, records]) => ({ name: group, ok: false, detail: `${records} records behind (limit ${LAG_READY_MAX})` }))
  ]
  return {
    ready: checks.every(({ ok }) => ok),
    version,
    environment: config.environment,
    startedAtMs,
    addresses,
    checks,
    lag: lag.groups,
    counters: counterTotals(meter)
  }
}

/** Records that each consumer group has not committed yet, over all its partitions. */
async function logLag(log: Log): Promise<{ groups: Record<string, number>; error?: string }> {
  try {
    const groups: Record<string, number> = {}
    for (const { group, committed, end } of await log.groups()) groups[group] = (groups[group] ?? 0) + Math.max(0, end - committed)
    return { groups }
  } catch (cause) {
    return { groups: {}, error: cause instanceof Error ? cause.message : String(cause) }
  }
}

/** Counters summed over their attributes; gauges are in the metrics themselves. */
function counterTotals(meter: SelfMeter): Record<string, number> {
  const totals: Record<string, number> = {}
  for (const { name, kind, value } of meter.readings()) if (kind === 'counter') totals[name] = (totals[name] ?? 0) + value
  return Object.fromEntries(Object.entries(totals).sort(([a], [b]) => a.localeCompare(b)))
}
