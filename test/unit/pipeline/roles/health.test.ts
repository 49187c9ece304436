// What probes are told: ready means that work can be done now, alive means that a restart would not help.

import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { RoleHost } from '../../../../pipeline/hosting/role-host.ts'
import { openProbes, type Phase } from '../../../../pipeline/roles/health.ts'
import { selectRoles } from '../../../../pipeline/roles/select.ts'
import type { Probes } from '../../../../pipeline/self/health-routes.ts'
import { memoryMeter } from '../../../../pipeline/self/meter.ts'
import { watchProgress } from '../../../../pipeline/self/progress.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { GroupPosition, Log, SubscribeOptions } from '../../../../schemas/ports.ts'
import { type VirtualClock, virtualClock } from '../../../support/virtual-clock.ts'

const MINUTE_MS = 60_000
let clock: VirtualClock
let positions: () => Promise<GroupPosition[]>
let pingStore: () => Promise<unknown>
let asked: number
beforeEach(() => {
  clock = virtualClock(1_000_000)
  positions = async () => []
  pingStore = async () => []
  asked = 0
})

const aPosition = (group: string, behind: number): GroupPosition => ({ group, topic: 'homeostat.metrics.v1', partition: 0, committed: 0, end: behind })
const aHost = (state: Partial<Pick<RoleHost, 'alive' | 'silentMs' | 'heldMs'>> = {}): RoleHost =>
  ({ alive: true, silentMs: 500, heldMs: 0, ...state }) as unknown as RoleHost

function aProcess(
  roles: string,
  more: { hosts?: Record<string, RoleHost>; phase?: Phase; held?: () => number; url?: string; warnings?: Record<string, string> } = {}
): Probes {
  const meter = memoryMeter()
  meter.count('homeostat.seen', 2, { door: 'a' })
  meter.count('homeostat.seen', 3, { door: 'b' })
  return openProbes({
    config: configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', environment: 'shop', store: more.url ? { url: more.url } : {} }),
    version: '1',
    roles: selectRoles(roles),
    addresses: {},
    groups() {
      asked++
      return positions()
    },
    pingStore: () => pingStore(),
    clock,
    meter,
    hosts: new Map(Object.entries(more.hosts ?? {})),
    heldMs: more.held ?? (() => 0),
    phase: () => more.phase ?? 'open',
    warnings: new Map(Object.entries(more.warnings ?? {}))
  })
}
const failing = async (probes: Probes): Promise<string[]> => (await probes.health()).checks.filter(({ ok }) => !ok).map(({ name }) => name)
/** Advances in the steps of a prober. */
async function probed(probes: Probes, forMs: number): Promise<void> {
  for (let passedMs = 0; passedMs < forMs; passedMs += 10_000) {
    await probes.live()
    await clock.advance(10_000)
  }
}

describe('readiness', () => {
  it('is given when every part is open and what it needs answers', async () => {
    expect(await aProcess('detect', { hosts: { detect: aHost() } }).health()).toMatchObject({
      ready: true,
      roles: ['detect'],
      counters: { 'homeostat.seen': 5 }
    })
  })

  it.each(['opening', 'closing'] as const)('is not given while it is %s', async phase => {
    expect(await failing(aProcess('detect', { phase }))).toEqual(['started'])
  })

  it('is not given while a hosted role restarts', async () => {
    expect(await failing(aProcess('store', { hosts: { store: aHost({ alive: false }) } }))).toEqual(['store role'])
  })

  it('is not given while the log fails, or does not answer in time', async () => {
    positions = async () => {
      throw new AppError('log_unavailable', 'no broker answers')
    }
    const probes = aProcess('intake')
    expect((await probes.health()).checks).toContainEqual({ name: 'log', ok: false, detail: 'no broker answers' })

    positions = () => new Promise(() => undefined)
    await clock.advance(5_000)
    const pending = probes.health()
    await clock.advance(2_000)
    expect((await pending).checks).toContainEqual({ name: 'log', ok: false, detail: 'no answer within 2000 ms' })
  })

  it('asks the ClickHouse server where one is used, and only there', async () => {
    pingStore = async () => {
      throw new AppError('store_unavailable', 'refused')
    }
    const url = 'http://127.0.0.1:8123'
    for (const role of ['store', 'act', 'console']) expect(await failing(aProcess(role, { url })), role).toEqual(['ClickHouse'])
    for (const role of ['intake', 'detect', 'control']) expect(await failing(aProcess(role, { url })), role).toEqual([])
    expect(await failing(aProcess('store'))).toEqual([])
  })

  it('looks at the lag of its own consumers, and shows that of all', async () => {
    positions = async () => [aPosition('homeostat-detect', 200_000), aPosition('homeostat-store', 5), aPosition('homeostat-act-shop', 7)]
    expect(await failing(aProcess('detect'))).toEqual(['homeostat-detect'])
    expect(await failing(aProcess('store'))).toEqual([])
    expect((await aProcess('store').health()).lag).toEqual({ 'homeostat-detect': 200_000, 'homeostat-store': 5, 'homeostat-act-shop': 7 })
  })

  it('asks the log once for questions of the same second', async () => {
    const probes = aProcess('detect')
    await Promise.all([probes.health(), probes.health(), probes.live()])
    await clock.advance(500)
    await probes.health()
    expect(asked).toBe(1)
    await clock.advance(2_000)
    await probes.health()
    expect(asked).toBe(2)
  })
})

describe('liveness', () => {
  it('holds while hosted roles are heard, and ends when one is silent for more than a minute', async () => {
    expect(await aProcess('detect', { hosts: { detect: aHost({ silentMs: 59_000 }) } }).live()).toEqual({ ok: true, checks: [] })
    expect(await aProcess('detect', { hosts: { detect: aHost({ silentMs: 61_000 }) } }).live()).toMatchObject({
      ok: false,
      checks: [{ name: 'detect role', detail: 'not heard for 61 s' }]
    })
  })

  it('ends when a batch is in hand for minutes although everything answers', async () => {
    const sinceMs = clock.monotonicMs()
    const probes = aProcess('act', { held: () => clock.monotonicMs() - sinceMs })
    await probed(probes, 4 * MINUTE_MS)
    expect(await probes.live()).toMatchObject({ ok: true })
    await probed(probes, 2 * MINUTE_MS)
    expect(await probes.live()).toMatchObject({ ok: false, checks: [{ name: 'roles on the main thread', detail: 'one batch in hand for 360 s' }] })
  })

  it('holds through an hour without ClickHouse, whatever is in hand, and for some minutes after it', async () => {
    pingStore = async () => {
      throw new AppError('store_unavailable', 'refused')
    }
    const sinceMs = clock.monotonicMs()
    const host = aHost()
    Object.defineProperty(host, 'heldMs', { get: () => clock.monotonicMs() - sinceMs })
    const probes = aProcess('store', { url: 'http://127.0.0.1:8123', hosts: { store: host } })
    await probed(probes, 60 * MINUTE_MS)
    expect(await probes.live()).toMatchObject({ ok: true })
    pingStore = async () => []
    await probed(probes, 4 * MINUTE_MS)
    expect(await probes.live()).toMatchObject({ ok: true })
    await probed(probes, 2 * MINUTE_MS)
    expect(await probes.live()).toMatchObject({ ok: false })
  })

  it('is answered at once while the log is silent', async () => {
    positions = () => new Promise(() => undefined)
    expect(await aProcess('detect').live()).toEqual({ ok: true, checks: [] })
  })
})

describe('the watch on handlers', () => {
  it('measures the oldest batch in hand, and nothing once it is settled', async () => {
    const release = Promise.withResolvers<void>()
    const subscribe = vi.fn(async (_options: SubscribeOptions) => undefined)
    const progress = watchProgress({ subscribe } as unknown as Log, clock)
    const onBatch = async (): Promise<{ kind: 'done' }> => (await release.promise, { kind: 'done' })
    await progress.log.subscribe({ group: 'g', topics: ['t'], from: 'earliest', autoCommit: false, onBatch })
    const given = subscribe.mock.calls[0]![0]
    expect(given).toMatchObject({ group: 'g', topics: ['t'], from: 'earliest', autoCommit: false })
    expect(given).not.toHaveProperty('onAssigned')

    const batch = { topic: 't', partition: 0, generation: 1, records: [], endOffset: 0 }
    const first = given.onBatch(batch)
    await clock.advance(1_000)
    const second = given.onBatch({ ...batch, partition: 1 })
    await clock.advance(500)
    expect(progress.heldMs()).toBe(1_500)
    release.resolve()
    expect(await Promise.all([first, second])).toEqual([{ kind: 'done' }, { kind: 'done' }])
    expect(progress.heldMs()).toBe(0)
  })

  it('lets go of a handler that throws', async () => {
    const subscribe = vi.fn(async (_options: SubscribeOptions) => undefined)
    const progress = watchProgress({ subscribe } as unknown as Log, clock)
    const fail = async (): Promise<never> => {
      throw new Error('bug')
    }
    await progress.log.subscribe({ group: 'g', topics: ['t'], from: 'earliest', onBatch: fail, onRevoked: fail })
    await expect(subscribe.mock.calls[0]![0].onRevoked!([])).rejects.toThrow('bug')
    expect(progress.heldMs()).toBe(0)
  })
})
