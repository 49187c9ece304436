// What belongs to one incident and what does not; storms stay bounded.

import { expect, test } from 'vitest'
import { MEMBERS_MAX } from '../../../../detectors/diagnose/members.ts'
import { absence, anAnomaly, closing, edge, edgeSignal, reducer } from './builders.ts'

const GATEWAY = 'lab/gateway@gateway-1'
const PAYMENTS = 'lab/payments@payments-1'
const WORKER = 'lab/worker@worker-1'
const CRASH = [
  edgeSignal('lab/orders', 'lab/payments', 'errors', { atS: 2, severity: 'critical', score: 14 }),
  anAnomaly({ entity: 'lab/orders', metric: 'homeostat.span.errors', atS: 2, severity: 'critical', score: 12 }),
  absence(PAYMENTS, 'telemetry', { atS: 8, severity: 'critical' })
]

test('healthy noise opens nothing: shadow, info and late closing records', () => {
  const { see, published, effects } = reducer()
  see(
    anAnomaly({ entity: GATEWAY, metric: 'process.memory.usage', severity: 'info' }),
    anAnomaly({ entity: GATEWAY, metric: 'process.cpu.time', shadow: true, severity: 'critical' }),
    closing(anAnomaly({ entity: GATEWAY, metric: 'x' }), 5)
  )
  expect(published).toEqual([])
  expect(effects.filter(effect => effect.kind === 'ignored').map(effect => effect.reason)).toEqual(['info_only', 'shadow', 'unknown_close'])
})

test('troubles without a connection, or far apart in time, are separate incidents', () => {
  const { see, incidents } = reducer()
  see(
    anAnomaly({ entity: WORKER, metric: 'process.memory.usage', atS: 1 }),
    anAnomaly({ entity: 'lab/payments', metric: 'homeostat.span.errors', atS: 2 }),
    closing(anAnomaly({ entity: 'lab/payments', metric: 'homeostat.span.errors', atS: 2 }), 20),
    anAnomaly({ entity: 'lab/orders', metric: 'homeostat.span.errors', atS: 90 })
  )
  expect(incidents()).toHaveLength(3)
})

test('two incidents that a later anomaly joins become one, and the younger ends as merged', () => {
  const edges = ['a', 'b', 'c', 'd', 'e', 'f'].map((name, index, all) => edge(name, all[index + 1] ?? 'g'))
  const { see, state, incidents } = reducer({ edges })
  see(anAnomaly({ entity: 'a', metric: 'homeostat.span.errors', atS: 0 }), anAnomaly({ entity: 'f', metric: 'homeostat.span.errors', atS: 1 }))
  expect(state.open.size).toBe(2)
  see(anAnomaly({ entity: 'c', metric: 'homeostat.span.errors', atS: 2 }))
  expect(state.open.size).toBe(1)
  expect(incidents().find(incident => incident.status === 'resolved')).toMatchObject({ resolution: 'merged' })
  const open = incidents().find(incident => incident.status === 'open')!
  expect(open.members).toHaveLength(3)
  expect(open.causes[0]!.entity).toBe('f')
})

test('a storm of 200 series from one cause is one incident with a bounded list', () => {
  const storm = Array.from({ length: 200 }, (_, index) =>
    anAnomaly({
      entity: `lab/gateway@gateway-${index % 10}`,
      metric: 'homeostat.span.errors',
      attributes: { operation: `op-${index}` },
      atS: 1 + (index % 5),
      score: 9
    })
  )
  const { see, incidents, state } = reducer()
  see(...storm, ...CRASH)
  expect(incidents()).toHaveLength(1)
  const [incident] = incidents()
  expect(incident!.members).toHaveLength(MEMBERS_MAX)
  expect(incident!.membersOmitted).toBe(200 + CRASH.length - MEMBERS_MAX)
  expect(incident!.causes[0]).toMatchObject({ entity: PAYMENTS, signature: 'silent' })
  // Replays of members that are not listed are known too.
  see(...storm)
  expect([...state.open.values()][0]!.incident.membersOmitted).toBe(200 + CRASH.length - MEMBERS_MAX)
})

test('a storm incident stays open while a member that is not listed is', () => {
  const storm = Array.from({ length: 150 }, (_, index) => anAnomaly({ entity: GATEWAY, metric: `m${index}.errors`, atS: 1 }))
  const { see, tick, state } = reducer()
  see(...storm, ...storm.slice(0, 149).map(anomaly => closing(anomaly, 30)))
  tick(120)
  expect(state.open.size).toBe(1)
  see(closing(storm[149]!, 130))
  tick(140)
  tick(210)
  expect(state.open.size).toBe(0)
})

test('the fleet graph is not needed for one entity: its series belong together', () => {
  const { see, incidents } = reducer({ edges: [] })
  see(anAnomaly({ entity: '@web-7', metric: 'system.memory.utilization', atS: 0 }), anAnomaly({ entity: '@web-7', metric: 'system.paging.usage', atS: 20 }))
  expect(incidents()).toHaveLength(1)
  expect(incidents()[0]!.causes[0]).toMatchObject({ entity: '@web-7', signature: 'saturation' })
})

test('environments never mix', () => {
  const { see, incidents } = reducer()
  see(anAnomaly({ entity: GATEWAY, metric: 'a.errors' }), anAnomaly({ entity: GATEWAY, metric: 'b.errors', environment: 'prod' }))
  expect(incidents().map(incident => incident.environment)).toEqual(['lab', 'prod'])
})
