// The lab's faults as detect reports them: for each, one incident whose first cause is the guilty one.

import { describe, expect, test } from 'vitest'
import type { Anomaly } from '../../../../schemas/anomaly.ts'
import { absence, anAnomaly, closing, edge, edgeSignal, reducer } from './builders.ts'

const GATEWAY = 'lab/gateway@gateway-1'
const ORDERS = 'lab/orders@orders-1'
const PAYMENTS = 'lab/payments@payments-1'
const STORE = 'lab/store@store-1'
const WORKER = 'lab/worker@worker-1'

/** Payments crashes at start: its callers fail at once, its own silence is noticed later. */
const CRASH = [
  edgeSignal('lab/orders', 'lab/payments', 'errors', { atS: 2, severity: 'critical', score: 14 }),
  anAnomaly({ entity: 'lab/orders', metric: 'homeostat.span.error_ratio', atS: 2, severity: 'critical', score: 12 }),
  edgeSignal('lab/gateway', 'lab/orders', 'error_ratio', { atS: 3, score: 9 }),
  anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 3, score: 11 }),
  absence('lab/payments', 'homeostat.span.requests', { atS: 4 }),
  edgeSignal('lab/payments', 'store', 'requests', { atS: 4, direction: 'absent' }),
  anAnomaly({ entity: STORE, metric: 'store.operations', direction: 'below', atS: 5 }),
  absence(PAYMENTS, 'process.memory.usage', { atS: 8, severity: 'critical' })
]

/** Orders hangs (SIGSTOP): time-outs at the gateway, no work below it, then silence. */
const HANG = [
  edgeSignal('lab/gateway', 'lab/orders', 'duration', { atS: 3, score: 15 }),
  edgeSignal('lab/gateway', 'lab/orders', 'errors', { atS: 4, severity: 'critical', score: 15 }),
  anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.duration', atS: 3, attributes: { stat: 'p95' } }),
  anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 4, severity: 'critical' }),
  absence('lab/payments', 'homeostat.span.requests', { atS: 5 }),
  anAnomaly({ entity: STORE, metric: 'store.operations', direction: 'below', atS: 5 }),
  absence(ORDERS, 'process.cpu.utilization', { atS: 9 }),
  absence(ORDERS, 'process.memory.usage', { atS: 9 })
]

/** The store answers slowly: everything above it is slow; it sends no spans itself. */
const SLOW_STORE = [
  edgeSignal('lab/payments', 'store', 'duration', { atS: 1, score: 12, attributes: { stat: 'p95' } }),
  anAnomaly({ entity: 'lab/payments', metric: 'homeostat.span.duration', atS: 1, score: 12 }),
  edgeSignal('lab/orders', 'lab/payments', 'duration', { atS: 2, score: 11 }),
  anAnomaly({ entity: 'lab/orders', metric: 'homeostat.span.duration', atS: 2, score: 11 }),
  edgeSignal('lab/gateway', 'lab/orders', 'duration', { atS: 2, score: 13 }),
  anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.duration', atS: 2, score: 13, severity: 'critical' })
]

/** Payments got a bad configuration and answers some requests with errors, quickly; nothing below it is hurt. */
const BAD_CONFIG = [
  anAnomaly({ entity: 'lab/payments', metric: 'homeostat.span.error_ratio', atS: 1, score: 10, severity: 'critical' }),
  anAnomaly({ entity: 'lab/payments', metric: 'homeostat.log.records', atS: 1, attributes: { severity: 'ERROR' } }),
  edgeSignal('lab/orders', 'lab/payments', 'error_ratio', { atS: 1, score: 10 }),
  anAnomaly({ entity: 'lab/orders', metric: 'homeostat.span.error_ratio', atS: 2, score: 10 }),
  edgeSignal('lab/gateway', 'lab/orders', 'errors', { atS: 2, score: 12, severity: 'critical' }),
  anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 2, score: 12, severity: 'critical' }),
  edgeSignal('lab/payments', 'store', 'requests', { atS: 2, direction: 'below' }),
  anAnomaly({ entity: 'lab/payments', metric: 'homeostat.span.duration', direction: 'below', atS: 2 })
]

/** The worker leaks memory; nobody calls it. */
const LEAK = [
  anAnomaly({ entity: WORKER, metric: 'process.memory.usage', atS: 1, score: 9 }),
  anAnomaly({ entity: WORKER, metric: 'v8js.memory.heap.used', atS: 3, score: 7 })
]

const SERVICE_FAULTS: [string, Anomaly[], { entity: string; signature: string }][] = [
  ['a crash at start', CRASH, { entity: PAYMENTS, signature: 'silent' }],
  ['a hang', HANG, { entity: ORDERS, signature: 'silent' }],
  ['latency in a dependency without spans', SLOW_STORE, { entity: 'store', signature: 'latency' }],
  ['an error burst after a bad configuration', BAD_CONFIG, { entity: 'lab/payments', signature: 'errors' }],
  ['a memory leak', LEAK, { entity: WORKER, signature: 'saturation' }]
]

/** The same faults told by series of the instance, as detect derives them, and by series of the service. */
const FAULTS = [
  ...SERVICE_FAULTS,
  ...SERVICE_FAULTS.map(([name, anomalies, guilty]): (typeof SERVICE_FAULTS)[number] => [
    `${name}, by instance`,
    anomalies.map(anomaly => ({ ...anomaly, entity: instanceOf(anomaly.entity) })),
    { ...guilty, entity: instanceOf(guilty.entity) }
  ])
]

function instanceOf(entity: string): string {
  return entity.includes('@') || !entity.startsWith('lab/') ? entity : `${entity}@${entity.slice('lab/'.length)}-1`
}

describe.each(FAULTS)('%s', (_name, anomalies, guilty) => {
  test('becomes one incident whose first cause is the guilty one', () => {
    const { see, incidents } = reducer()
    see(...anomalies)
    expect(incidents()).toHaveLength(1)
    expect(incidents()[0]!.causes[0]).toMatchObject(guilty)
    expect(incidents()[0]!.causes[0]!.score).toBeGreaterThan(0.65)
  })

  test('ranks the same whatever the order in which the anomalies arrive', () => {
    for (const order of shuffles(anomalies, 40)) {
      const { see, incidents, state } = reducer()
      see(...order)
      const open = [...state.open.values()]
      expect(open, 'one incident stays open').toHaveLength(1)
      expect(open[0]!.incident.causes[0]).toMatchObject(guilty)
      expect(incidents().filter(incident => incident.resolution !== 'merged')).toHaveLength(1)
    }
  })

  test('the guilty one is never outranked by a symptom once it is accused or shows itself', () => {
    const { see, published } = reducer()
    see(...anomalies)
    expect(published.map(incident => incident.causes[0]!.entity.replace(/@.*/, '').replace(/^lab\//, ''))).toEqual(
      published.map(() => guilty.entity.replace(/@.*/, '').replace(/^lab\//, ''))
    )
  })

  test('a replay of every record publishes nothing new', () => {
    const { see, published, feed } = reducer()
    see(...anomalies)
    const count = published.length
    for (const record of anomalies) feed({ kind: 'anomaly', record }, 30)
    expect(published).toHaveLength(count)
  })
})

test('symptoms that came first are re-ranked when the cause shows itself', () => {
  const { see, published } = reducer()
  see(anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 0 }))
  expect(published.at(-1)!.causes[0]!.entity).toBe('lab/gateway')
  see(edgeSignal('lab/gateway', 'lab/orders', 'errors', { atS: 1 }))
  expect(published.at(-1)!.causes[0]).toMatchObject({ entity: 'lab/orders', signature: 'errors' })
  see(absence(ORDERS, 'process.memory.usage', { atS: 8 }))
  expect(published.at(-1)!.causes[0]).toMatchObject({ entity: ORDERS, signature: 'silent' })
  expect(published.at(-1)!.version).toBe(3)
})

test('a store that was seen before is named by its instance though only its callers complain', () => {
  const { see, top } = reducer()
  const old = anAnomaly({ entity: STORE, metric: 'process.memory.usage', atS: -900, severity: 'info' })
  see(old, ...SLOW_STORE)
  expect(top()).toMatchObject({ entity: STORE, signature: 'latency' })
})

test('the store whose clients see errors and whose own telemetry stopped is silent, with a high score', () => {
  const { see, top } = reducer()
  see(edgeSignal('lab/payments', 'store', 'errors', { atS: 1, severity: 'critical' }), absence(STORE, 'store.operations', { atS: 6 }))
  expect(top()).toMatchObject({ entity: STORE, signature: 'silent' })
  expect(top().score).toBeGreaterThan(0.9)
  expect(top().evidence.join('\n')).toContain('sends no telemetry since 2026-01-05T12:00:06.000Z')
})

test('an accused callee that stays well clears itself and the caller is the cause', () => {
  const { see, tick, published } = reducer()
  see(edgeSignal('lab/orders', 'lab/payments', 'errors', { atS: 0 }))
  expect(published.at(-1)!.causes[0]!.entity).toBe('lab/payments')
  tick(30)
  expect(published.at(-1)!.causes[0]!.entity).toBe('lab/payments')
  tick(70)
  expect(published.at(-1)!.causes[0]!.entity).toBe('lab/orders')
  expect(published.at(-1)!.causes[0]!.evidence.join('\n')).toContain('shows no trouble of its own')
})

test('an accused callee without spans cannot clear itself', () => {
  const { see, tick, published } = reducer()
  see(edgeSignal('lab/payments', 'store', 'duration', { atS: 0 }))
  tick(600)
  expect(published.at(-1)!.causes[0]!.entity).toBe('store')
})

test('a caller that complains of all its callees, alone, is the cause itself', () => {
  const edges = [edge('lab/orders', 'lab/payments'), edge('lab/orders', 'lab/mail'), edge('lab/gateway', 'lab/payments'), edge('lab/gateway', 'lab/mail')]
  const { see, top } = reducer({ edges })
  see(edgeSignal('lab/orders', 'lab/payments', 'duration', { atS: 0 }), edgeSignal('lab/orders', 'lab/mail', 'duration', { atS: 0 }))
  expect(top().entity).toBe('lab/orders')
})

test('memory that grew long before the errors is the signature, memory that grew with them is not', () => {
  const grown = reducer()
  grown.see(anAnomaly({ entity: WORKER, metric: 'process.memory.usage', atS: 0 }), anAnomaly({ entity: WORKER, metric: 'worker.job.errors', atS: 45 }))
  expect(grown.top().signature).toBe('saturation')
  const together = reducer()
  together.see(anAnomaly({ entity: WORKER, metric: 'process.memory.usage', atS: 0 }), anAnomaly({ entity: WORKER, metric: 'worker.job.errors', atS: 5 }))
  expect(together.top().signature).toBe('errors')
})

test('a cause whose signs have closed is remembered, and said to be closed, while a symptom lingers', () => {
  const { see, published, tick } = reducer()
  const silent = absence(ORDERS, 'telemetry', { atS: 1 })
  const symptom = anAnomaly({ entity: GATEWAY, metric: 'homeostat.span.duration', atS: 2 })
  see(silent, symptom)
  expect(published.at(-1)!.causes[0]).toMatchObject({ entity: ORDERS, open: true })
  see(closing(silent, 20))
  expect(published.at(-1)!.causes[0]).toMatchObject({ entity: ORDERS, open: false })
  tick(100)
  expect(published.at(-1)!.causes[0]).toMatchObject({ entity: GATEWAY, open: true })
})

test('what is heard again but still fails has another signature', () => {
  const { see, top } = reducer()
  const silent = absence(ORDERS, 'telemetry', { atS: 1 })
  see(silent, edgeSignal(GATEWAY, 'lab/orders', 'errors', { atS: 1 }), closing(silent, 20))
  expect(top()).toMatchObject({ entity: ORDERS, signature: 'errors', open: true })
})

test('of two instances only the troubled one is the target', () => {
  const { see, published } = reducer()
  see(absence('lab/orders@orders-2', 'process.memory.usage', { atS: 1 }), anAnomaly({ entity: ORDERS, metric: 'process.cpu.utilization', atS: 2, score: 20 }))
  expect(published.at(-1)!.causes.map(cause => cause.entity)).toEqual(['lab/orders@orders-2'])
})

test('services that call each other in a circle: the one that broke first leads', () => {
  const { see, top } = reducer({ edges: [edge('a', 'b'), edge('b', 'a')] })
  see(anAnomaly({ entity: 'b', metric: 'homeostat.span.errors', atS: 40 }), anAnomaly({ entity: 'a', metric: 'homeostat.span.errors', atS: 0 }))
  expect(top().entity).toBe('a')
})

function shuffles<T>(items: readonly T[], count: number): T[][] {
  let state = 7
  const next = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
  return Array.from({ length: count }, () =>
    items
      .map(item => [next(), item] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, item]) => item)
  )
}
