// A step that goes through the instances of a service in stages, as decide orders it: guards, stops, people, restarts.

import { describe, expect, test } from 'vitest'
import { commandSchema } from '../../../../schemas/command.ts'
import { decisionSchema } from '../../../../schemas/decision.ts'
import { aCause, aMember, anIncident, T0 } from './builders.ts'
import { group, memberNames, staged } from './stages-world.ts'
import type { Control } from '../../../../schemas/control.ts'

describe('going through', () => {
  test('one, then half, then all: a stage begins when every member of the one before was verified', () => {
    const { ordered, answer, watch, run, last } = staged()
    expect(ordered()).toEqual(['orders-1'])
    run(2, 9)
    expect(ordered()).toHaveLength(1)
    answer('orders-1', 'healed', 10)
    expect(ordered()).toEqual(['orders-1', 'orders-2'])
    answer('orders-2', 'healed', 20)
    expect(ordered()).toEqual(['orders-1', 'orders-2', 'orders-3', 'orders-4'])
    expect(last().guards.at(-1)).toMatchObject({
      guard: 'stages',
      verdict: 'allow',
      inputs: { stage: 3, stages: 3, member: 4, members: 4, done: 2, inFlight: 1 }
    })
    answer('orders-4', 'healed', 30)
    answer('orders-3', 'healed', 31)
    expect(watch().rollout).toBeNull()
    run(32, 60)
    expect(ordered()).toHaveLength(4)
  })

  test('each member is a decision and a command of its own, complete and in form, with keys of their own', () => {
    const { commands, decisions, answer } = staged()
    answer('orders-1', 'healed', 10)
    answer('orders-2', 'healed', 20)
    expect(decisions().map(decision => decisionSchema.safeParse(decision).success)).toEqual([true, true, true, true])
    expect(commands().map(command => commandSchema.safeParse({ ...command, keyId: 'k', signature: 's' }).success)).toEqual([true, true, true, true])
    expect(decisions().map(({ attempt, target }) => [attempt, target])).toEqual(memberNames(4).map((name, index) => [index + 1, name]))
    expect(new Set(commands().flatMap(({ steps }) => steps.map(step => step.idempotencyKey))).size).toBe(4)
    expect(commands().map(({ rollout }) => [rollout!.stage, rollout!.member, rollout!.members])).toEqual([
      [1, 1, 4],
      [2, 2, 4],
      [3, 3, 4],
      [3, 4, 4]
    ])
    expect(new Set(commands().map(({ rollout }) => rollout!.id)).size).toBe(1)
  })

  test("the cause's own instance is the first; a service as the cause begins with the first that was named", () => {
    const ofInstance = staged({ said: [] })
    ofInstance.control(group(memberNames(3).reverse()), 2)
    expect(ofInstance.ordered()).toEqual(['orders-1'])
    const ofService = staged({ said: [] })
    ofService.incident(anIncident({ version: 2, causes: [aCause({ entity: 'lab/orders' })] }), 2)
    ofService.control(group(memberNames(3).reverse()), 3)
    expect(ofService.ordered()).toEqual(['orders-3'])
  })

  test('within a stage no more at once than the blast radius allows', () => {
    const { ordered, answer, last } = staged({ stages: '[100%]', members: 5 })
    expect(ordered()).toEqual(['orders-1', 'orders-2'])
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: ['blast_radius'], target: 'lab/orders@orders-3' })
    answer('orders-2', 'healed', 10)
    expect(ordered()).toEqual(['orders-1', 'orders-2', 'orders-3'])
  })

  test("one member's heal does not end it though diagnose believes it; the end of the incident does", () => {
    const { ordered, answer, incident } = staged()
    answer('orders-1', 'healed', 10)
    incident(anIncident({ version: 2, attempts: 1, healedAtMs: T0 + 9_000 }), 11)
    answer('orders-2', 'healed', 20)
    expect(ordered()).toHaveLength(4)
    const other = staged()
    other.incident(anIncident({ version: 2, attempts: 1, status: 'resolved', resolution: 'remediated', healedAtMs: T0, resolvedAtMs: T0 }), 11)
    expect(other.state.watches).toEqual({})
    expect(other.ordered()).toEqual(['orders-1'])
  })

  test('what the actuator refused has its turn again, after the cooldown; what needed nothing is done', () => {
    const { ordered, answer, run, last } = staged()
    answer('orders-1', 'refused', 5, { refusedBy: 'maintenance_window' })
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: ['cooldown'], target: 'lab/orders@orders-1' })
    run(6, 16)
    expect(ordered()).toEqual(['orders-1', 'orders-1'])
    answer('orders-1', 'refused', 17, { refusedBy: 'evidence' })
    expect(ordered()).toEqual(['orders-1', 'orders-1', 'orders-2'])
  })
})

describe('who the members are', () => {
  const blocked = (...controls: Control[]) => {
    const { last, ordered } = staged({ said: controls })
    expect(ordered()).toEqual([])
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: ['stages'] })
    return last().guards.at(-1)!.reason
  }

  test('nothing is begun while that is not known, and the reason says why', () => {
    const [one, two, three] = memberNames(3)
    expect(blocked()).toBe('who the members of lab/orders are is not known')
    expect(blocked({ kind: 'group', environment: 'lab', group: 'lab/orders', size: 3, by: 'ada', atMs: T0 })).toContain('not known')
    expect(blocked(group([one!, two!], { atMs: T0 - 2 * 86_400_000 }))).toBe('who the members of lab/orders are was said 48 h ago, 24 h is too long')
    expect(blocked(group([one!, two!], { size: 3 }))).toBe('2 of 3 members of lab/orders are known by name')
    expect(blocked(group([one!, one!]))).toBe('1 of 2 members of lab/orders are known by name')
    expect(blocked(group([one!, 'lab/mail@mail-1']))).toBe('lab/mail@mail-1 is named as a member of lab/orders, and is none')
    expect(blocked(group([two!, three!]))).toBe('lab/orders@orders-1 is not among the members of lab/orders that were named')
    expect(blocked(group([one!, two!], { environment: 'prod' }))).toContain('not known')
  })

  test('a member that is named no more is not acted on', () => {
    const { control, ordered, answer, last } = staged()
    control(group(['lab/orders@orders-1', 'lab/orders@orders-3']), 5)
    answer('orders-1', 'healed', 10)
    expect(ordered()).toEqual(['orders-1'])
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: ['stages'], target: 'lab/orders@orders-2' })
  })
})

describe('stopping', () => {
  test('the first that is not healed stops it: in flight is waited for, then all is taken back, the last first, then people', () => {
    const { ordered, answer, last, state, command } = staged()
    answer('orders-1', 'healed', 10)
    answer('orders-2', 'healed', 20)
    answer('orders-3', 'ineffective', 30)
    expect(ordered()).toHaveLength(4)
    answer('orders-4', 'healed', 35)
    expect(ordered().slice(4)).toEqual(['-orders-4'])
    expect(command('orders-4').steps[0]).toMatchObject({ step: { action: { driver: 'process', verb: 'stop' } } })
    expect(command('orders-4').steps[0]!.step.undo).toBeUndefined()
    expect(command('orders-4')).toMatchObject({ cost: 0, undoes: expect.any(String) })
    answer('orders-4', 'undone', 40)
    answer('orders-2', 'undone', 45)
    answer('orders-1', 'undone', 50)
    expect(ordered().slice(4)).toEqual(['-orders-4', '-orders-2', '-orders-1'])
    expect(last()).toMatchObject({ outcome: 'escalate', blockedBy: expect.arrayContaining(['stages']) })
    expect(last().reason).toContain(
      'lab/orders@orders-3 was ineffective (was ineffective); taken back: lab/orders@orders-1, lab/orders@orders-2, lab/orders@orders-4'
    )
    expect(state.pages).toHaveLength(1)
  })

  test('then the next runbook of the policy has its turn', () => {
    const { answer, commands, run } = staged({ runbooks: '[restart, staged]', stages: '[1, 100%]' })
    // The lightest are in order of name: the single restart is tried first, in vain.
    expect(commands().at(-1)!.runbook).toBe('restart')
    answer('orders-1', 'ineffective', 10)
    expect(commands().at(-1)).toMatchObject({ runbook: 'staged', target: 'lab/orders@orders-1' })
    answer('orders-1', 'inconclusive', 20)
    answer('orders-1', 'undone', 30)
    run(31, 40)
    expect(commands().at(-1)).toMatchObject({ runbook: 'restart', target: 'lab/orders@orders-1' })
    expect(commands().at(-1)!.rollout).toBeUndefined()
  })

  test('a member of which nobody knows is frozen, and what was done before is taken back', () => {
    const { ordered, answer, state, tick, last } = staged({ spec: 'autonomy: auto', runbooks: '[staged, spare]' })
    answer('orders-1', 'healed', 10)
    const { deadlineMs } = state.targets['lab|lab/orders@orders-2']!.attempts[0]!
    tick((deadlineMs - T0) / 1_000)
    expect(state.targets['lab|lab/orders@orders-2']!.frozen).not.toBeNull()
    expect(ordered()).toEqual(['orders-1', 'orders-2', '-orders-1'])
    expect(state.watches['incident-1']!.rollout?.stopped).toContain('orders-2 was unknown')
    answer('orders-1', 'undone', 1_000)
    expect(last()).toMatchObject({ outcome: 'escalate', reason: expect.stringContaining('still as it left them: lab/orders@orders-2') })
  })

  test('taking back teaches nothing, costs nothing, and is no attempt', () => {
    const { answer, state } = staged()
    answer('orders-1', 'healed', 10)
    answer('orders-2', 'ineffective', 20)
    const before = structuredClone([state.learned, state.trust])
    answer('orders-1', 'undone', 30)
    expect([state.learned, state.trust]).toEqual(before)
  })

  test('a release by a person lets it begin anew', () => {
    const { answer, control, ordered, run } = staged({ undo: '' })
    answer('orders-1', 'inconclusive', 10)
    expect(ordered()).toEqual(['orders-1'])
    control({ kind: 'release_target', target: 'lab/orders@orders-1', by: 'ada', atMs: T0 + 20_000 }, 20)
    run(21, 40)
    expect(ordered()).toEqual(['orders-1', 'orders-1'])
  })
})

test('a decide that is restored from its checkpoint at any point goes on at the same stage and orders nothing twice', () => {
  const verdicts = [
    ['orders-1', 'healed'],
    ['orders-2', 'healed'],
    ['orders-3', 'ineffective'],
    ['orders-4', 'healed'],
    ['orders-4', 'undone'],
    ['orders-2', 'undone'],
    ['orders-1', 'undone']
  ] as const
  const whole = staged()
  for (const [index, [member, verdict]] of verdicts.entries()) whole.answer(member, verdict, 10 * (index + 1))
  for (let cut = 0; cut <= verdicts.length; cut++) {
    const first = staged()
    for (const [index, [member, verdict]] of verdicts.slice(0, cut).entries()) first.answer(member, verdict, 10 * (index + 1))
    const second = staged({ state: JSON.parse(JSON.stringify(first.state)) })
    second.tick(10 * cut + 1)
    second.effects.unshift(...first.effects) // Their commands are answered by who comes after.
    for (const [index, [member, verdict]] of verdicts.slice(cut).entries()) second.answer(member, verdict, 10 * (cut + index + 1))
    const ids = second.commands().map(({ id }) => id)
    expect(ids, `restored after ${cut} outcomes`).toEqual(whole.commands().map(({ id }) => id))
    expect(second.last().outcome).toBe('escalate')
  }
})

test('two rollouts of one policy share the blast radius: every act in flight or unverified counts', () => {
  const { incident, answer, ordered, commands, last, control } = staged({ stages: '[100%]', members: 3 })
  expect(ordered()).toEqual(['orders-1', 'orders-2'])
  control({ kind: 'group', environment: 'lab', group: 'lab2/orders', size: 1, members: ['lab2/orders@x'], by: 'ada', atMs: T0 }, 2)
  const cause = aCause({ entity: 'lab2/orders@x' })
  incident(anIncident({ id: 'incident-2', causes: [cause], members: [aMember({ entity: 'lab2/orders@x' })], unknownEntities: [] }), 3)
  expect(commands()).toHaveLength(2)
  expect(last()).toMatchObject({ incidentId: 'incident-2', blockedBy: ['blast_radius'] })
  answer('orders-1', 'healed', 10)
  expect(commands()).toHaveLength(3)
})
