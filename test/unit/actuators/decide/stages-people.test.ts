// People and a step that goes through members in stages: what holds it back, what they are asked, what they are told.

import { describe, expect, test } from 'vitest'
import { explain } from '../../../../actuators/decide/explain-text.ts'
import { killSwitch, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'
import { staged } from './stages-world.ts'

const APPROVE = 'autonomy: approve\ncooldown: {initial: 10s, jitter: 0}\nblastRadius: {concurrentMax: 4}'

describe('people', () => {
  test.each([
    ['a kill switch', killSwitch('environment/lab', true, T0 + 5_000), killSwitch('environment/lab', false, T0 + 60_000), 'kill_switch'],
    ['maintenance', maintenance(T0 + 50_000), maintenance(T0 + 60_000), 'maintenance_window'],
    ["another's change of the next member", change(null), { kind: 'release_target', target: 'lab/orders@orders-2', by: 'ada', atMs: T0 + 60_000 }, 'ownership']
  ] as const)('%s holds the next stage back, and its end lets it go on', (_what, on, off, guard) => {
    const { answer, control, ordered, run, last } = staged()
    control(on, 5)
    answer('orders-1', 'healed', 10)
    run(11, 40)
    expect(ordered()).toEqual(['orders-1'])
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: [guard], target: 'lab/orders@orders-2' })
    control(off, 60)
    run(61, 62)
    expect(ordered()).toEqual(['orders-1', 'orders-2'])
  })

  test('a kill switch holds taking back, too', () => {
    const { answer, control, ordered, last } = staged()
    answer('orders-1', 'healed', 10)
    control(killSwitch('global', true, T0 + 15_000), 15)
    answer('orders-2', 'ineffective', 20)
    expect(ordered()).toEqual(['orders-1', 'orders-2'])
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: ['kill_switch'], target: 'lab/orders@orders-1' })
    control(killSwitch('global', false, T0 + 30_000), 30)
    expect(ordered()).toEqual(['orders-1', 'orders-2', '-orders-1'])
  })

  test('a yes is for one stage', () => {
    const { answer, control, ordered, last, decisions } = staged({ spec: APPROVE })
    const approve = (atS: number) =>
      control({ kind: 'approval', incidentId: 'incident-1', decisionId: last().id, approved: true, by: 'ada', atMs: T0 + atS * 1_000 }, atS)
    expect(last().outcome).toBe('ask')
    approve(5)
    expect(ordered()).toEqual(['orders-1'])
    answer('orders-1', 'healed', 10)
    expect(last()).toMatchObject({ outcome: 'ask', target: 'lab/orders@orders-2' })
    approve(15)
    answer('orders-2', 'healed', 20)
    expect(last()).toMatchObject({ outcome: 'ask', target: 'lab/orders@orders-3' })
    approve(25)
    expect(ordered()).toEqual(['orders-1', 'orders-2', 'orders-3', 'orders-4'])
    expect(decisions().filter(({ outcome }) => outcome === 'ask')).toHaveLength(3)
  })

  test('a changed policy decides anew once nothing is in flight', () => {
    const { answer, rules, feed, ordered, watch, command } = staged()
    answer('orders-1', 'healed', 10)
    rules.policies = policySet(policyYaml('autonomy: auto\nblastRadius: {concurrentMax: 3}', 'orders', 'cause.service == "orders"', '[restart]'), runbookYaml())
    feed({ kind: 'policies_changed' }, 12)
    expect(ordered()).toEqual(['orders-1', 'orders-2'])
    expect(watch().rollout).not.toBeNull()
    answer('orders-2', 'healed', 20)
    expect(watch().rollout).toBeNull()
    expect(command('orders-2').runbook).toBe('staged')
  })

  test('explain says which stage, who was acted on, and why it stopped', () => {
    const { answer, decisions, last, watch } = staged()
    answer('orders-1', 'healed', 10)
    const going = explain(watch().incident, decisions()).join('\n')
    expect(going).toContain('It is acting: staged on lab/orders@orders-2.')
    expect(going).toContain('Stage 2 of 3: 1 of 4 members verified')
    answer('orders-2', 'ineffective', 20)
    const back = explain(watch().incident, decisions()).join('\n')
    expect(back).toContain('Stage 1 of 3, being taken back')
    expect(back).toContain('takes back what was done to lab/orders@orders-1: lab/orders@orders-2 was ineffective')
    answer('orders-1', 'undone', 30)
    const over = explain(watch().incident, decisions()).join('\n')
    expect(last().outcome).toBe('escalate')
    expect(over).toContain('staged was stopped: lab/orders@orders-2 was ineffective (was ineffective); taken back: lab/orders@orders-1')
    expect(over).toContain('homeostat release lab/orders@orders-1')
  })
})

function maintenance(toMs: number) {
  return { kind: 'maintenance', id: 'work', match: 'lab', fromMs: T0 + 5_000, toMs, by: 'ada', atMs: T0 + 5_000 } as const
}

function change(toMs: number | null) {
  const what = { id: 'c', environment: 'lab', target: 'lab/orders@orders-2', actor: 'bob', what: 'manual', by: 'bob' } as const
  return { kind: 'change', ...what, fromMs: T0 + 5_000, toMs, atMs: T0 + 5_000 } as const
}
