// Who is guilty when processes keep crashing: what they call and cannot reach, or they themselves.

import { expect, test } from 'vitest'
import { anAnomaly, closing, edge, edgeSignal, reducer } from './builders.ts'

const PODS = ['lab/checkout@checkout-1', 'lab/checkout@checkout-2', 'lab/checkout@checkout-3']
const EDGES = [edge('lab/checkout', 'ledger', false)]

const loop = (entity: string, atS: number) =>
  anAnomaly({ entity, metric: 'k8s.container.restarts', detector: 'crash_loop', severity: 'critical', observed: 3, expected: 0, score: 6, atS })
const unready = (entity: string, atS: number) =>
  anAnomaly({ entity, metric: 'k8s.container.ready', direction: 'below', severity: 'critical', observed: 0, atS })

test('a dependency that times out is the cause of the crash loops of those who call it', () => {
  const world = reducer({ edges: EDGES })
  for (const pod of PODS) world.see(edgeSignal(pod, 'ledger', 'duration', { atS: 2, score: 15 }), loop(pod, 3), unready(pod, 3))
  expect(world.incidents()).toHaveLength(1)
  expect(world.top()).toMatchObject({ entity: 'ledger', signature: 'latency', open: true })
  expect(world.published.at(-1)!.causes[1]).toMatchObject({ service: 'checkout', signature: 'crash_loop' })
})

test('it stays the cause while they wait for their next start and cannot complain', () => {
  const world = reducer({ edges: EDGES, config: { groupWindow: 20_000, resolveAfter: 5_000 } })
  const complaints = PODS.map(pod => edgeSignal(pod, 'ledger', 'errors', { atS: 2, score: 15 }))
  world.see(...complaints, ...PODS.map(pod => loop(pod, 3)))
  world.see(...complaints.map(complaint => closing(complaint, 12)))
  world.tick(120)
  expect(world.top()).toMatchObject({ entity: 'ledger', open: true })
})

test('and is no more once the loops are over', () => {
  const world = reducer({ edges: EDGES, config: { groupWindow: 20_000, resolveAfter: 5_000 } })
  const complaint = edgeSignal(PODS[0]!, 'ledger', 'errors', { atS: 2, score: 15 })
  const loops = PODS.map(pod => loop(pod, 3))
  world.see(complaint, ...loops, closing(complaint, 12), ...loops.map(each => closing(each, 60)))
  expect(world.top().open).toBe(false)
  world.tick(200)
  expect(world.incidents()).toMatchObject([{ status: 'resolved' }])
})

test('without a complaint about anything below it the process itself is the cause', () => {
  const world = reducer({ edges: EDGES })
  world.see(
    loop(PODS[1]!, 3),
    unready(PODS[1]!, 3),
    anAnomaly({ entity: PODS[1]!, metric: 'homeostat.log.records', attributes: { severity: 'ERROR' }, atS: 4 })
  )
  expect(world.top()).toMatchObject({ entity: PODS[1], signature: 'crash_loop' })
  expect(world.published.at(-1)!.title).toBe('lab/checkout@checkout-2 keeps crashing')
})

test('one that falls silent between its starts still keeps crashing', () => {
  const world = reducer({ edges: EDGES })
  world.see(loop(PODS[0]!, 3), anAnomaly({ entity: PODS[0]!, metric: 'telemetry', direction: 'absent', observed: null, severity: 'critical', atS: 9 }))
  expect(world.top()).toMatchObject({ entity: PODS[0], signature: 'crash_loop' })
})
