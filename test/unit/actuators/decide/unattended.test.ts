// Incidents that stay blocked: people are called once, after the time that the policy names, and not while people hold it back.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { explain } from '../../../../actuators/decide/explain-text.ts'
import type { DecideRules } from '../../../../actuators/decide/decide.ts'
import type { Control } from '../../../../schemas/control.ts'
import { escalationSchema } from '../../../../schemas/escalation.ts'
import type { Incident } from '../../../../schemas/incident.ts'
import { aCause, aMember, anIncident, anOutcome, decider, killSwitch, policySet, policyYaml, runbookYaml, T0, TARGET } from './builders.ts'

const AUTO = 'autonomy: auto\ncooldown: {jitter: 0}'
const RISKY = runbookYaml('restart', 'risk: medium\nsignatures: [silent, errors]')
/** Nobody knows how the caller is: a risky act waits for its telemetry. */
const BLIND = { unknownEntities: ['lab/cart@cart-1'] }
const OTHER = { id: 'incident-2', startedAtMs: T0 + 200_000, openedAtMs: T0 + 200_000 }

function world(spec = AUTO, runbook = RISKY) {
  const one = decider(policySet(policyYaml(spec), runbook))
  const sent = (action: 'trigger' | 'resolve') => one.state.pages.filter(({ page }) => page.action === action)
  return { ...one, triggers: () => sent('trigger'), resolves: () => sent('resolve') }
}

const over = (fields: Partial<Incident> = {}) => anIncident({ version: 9, status: 'resolved', resolution: 'self_healed', ...fields })
const at = (seconds: number) => T0 + seconds * 1_000

describe('an incident that stays blocked', () => {
  const reasons: [string, string, Partial<Incident>, string][] = [
    ['missing telemetry', AUTO, BLIND, 'freshness'],
    ['an unsure cause', AUTO, { causes: [aCause({ score: 0.3 })], unknownEntities: [] }, 'evidence'],
    [
      'signs of the cause that closed while others are open',
      AUTO,
      { causes: [aCause({ open: false })], members: [aMember({ entity: 'lab/cart@cart-1' })], unknownEntities: [] },
      'evidence'
    ],
    ['a lack of runbooks for it', AUTO, { causes: [aCause({ signature: 'latency' })], unknownEntities: [] }, 'no_runbook']
  ]
  test.each(reasons)('by %s calls people after five minutes, once', (_name, spec, fields, guard) => {
    const { incident, run, last, decisions, triggers, state } = world(spec)
    incident(anIncident(fields), 0)
    expect(last()).toMatchObject({ blockedBy: [guard], calledPeople: false, callAtMs: at(300) })
    run(1, 299)
    expect(triggers()).toEqual([])
    run(300, 2_000)
    expect(triggers().map(({ channel, page }) => [channel, page.dedupKey, page.urgency])).toEqual([['default', 'incident-1', 'page']])
    expect(decisions().map(({ outcome, calledPeople, decidedAtMs }) => [outcome, calledPeople, decidedAtMs])).toEqual([
      [last().outcome, false, at(0)],
      [last().outcome, true, at(300)]
    ])
    expect(state.pages[0]!.page.details.blockedBy).toEqual([
      { guard, reason: expect.stringMatching(/./) as string, counterfactual: expect.stringMatching(/./) as string }
    ])
    incident(over(), 2_001)
    expect(state.pages.map(({ page }) => [page.action, page.dedupKey])).toEqual([
      ['trigger', 'incident-1'],
      ['resolve', 'incident-1']
    ])
  })

  test('says in the page why it is blocked and what would change that', () => {
    const { incident, run, triggers } = world()
    incident(anIncident(BLIND), 0)
    run(1, 300)
    expect(triggers()[0]!.page.summary).toBe(
      `orders sends nothing: nothing was done about it for 5 min: restart on ${TARGET} is blocked: lab/cart@cart-1 is unknown (no telemetry): a medium-risk act could not be verified. What would change that: Telemetry of these entities, or a low-risk runbook.`
    )
  })

  test('still acts when the block ends, and its end is told', () => {
    const { incident, run, last, commands, resolves } = world()
    incident(anIncident(BLIND), 0)
    run(1, 400)
    incident(anIncident({ version: 2, unknownEntities: [] }), 401)
    expect(last()).toMatchObject({ outcome: 'act', calledPeople: false, callAtMs: null })
    expect(commands()).toHaveLength(1)
    incident(over(), 500)
    expect(resolves()).toHaveLength(1)
  })

  test('after a time of its own where the policy names one', () => {
    const { incident, run, triggers } = world(`${AUTO}\nescalate: {blockedFor: 20s, channels: [desk]}`)
    incident(anIncident(BLIND), 0)
    run(1, 19)
    expect(triggers()).toEqual([])
    run(20, 20)
    expect(triggers().map(({ channel }) => channel)).toEqual(['desk'])
  })

  test('counts anew from each act', () => {
    const { incident, outcome, run, last, triggers } = world(`${AUTO}\nattempts: {max: 5}\nescalate: {blockedFor: 90s}`)
    incident(anIncident({ unknownEntities: [] }), 0)
    incident(anIncident({ version: 2, ...BLIND }), 30)
    outcome(anOutcome(last(), 'ineffective', { recordedAtMs: at(80) }), 80)
    run(81, 169)
    expect(triggers()).toEqual([])
    run(170, 170)
    expect(triggers()).toHaveLength(1)
  })

  test.each([
    ['observe', 0],
    ['suggest', 0],
    ['approve', 1],
    ['auto', 1]
  ])('at level %s calls %i times', (level, count) => {
    const { incident, run, triggers } = world(`autonomy: ${level}`)
    incident(anIncident(BLIND), 0)
    run(1, 1_000)
    expect(triggers()).toHaveLength(count)
  })

  test('calls also when its policy lost the level that its file names', () => {
    const { incident, run, last, state, triggers } = world(AUTO, runbookYaml())
    state.trust.orders = { demotions: [0, 1].map(atMs => ({ atMs, reason: 'did harm' })), trials: [], proposed: null }
    incident(anIncident({ unknownEntities: [] }), 0)
    expect(last()).toMatchObject({ outcome: 'would_act', autonomy: 'suggest' })
    run(1, 300)
    expect(triggers().filter(({ page }) => page.dedupKey === 'incident-1')).toHaveLength(1)
  })

  test('that no policy matches calls nobody: no policy says whom', () => {
    const other = decider(policySet(policyYaml(AUTO, 'mail', 'cause.service == "mail"'), runbookYaml()))
    other.incident(anIncident(), 1)
    other.run(2, 1_000)
    expect(other.state.pages).toEqual([])
  })

  test('is no ticket that waits: what does not page calls nobody, until it is as severe as a page', () => {
    const { state, rules } = world()
    const escalation = escalationSchema.parse({ pageFrom: 'critical' })
    const one = decider(rules.policies, { state })
    Object.assign(one.rules, { escalation } satisfies Partial<DecideRules>)
    one.incident(anIncident({ ...BLIND, severity: 'warning' }), 0)
    one.run(1, 1_000)
    expect(state.calls).toEqual({})
    one.incident(anIncident({ ...BLIND, version: 2 }), 1_001)
    one.run(1_002, 1_301)
    expect(Object.keys(state.calls)).toEqual(['incident-1'])
  })

  test('that somebody has already calls nobody else', () => {
    const { incident, control, run, triggers } = world()
    incident(anIncident(BLIND), 0)
    control({ kind: 'acknowledgement', incidentId: 'incident-1', by: 'ada', atMs: at(100) }, 100)
    run(101, 1_000)
    expect(triggers()).toEqual([])
  })

  test('of a checkpoint of an earlier release is counted from the first look on', () => {
    const { incident, run, state, triggers } = world()
    incident(anIncident(BLIND), 0)
    Object.assign(state.watches['incident-1']!, { unattended: undefined, retryAtMs: null })
    run(1_000, 1_299)
    expect(triggers()).toEqual([])
    run(1_300, 1_300)
    expect(triggers()).toHaveLength(1)
  })

  test('is not counted longer or shorter by a step of the clock', () => {
    const { incident, feed, run, triggers } = world()
    incident(anIncident(BLIND), 0)
    run(1, 100)
    feed({ kind: 'clock_step', byMs: 3_600_000 }, 3_700)
    run(3_701, 3_899)
    expect(triggers()).toEqual([])
    run(3_900, 3_900)
    expect(triggers()).toHaveLength(1)
  })
})

describe('time that does not count', () => {
  const maintenance: Control = { kind: 'maintenance', id: 'm', match: TARGET, fromMs: T0, toMs: at(600), by: 'ada', atMs: T0 }
  const change: Control = {
    kind: 'change',
    id: 'c',
    environment: 'lab',
    target: TARGET,
    actor: 'ada',
    what: 'manual',
    fromMs: T0,
    toMs: T0,
    by: 'ada',
    atMs: T0
  }
  const held: [string, Control, number][] = [
    ['announced maintenance', maintenance, 600],
    ["hands off after another's change", change, 600],
    ['a deploy and its settling', { ...change, what: 'deploy', toMs: at(300) }, 600]
  ]
  test.each(held)('%s: people are called five minutes after its end', (_name, control, endsS) => {
    const one = world(`${AUTO}\nownership: {handsOff: 10m}`)
    one.control(control, 0)
    one.incident(anIncident(BLIND), 1)
    expect(one.last().callAtMs).toBeNull()
    one.run(2, endsS + 299)
    expect(one.triggers()).toEqual([])
    one.run(endsS + 300, endsS + 300)
    expect(one.triggers()).toHaveLength(1)
  })

  test('the kill switch: what was counted before goes on when it is off', () => {
    const { incident, control, run, triggers } = world()
    incident(anIncident(BLIND), 0)
    run(1, 200)
    control(killSwitch('global', true, at(200)), 200)
    run(201, 5_000)
    control(killSwitch('global', false, at(5_000)), 5_000)
    run(5_001, 5_099)
    expect(triggers()).toEqual([])
    run(5_100, 5_100)
    expect(triggers()).toHaveLength(1)
  })

  test('while the incident is still being watched, as the policy wants', () => {
    const { incident, run, triggers } = world(`${AUTO}\nconfirmFor: 20m`)
    incident(anIncident(BLIND), 0)
    run(1, 1_499)
    expect(triggers()).toEqual([])
    run(1_500, 1_500)
    expect(triggers()).toHaveLength(1)
  })

  test('while no sign of trouble is open: it is over', () => {
    const { incident, run, triggers } = world()
    incident(anIncident({ ...BLIND, members: [aMember({ closedAtMs: at(1) })] }), 1)
    run(2, 3_000)
    expect(triggers()).toEqual([])
  })
})

test('an incident on a target that people were called about lately calls them when it does not pass', () => {
  const { incident, outcome, feed, last, triggers, resolves } = world(`${AUTO}\nattempts: {max: 1, window: 1h}`, runbookYaml())
  incident(anIncident(), 0)
  outcome(anOutcome(last(), 'ineffective'), 60)
  incident(over(), 100)
  expect(triggers()).toHaveLength(1)
  incident(anIncident(OTHER), 200)
  expect(last()).toMatchObject({ incidentId: 'incident-2', outcome: 'escalate', calledPeople: false, callAtMs: at(500) })
  expect(explain(anIncident(OTHER), [last()]).join('\n')).toMatch(
    /It gave up\.\n[\s\S]*People were called about .* before; for this incident they are at 12:08:20Z unless/
  )
  feed({ kind: 'call_due', incidentId: 'incident-2' }, 499)
  expect(triggers()).toHaveLength(1)
  feed({ kind: 'call_due', incidentId: 'incident-2' }, 500)
  expect(triggers()).toHaveLength(2)
  incident(over(OTHER), 600)
  expect(resolves().map(({ page }) => page.dedupKey)).toEqual(['incident-1', 'incident-2'])
})

test('whatever happens, a blocked incident calls people in time: never twice, and never while people hold it back', () => {
  const move = fc.oneof(
    fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ kind: fc.constant('switch' as const), on: fc.boolean() }),
    fc.record({ kind: fc.constant('see' as const), blind: fc.nat(9).map(chance => chance > 0), open: fc.boolean() })
  )
  const BLOCKED_S = 120
  let calls = 0
  fc.assert(
    fc.property(fc.array(move, { maxLength: 30 }), moves => {
      const { incident, control, tick, commands, triggers } = world(`${AUTO}\nescalate: {blockedFor: ${BLOCKED_S}s}`)
      let [atS, version, countedS, isOff, isOpen, isBlind] = [0, 1, 0, false, true, true]
      incident(anIncident(BLIND), 0)
      for (const step of moves) {
        if (step.kind === 'wait') {
          for (let second = 0; second < step.seconds && commands().length === 0; second++) {
            tick(++atS)
            if (!isOff && isOpen) countedS++
            expect(triggers()).toHaveLength(countedS >= BLOCKED_S ? 1 : 0)
          }
        } else if (step.kind === 'switch') {
          isOff = step.on
          control(killSwitch('global', isOff, at(atS)), atS)
        } else {
          isOpen = step.open
          isBlind = step.blind
          const members = [aMember(isOpen ? {} : { closedAtMs: at(atS) })]
          incident(anIncident({ version: ++version, members, unknownEntities: isBlind ? BLIND.unknownEntities : [] }), atS)
        }
      }
      calls += triggers().length
    }),
    { numRuns: 200 }
  )
  expect(calls).toBeGreaterThan(20) // Else the test says nothing.
})

test('the explanation says when people will be called, then since when they know, and what to type', () => {
  const { incident, run, decisions } = world()
  const blind = anIncident(BLIND)
  incident(blind, 0)
  const before = explain(blind, decisions()).join('\n')
  expect(before).toContain('Nobody was called yet; people are at 12:05:00Z unless it acts before.')
  expect(before).toContain('homeostat acknowledge incident')
  run(1, 300)
  const after = explain(blind, decisions()).join('\n')
  expect(after).toContain('People were called at 12:05:00Z, for it was not acting.')
  expect(after).toContain(`12:05:00Z  did not act yet, and called people: restart on ${TARGET}`)
})
