// Health of this process: what must work, how far behind, what was counted, and whether it goes forward at all.
//
// Ready (/readyz) asks whether it can do its work now: parts open, log and ClickHouse reachable, consumers near the end.
// Alive (/livez) asks whether only a restart helps: a hosted role whose event loop is silent, a batch that is in hand for minutes
// while everything it could wait for answers. A cluster that is away makes a process unready, never dead.

import type { Config } from '../../schemas/config.ts'
import type { Clock, Log } from '../../schemas/ports.ts'
import type { RoleHost } from '../hosting/role-host.ts'
import type { HealthCheck, Liveness, PipelineHealth, Probes } from '../self/health-routes.ts'
import type { SelfMeter } from '../self/meter.ts'
import type { Role, RoleSet } from './select.ts'

/** Above this a consumer is not keeping up, and the instance is not ready for more. */
const LAG_READY_MAX = 100_000
/** Shorter than any prober waits; a dependency that is slower than this is not there. */
const PROBE_TIMEOUT_MS = 2_000
/** A probe, the console's page and `status` ask within the same second: the log is asked once. */
const LAG_KEPT_MS = 1_000
/** Heartbeats come each second; a full garbage collection or a busy machine delays them by a few. Opening may take half a minute. */
const SILENT_MAX_MS = 60_000
/** No handler works on one batch for so long; the longest known (a fit of a large window) takes seconds. */
const HELD_MAX_MS = 300_000

export type Phase = 'opening' | 'open' | 'closing'

export interface HealthSources {
  config: Config
  version: string
  roles: RoleSet
  addresses: Readonly<Record<string, string>>
  /** Of the log, as `Log.groups`. */
  groups: Log['groups']
  /** Asks ClickHouse for nothing much. */
  pingStore(): Promise<unknown>
  clock: Clock
  meter: SelfMeter
  /** Roles in threads and processes of their own. */
  hosts: ReadonlyMap<string, RoleHost>
  /** Of the roles on the main thread, as `Progress.heldMs`. */
  heldMs(): number
  phase(): Phase
  /** What people should mend, by what it is about. */
  warnings: ReadonlyMap<string, string>
}

const PHASES: Readonly<Record<Phase, string>> = { opening: 'opening', open: 'every part is open', closing: 'stopping' }

/** A process answers for the lag of its own consumers only. */
const GROUPS: Readonly<Partial<Record<Role, (environment: string) => readonly string[]>>> = {
  intake: () => ['homeostat-intake'],
  detect: () => ['homeostat-detect'],
  control: () => ['homeostat-diagnose', 'homeostat-decide', 'homeostat-canary'],
  act: environment => [`homeostat-act-${environment}`],
  store: () => ['homeostat-store']
}

interface Lag {
  groups: Readonly<Record<string, number>>
  error?: string
}

export function openProbes(sources: HealthSources): Probes {
  const { config, version, roles, addresses, clock, meter, hosts, phase } = sources
  const startedAtMs = clock.nowMs()
  const usesServer = config.store.url !== undefined && (['store', 'act', 'console'] as const).some(role => roles.has(role))
  const ownGroups = new Set([...roles].flatMap(role => GROUPS[role]?.(config.environment) ?? []))
  /** Since when nothing that a handler may wait for was seen away. */
  let reachableSinceMs = clock.monotonicMs()
  const lagOf = keptFor(LAG_KEPT_MS, clock, () => logLag(sources.groups, clock))
  const storeProblem = keptFor(LAG_KEPT_MS, clock, async () => (usesServer ? problemOf(sources.pingStore(), clock) : undefined))

  async function dependencies(): Promise<{ lag: Lag; store: string | undefined }> {
    const [lag, store] = await Promise.all([lagOf(), storeProblem()])
    if (lag.error !== undefined || store !== undefined) reachableSinceMs = clock.monotonicMs()
    return { lag, store }
  }

  async function health(): Promise<PipelineHealth> {
    const { lag, store } = await dependencies()
    const checks: HealthCheck[] = [
      { name: 'started', ok: phase() === 'open', detail: PHASES[phase()] },
      ...[...hosts].map(([name, role]) => ({ name: `${name} role`, ok: role.alive, detail: role.alive ? 'running' : 'restarting' })),
      { name: 'log', ok: lag.error === undefined, detail: lag.error ?? 'readable' },
      ...(usesServer ? [{ name: 'ClickHouse', ok: store === undefined, detail: store ?? 'answers' }] : []),
      ...Object.entries(lag.groups)
        .filter(([group, records]) => records > LAG_READY_MAX && ownGroups.has(group))
        .map(([group, records]) => ({ name: group, ok: false, detail: `${records} records behind (limit ${LAG_READY_MAX})` }))
    ]
    return {
      ready: checks.every(({ ok }) => ok),
      version,
      environment: config.environment,
      roles: [...roles],
      startedAtMs,
      addresses,
      checks,
      warnings: Object.fromEntries(sources.warnings),
      lag: lag.groups,
      counters: counterTotals(meter)
    }
  }

  async function live(): Promise<Liveness> {
    void dependencies() // Not waited for: a prober's patience is a second, and a cluster that is away must not look like a dead process.
    const reachableMs = clock.monotonicMs() - reachableSinceMs
    const stands = (heldMs: number): boolean => Math.min(heldMs, reachableMs) > HELD_MAX_MS
    const checks: HealthCheck[] = []
    const fail = (name: string, detail: string): number => checks.push({ name, ok: false, detail })
    for (const [name, { silentMs, heldMs }] of hosts) {
      if (silentMs > SILENT_MAX_MS) fail(`${name} role`, `not heard for ${Math.round(silentMs / 1_000)} s`)
      else if (stands(heldMs)) fail(`${name} role`, `one batch in hand for ${Math.round(heldMs / 1_000)} s`)
    }
    if (stands(sources.heldMs())) fail('roles on the main thread', `one batch in hand for ${Math.round(sources.heldMs() / 1_000)} s`)
    return { ok: checks.length === 0, checks }
  }

  return { health, live, readings: () => meter.readings() }
}

/** Records that each consumer group has not committed yet, over all its partitions. */
async function logLag(positionsOf: Log['groups'], clock: Clock): Promise<Lag> {
  const groups: Record<string, number> = {}
  const asked = positionsOf().then(positions => {
    for (const { group, committed, end } of positions) groups[group] = (groups[group] ?? 0) + Math.max(0, end - committed)
  })
  const error = await problemOf(asked, clock)
  return error === undefined ? { groups } : { groups: {}, error }
}

/** Why `asked` failed, or that it does not come; undefined when it was answered. */
async function problemOf(asked: Promise<unknown>, clock: Clock): Promise<string | undefined> {
  const answered = new AbortController()
  const late = clock.sleep(PROBE_TIMEOUT_MS, answered.signal).then(() => `no answer within ${PROBE_TIMEOUT_MS} ms`)
  try {
    return await Promise.race([asked.then(() => undefined), late])
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  } finally {
    answered.abort()
  }
}

/** The last answer while it is younger than `ms`; one question at a time. */
function keptFor<Answer>(ms: number, clock: Clock, ask: () => Promise<Answer>): () => Promise<Answer> {
  let answer: Promise<Answer> | undefined
  let answeredMs: number | undefined
  return () => {
    const isFresh = answeredMs === undefined || clock.monotonicMs() - answeredMs <= ms
    if (answer !== undefined && isFresh) return answer
    answeredMs = undefined
    answer = ask().finally(() => {
      answeredMs = clock.monotonicMs()
    })
    return answer
  }
}

/** Counters summed over their attributes; gauges are in the metrics themselves. */
function counterTotals(meter: SelfMeter): Record<string, number> {
  const totals: Record<string, number> = {}
  for (const { name, kind, value } of meter.readings()) if (kind === 'counter') totals[name] = (totals[name] ?? 0) + value
  return Object.fromEntries(Object.entries(totals).sort(([a], [b]) => a.localeCompare(b)))
}
