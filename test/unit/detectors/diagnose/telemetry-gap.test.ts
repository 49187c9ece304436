// Many that fall silent at once with nothing else wrong: their telemetry is missing. What is heard decides otherwise.

import { describe, expect, test } from 'vitest'
import { MEMBERS_MAX } from '../../../../detectors/diagnose/members.ts'
import type { Anomaly } from '../../../../schemas/anomaly.ts'
import { absence, anAnomaly, closing, edge, edgeSignal, reducer, T0 } from './builders.ts'

const PATIENCE_S = 50
const SERVICES = ['gateway', 'orders', 'payments', 'worker'] as const
/** A fifth of the patience: the usual interval. */
const INTERVAL_S = PATIENCE_S / 5
const EDGES = [edge('lab/gateway', 'lab/orders'), edge('lab/orders', 'lab/payments'), edge('lab/batch', 'lab/reports')]

/** Heard last at `atS`, missed when its patience is over. */
function silence(service: string, number: number, atS: number, fields: Partial<Anomaly> = {}): Anomaly {
  const detectedAtMs = T0 + (atS + PATIENCE_S) * 1_000
  return absence(`lab/${service}@${service}-${number}`, 'telemetry', { atS, detectedAtMs, severity: 'critical', ...fields })
}
const accusing = (caller: string, peer: string, atS: number, fields: Partial<Anomaly> = {}): Anomaly =>
  edgeSignal(`lab/${caller}`, `lab/${peer}`, 'error_ratio', { atS, severity: 'critical', ...fields })
const givenUp = (anomaly: Anomaly, atS: number): Anomaly => ({ ...closing(anomaly, atS), givenUp: true })

/** Senders report at any phase of their interval: the moments at which they were heard last differ by less than that. */
const BLACKOUT = SERVICES.flatMap((service, index) => [silence(service, 1, 100 + index), silence(service, 2, 105 + index)])
const PAYMENTS = [1, 2, 3].map(number => silence('payments', number, 100 + number))

describe('an environment that falls silent at once', () => {
  test('is one critical incident about its telemetry, connected by calls or not', () => {
    const { see, incidents, top } = reducer({ edges: EDGES })
    see(...BLACKOUT)
    const open = incidents().filter(({ status }) => status !== 'resolved')
    expect(open).toMatchObject([{ severity: 'critical', unknownEntities: BLACKOUT.map(({ entity }) => entity).sort() }])
    expect(open[0]!.title).toBe('no telemetry of 4 services since 12:01:48 UTC: 8 senders silent at once, nobody complains of them')
    expect(top()).toMatchObject({ entity: 'telemetry', signature: 'telemetry_gap', open: true })
    expect(top().evidence).toContain('8 senders fell silent at the same moment, 12:01:48 UTC: gateway, orders, payments, worker')
  })

  test('is a warning when most services are not silent, and says which', () => {
    const { see, incidents, top } = reducer({ edges: EDGES })
    see(silence('orders', 1, 100), silence('worker', 1, 103))
    expect(incidents()).toMatchObject([{ severity: 'warning' }])
    expect(top().evidence).toContain('not silent: batch, gateway, payments, reports')
  })

  test('is a warning when only hosts are silent: each of them would be one', () => {
    const { see, incidents, top } = reducer({ edges: [] })
    see(...['db-1', 'db-2'].map(entity => absence(entity, 'telemetry', { atS: 100, detectedAtMs: T0 + 150_000, service: '' })))
    expect(top().signature).toBe('telemetry_gap')
    expect(incidents().filter(({ status }) => status !== 'resolved')).toMatchObject([{ severity: 'warning' }])
  })

  test('stays open for as long as it is silent, though the detector gives its senders up, and ends when they are heard', () => {
    const { see, tick, incidents } = reducer({ edges: EDGES })
    see(...BLACKOUT, ...BLACKOUT.map(anomaly => givenUp(anomaly, 3_800)))
    tick(7_200)
    expect(incidents()).toMatchObject([{ status: 'open', severity: 'critical' }])
    see(...BLACKOUT.map(anomaly => closing(anomaly, 7_300)))
    tick(7_400)
    expect(incidents()).toMatchObject([{ status: 'resolved', resolution: 'self_healed', severity: 'critical', causes: [{ signature: 'telemetry_gap' }] }])
  })

  test('accuses nobody while senders come back one by one; who stays away for long is judged by itself', () => {
    const { see, tick, top, incidents } = reducer({ edges: EDGES })
    see(...BLACKOUT)
    const [last, ...others] = BLACKOUT.toReversed()
    see(...others.map((anomaly, index) => closing(anomaly, 600 + 5 * index)))
    tick(800)
    expect(top()).toMatchObject({ signature: 'telemetry_gap', open: true })
    tick(960)
    expect(top()).toMatchObject({ entity: last!.entity, signature: 'silent' })
    expect(incidents()[0]!.title).toContain('sends nothing')
  })

  test('ends for those that were removed meanwhile when the others are back', () => {
    const { see, tick, incidents } = reducer({ edges: EDGES })
    const [removed, ...others] = BLACKOUT
    see(...BLACKOUT, givenUp(removed!, 3_800), ...others.map(anomaly => closing(anomaly, 4_000)))
    tick(4_200)
    expect(incidents()).toMatchObject([{ status: 'open', unknownEntities: [removed!.entity] }])
    tick(4_500)
    expect(incidents()).toMatchObject([{ status: 'resolved' }])
  })

  test('ends also when one that was removed had to make room for another in the list', () => {
    const { see, tick, incidents } = reducer()
    const [removed, ...others] = Array.from({ length: MEMBERS_MAX + 1 }, (_, index) => silence(`s${index}`, 1, 100))
    see(removed!, ...others.slice(1), givenUp(removed!, 3_800), others[0]!)
    expect(incidents()).toMatchObject([{ status: 'open', membersOmitted: 1 }])
    see(...others.map(anomaly => closing(anomaly, 4_000)))
    tick(4_500)
    expect(incidents()).toMatchObject([{ status: 'resolved' }])
  })

  test.each([
    ['a caller that is heard complains of one', [accusing('batch', 'orders', 106)]],
    [
      'a caller that is heard fails itself',
      [anAnomaly({ entity: 'lab/batch@batch-1', metric: 'homeostat.span.error_ratio', atS: 104 })],
      edge('lab/batch', 'lab/orders')
    ],
    ['one was in a crash loop', [anAnomaly({ entity: 'lab/orders@orders-1', metric: 'restarts', detector: 'crash_loop', atS: 90 })]]
  ])('is dead or hung when %s', (_why, told, more = edge('lab/batch', 'lab/gateway')) => {
    const { see, incidents } = reducer({ edges: [...EDGES, more] })
    see(...told, silence('orders', 1, 100), silence('worker', 1, 103))
    const causes = incidents().map(incident => incident.causes[0]!)
    expect(causes[0]).toMatchObject({ entity: 'lab/orders@orders-1' })
    expect(causes.map(({ signature }) => signature)).not.toContain('telemetry_gap')
  })

  test('is dead or hung from the moment that a caller complains, also when that is later', () => {
    const { see, top, incidents } = reducer({ edges: [...EDGES, edge('lab/batch', 'lab/orders')] })
    see(silence('orders', 1, 100), silence('worker', 1, 103))
    expect(top().signature).toBe('telemetry_gap')
    see(accusing('batch', 'orders', 160))
    expect(top()).toMatchObject({ entity: 'lab/orders@orders-1', signature: 'silent' })
    expect(incidents()).toMatchObject([{ severity: 'critical' }])
  })

  test('believes no complaint of a caller that is not heard either, nor trouble from before', () => {
    const { see, top } = reducer({ edges: EDGES })
    see(
      accusing('gateway', 'orders', 50, { entity: 'lab/gateway@gateway-1' }),
      anAnomaly({ entity: 'lab/orders@orders-1', metric: 'errors', atS: 60 }),
      ...BLACKOUT
    )
    expect(top().signature).toBe('telemetry_gap')
  })

  test('takes what fell silent at another moment for a matter of its own', () => {
    const { see, incidents } = reducer({ edges: EDGES })
    see(silence('worker', 1, 100), silence('reports', 1, 100 + INTERVAL_S + 2))
    expect(incidents().map(({ causes }) => causes[0]!.signature)).toEqual(['silent', 'silent'])
  })
})

describe('a service whose instances fall silent at once', () => {
  test('is a warning when its callers are heard and see no trouble', () => {
    const { see, incidents, top } = reducer({ edges: EDGES })
    see(...PAYMENTS)
    expect(incidents()).toMatchObject([{ severity: 'warning' }])
    expect(incidents()[0]!.title).toBe('no telemetry of lab/payments since 12:01:43 UTC: 3 instances silent at once, its callers see no trouble')
    expect(top()).toMatchObject({ entity: 'lab/payments', service: 'payments', signature: 'telemetry_gap' })
    expect(top().evidence).toContain('orders, which calls it and is heard, sees no trouble: it may be well')
  })

  test.each<[string, Anomaly[]]>([
    ['a caller complains of it', [accusing('orders', 'payments', 110)]],
    ['its callers call it less', [edgeSignal('lab/orders', 'lab/payments', 'requests', { direction: 'below', atS: 110, severity: 'info' })]],
    ['it was in trouble before', [anAnomaly({ entity: 'lab/payments@payments-1', metric: 'process.memory.usage', atS: 60 })]]
  ])('is dead or hung when %s', (_why, told) => {
    const { see, top } = reducer({ edges: EDGES })
    see(...PAYMENTS.slice(0, 1), ...told, ...PAYMENTS.slice(1))
    expect(top().signature).toBe('silent')
  })

  test('is dead or hung for all that is known when nobody calls it, or nobody did lately', () => {
    const stale = { ...edge('lab/orders', 'lab/payments'), lastSeenMs: T0 - 3_600_000 }
    for (const edges of [[], [edge('lab/payments', 'store', false)], [stale]]) {
      const { see, top, incidents } = reducer({ edges })
      see(...PAYMENTS)
      expect(top().signature).toBe('silent')
      expect(incidents()).toMatchObject([{ severity: 'critical' }])
    }
  })
})

describe('one instance that falls silent', () => {
  test('is what it was, and may be acted upon when none has fallen silent with it', () => {
    const { see, top, incidents } = reducer({ edges: EDGES })
    see(silence('payments', 1, 100))
    expect(incidents()).toMatchObject([{ severity: 'critical' }])
    expect(top()).toMatchObject({ signature: 'silent', waitUntilMs: T0 + (100 + PATIENCE_S + INTERVAL_S) * 1_000 })
  })

  test('waits for nothing when a caller complains or it was in trouble itself', () => {
    for (const told of [accusing('orders', 'payments', 98), anAnomaly({ entity: 'lab/payments@payments-1', metric: 'process.memory.usage', atS: 90 })]) {
      const { see, top } = reducer({ edges: EDGES })
      see(told, silence('payments', 1, 100))
      expect(top().signature).toBe('silent')
      expect(top().waitUntilMs).toBeUndefined()
    }
  })
})
