// The decide reducer over time: when it acts, when it holds back, and that it says so once.

import { describe, expect, test } from 'vitest'
import { GUARDS } from '../../../../actuators/decide/guards/guards.ts'
import { commandSchema } from '../../../../schemas/command.ts'
import { decisionSchema } from '../../../../schemas/decision.ts'
import { aCause, aMember, anIncident, anOutcome, decider, killSwitch, policySet, policyYaml, runbookYaml, T0, TARGET } from './builders.ts'

const AUTO = 'autonomy: auto\ncooldown: {initial: 10s, factor: 2, jitter: 0.1}\nattempts: {max: 3, window: 1h}'
const auto = (spec = AUTO) => decider(policySet(policyYaml(spec), runbookYaml()))

describe('acting', () => {
  test('an incident that every guard allows becomes one decision and one command, complete and in form', () => {
    const { incident, decisions, commands } = auto()
    incident(anIncident(), 1)
    expect(decisions()).toHaveLength(1)
    expect(decisionSchema.safeParse(decisions()[0]).error).toBeUndefined()
    expect(decisions()[0]).toMatchObject({ outcome: 'act', policy: 'orders', runbook: 'restart', target: TARGET, attempt: 1, blockedBy: [] })
    expect(decisions()[0]!.guards).toHaveLength(GUARDS.length)
    const [command] = commands()
    expect(commandSchema.safeParse({ ...command, keyId: 'k', signature: 's' }).error).toBeUndefined()
    expect(command).toMatchObject({
      id: decisions()[0]!.commandId,
      decisionId: decisions()[0]!.id,
      target: TARGET,
      attempt: 1,
      issuedAtMs: T0 + 1_000,
      expiresAtMs: T0 + 61_000
    })
    expect(command!.steps[0]!.idempotencyKey).toMatch(/^[0-9a-f]{32}$/)
  })

  test('while its command is in flight nothing more is decided', () => {
    const { incident, run, decisions } = auto()
    incident(anIncident(), 1)
    incident(anIncident({ version: 2, status: 'acting', attempts: 1 }), 2)
    incident(anIncident({ version: 3, causes: [aCause({ entity: 'lab/orders@orders-2' })] }), 3)
    run(3, 60)
    expect(decisions()).toHaveLength(1)
  })

  test('the same decision computed again after a crash has the same ids', () => {
    const ids = [1, 2].map(seed => {
      const { incident, last, commands } = decider(policySet(policyYaml(AUTO), runbookYaml()), { seed })
      incident(anIncident(), 1)
      return [last().id, commands()[0]!.id, commands()[0]!.steps.map(step => step.idempotencyKey)]
    })
    expect(ids[0]).toEqual(ids[1])
  })

  test('fences grow with every command for a target, also when the clock steps back', () => {
    // The next runbook has no cooldown of its own to wait for; the first one's counts from its issue, whatever the clock says now.
    const runbooks = [runbookYaml(), runbookYaml('rollback')]
    const { incident, outcome, commands, last } = decider(
      policySet(policyYaml(AUTO, 'orders', 'cause.service == "orders"', '[restart, rollback]'), ...runbooks)
    )
    incident(anIncident(), 100)
    outcome(anOutcome(last(), 'ineffective', { recordedAtMs: T0 + 20_000 }), 30)
    expect(
      commands()
        .map(command => command.runbook)
        .sort()
    ).toEqual(['restart', 'rollback'])
    expect(commands()[1]!.fence).toBeGreaterThan(commands()[0]!.fence)
    expect(commands()[1]!.issuedAtMs).toBeLessThan(commands()[0]!.issuedAtMs)
  })

  test('an unhealed attempt is repeated after its cooldown, at 10, 20 and no more than the budget, then people are called once', () => {
    const { incident, outcome, tick, decisions, commands, state, last } = auto()
    incident(anIncident(), 0)
    let answered = 0
    for (let atS = 1; atS < 600; atS++) {
      const open = commands().length > answered ? commands().at(-1)! : undefined
      if (open !== undefined && T0 + atS * 1_000 >= open.issuedAtMs + 5_000) {
        outcome(anOutcome(decisions().findLast(decision => decision.commandId === open.id)!, 'ineffective', { recordedAtMs: T0 + atS * 1_000 }), atS)
        answered++
      }
      tick(atS)
    }
    const gaps = commands().map(command => (command.issuedAtMs - T0) / 1_000)
    expect(commands()).toHaveLength(3)
    expect(gaps[1]! - 5).toBeGreaterThanOrEqual(9)
    expect(gaps[1]! - 5).toBeLessThanOrEqual(12)
    expect(gaps[2]! - gaps[1]! - 5).toBeGreaterThanOrEqual(18)
    expect(gaps[2]! - gaps[1]! - 5).toBeLessThanOrEqual(23)
    expect(last()).toMatchObject({ outcome: 'escalate', blockedBy: expect.arrayContaining(['attempt_budget']) })
    expect(state.pages.filter(page => page.page.action === 'trigger')).toHaveLength(1)
    expect(decisions().map(decision => decision.outcome)).toEqual(['act', 'blocked', 'act', 'blocked', 'act', 'escalate'])
  })
})

describe('not acting', () => {
  test('nothing acts by default: observe records what it would have done, once', () => {
    const { incident, run, decisions, commands } = auto('')
    incident(anIncident(), 1)
    run(2, 100)
    incident(anIncident({ version: 2, members: [aMember(), aMember({ anomalyId: 'a2' })] }), 101)
    expect(decisions().map(decision => decision.outcome)).toEqual(['would_act'])
    expect(decisions()[0]!.blockedBy).toEqual(['autonomy'])
    expect(commands()).toEqual([])
  })

  test('no policy and no runbook for the signature are said, and nobody is paged', () => {
    const other = decider(policySet(policyYaml(AUTO, 'mail', 'cause.service == "mail"'), runbookYaml()))
    other.incident(anIncident(), 1)
    expect(other.last()).toMatchObject({ outcome: 'none', policy: null, blockedBy: ['no_policy'] })
    const unfit = auto()
    unfit.incident(anIncident({ causes: [aCause({ signature: 'latency' })] }), 1)
    expect(unfit.last()).toMatchObject({ outcome: 'none', policy: 'orders', blockedBy: ['no_runbook'] })
    expect(unfit.state.pages).toEqual([])
  })

  test('blocked is not terminal: it acts when the kill switch is turned off', () => {
    const { incident, control, decisions, commands, state } = auto()
    control(killSwitch('environment/lab', true), 0)
    incident(anIncident(), 1)
    expect(decisions()[0]).toMatchObject({ outcome: 'blocked', blockedBy: ['kill_switch'] })
    control(killSwitch('environment/lab', false, T0 + 5_000), 5)
    expect(decisions().map(decision => decision.outcome)).toEqual(['blocked', 'act'])
    expect(commands()).toHaveLength(1)
    expect(state.pages).toEqual([])
  })

  test('what is blocked by several guards lists all of them', () => {
    const { incident, control, last } = auto('autonomy: auto\nconfirmFor: 10m\nmaintenanceWindows: [{schedule: "0 12 * * *", duration: 2h}]')
    control(killSwitch('global', true), 0)
    incident(anIncident(), 1)
    expect(last().blockedBy).toEqual(['evidence', 'maintenance_window', 'kill_switch'])
  })

  test('a wait ends by time alone, and its record is written when the answer changes', () => {
    const { incident, run, decisions } = auto('autonomy: auto\nconfirmFor: 30s')
    incident(anIncident(), 1)
    run(2, 40)
    expect(decisions().map(({ outcome, decidedAtMs }) => [outcome, (decidedAtMs - T0) / 1_000])).toEqual([
      ['blocked', 1],
      ['act', 30]
    ])
  })

  test('a fault that is over before it was confirmed is not acted upon', () => {
    const { incident, run, commands } = auto('autonomy: auto\nconfirmFor: 30s')
    incident(anIncident(), 1)
    incident(anIncident({ version: 2, members: [aMember({ closedAtMs: T0 + 10_000 })] }), 10)
    run(11, 100)
    expect(commands()).toEqual([])
  })

  test('incidents of foreign environments and old versions are ignored, with a reason', () => {
    const { incident, effects, decisions } = auto()
    incident(anIncident({ environment: 'prod' }), 1)
    incident(anIncident({ version: 5, causes: [] }), 2)
    incident(anIncident({ version: 4 }), 3)
    expect(effects.filter(effect => effect.kind === 'ignored').map(effect => effect.reason)).toEqual(['environment', 'old_version'])
    expect(decisions().map(decision => decision.outcome)).toEqual(['none'])
  })
})

describe('outcomes', () => {
  test('a healed incident is left alone, and acted on again only when diagnose says that it is not healthy after all', () => {
    const { incident, outcome, run, decisions, last, commands } = auto()
    incident(anIncident(), 0)
    incident(anIncident({ version: 2, status: 'acting', attempts: 1 }), 1)
    outcome(anOutcome(last(), 'healed', { recordedAtMs: T0 + 20_000 }), 20)
    incident(anIncident({ version: 3, status: 'acting', attempts: 1 }), 21) // Written before diagnose knew of the outcome.
    run(21, 100)
    expect(commands()).toHaveLength(1)
    incident(anIncident({ version: 4, attempts: 1, healedAtMs: T0 + 19_000 }), 101)
    run(101, 150)
    expect(commands()).toHaveLength(1)
    incident(anIncident({ version: 5, attempts: 1 }), 151)
    expect(commands()).toHaveLength(2)
    expect(decisions().at(-1)).toMatchObject({ outcome: 'act', attempt: 2 })
  })

  test('a healed verdict that diagnose contradicts at once does not hold the next attempt back', () => {
    const { incident, outcome, run, last, commands } = auto()
    incident(anIncident(), 0)
    incident(anIncident({ version: 2, status: 'acting', attempts: 1 }), 1)
    outcome(anOutcome(last(), 'healed', { recordedAtMs: T0 + 20_000 }), 20)
    incident(anIncident({ version: 3, attempts: 1 }), 21)
    run(22, 60)
    expect(commands()).toHaveLength(2)
  })

  test('a harmful runbook is put in quarantine for the target, the next candidate takes over, with people from then on', () => {
    const set = policySet(
      policyYaml(AUTO, 'orders', 'cause.service == "orders"', '[restart, rollback]'),
      runbookYaml(),
      runbookYaml('rollback', 'risk: medium\nsignatures: [silent]')
    )
    const { incident, outcome, control, run, last, commands, state } = decider(set)
    const members = [
      aMember(),
      aMember({ anomalyId: 'a2', entity: 'lab/gateway', metric: 'homeostat.edge.errors', attributes: { peer: 'lab/orders' }, direction: 'above' })
    ]
    incident(anIncident({ members }), 0)
    outcome(anOutcome(last(), 'harmful'), 5)
    run(6, 400)
    expect(last()).toMatchObject({ outcome: 'ask', runbook: 'rollback', autonomy: 'approve' })
    control({ kind: 'approval', incidentId: 'incident-1', decisionId: last().id, approved: true, by: 'ada', atMs: T0 + 401_000 }, 401)
    expect(commands().map(command => command.runbook)).toEqual(['restart', 'rollback'])
    expect(state.learned).toEqual({ 'restart|silent': { successes: 0, failures: 1 } })
  })

  test('an unknown outcome freezes the target and calls people once; a release lets it be tried again', () => {
    const { incident, outcome, control, run, last, decisions, commands, state } = auto()
    incident(anIncident(), 0)
    outcome(anOutcome(last(), 'unknown'), 5)
    run(6, 200)
    expect(last()).toMatchObject({ outcome: 'escalate', blockedBy: expect.arrayContaining(['target_frozen']) })
    expect(state.pages).toHaveLength(1)
    control({ kind: 'release_target', target: TARGET, by: 'ada', atMs: T0 + 201_000 }, 201)
    expect(decisions().at(-1)!.outcome).toBe('act')
    expect(commands()).toHaveLength(2)
  })

  test('a command without an outcome past its deadline is an orphan: frozen, people are called', () => {
    const { incident, run, tick, last, commands, state } = auto()
    incident(anIncident(), 0)
    const deadlineS = (state.targets[`lab|${TARGET}`]!.attempts[0]!.deadlineMs - T0) / 1_000
    run(1, deadlineS - 1)
    expect(state.pages).toEqual([])
    tick(deadlineS)
    expect(last()).toMatchObject({ outcome: 'escalate' })
    expect(commands()).toHaveLength(1)
    expect(state.pages).toHaveLength(1)
  })

  test('what became of an orphan is heard, also when it was recorded in the millisecond in which it was given up', () => {
    const { incident, outcome, tick, decisions, state } = auto()
    incident(anIncident(), 0)
    const { deadlineMs } = state.targets[`lab|${TARGET}`]!.attempts[0]!
    tick((deadlineMs - T0) / 1_000)
    outcome(anOutcome(decisions()[0]!, 'ineffective', { recordedAtMs: deadlineMs }), (deadlineMs - T0) / 1_000 + 1)
    expect(state.targets[`lab|${TARGET}`]).toMatchObject({ frozen: null, attempts: [{ verdict: 'ineffective' }] })
    expect(state.learned['restart|silent']).toEqual({ successes: 0, failures: 1 })
  })

  test('a redelivered outcome teaches nothing twice', () => {
    const { incident, outcome, last, state } = auto()
    incident(anIncident(), 0)
    const record = anOutcome(last(), 'ineffective')
    outcome(record, 5)
    outcome(record, 6)
    expect(state.learned['restart|silent']).toEqual({ successes: 0, failures: 1 })
  })

  test.each(['inconclusive', 'unknown', 'refused'] as const)('a %s outcome says nothing about the runbook', verdict => {
    const { incident, outcome, last, state } = auto()
    incident(anIncident(), 0)
    outcome(anOutcome(last(), verdict), 5)
    expect(state.learned).toEqual({})
  })
})

test('changed policies are applied to open incidents', () => {
  const { incident, feed, rules, last } = auto('')
  incident(anIncident(), 0)
  expect(last().outcome).toBe('would_act')
  rules.policies = policySet(policyYaml(AUTO), runbookYaml())
  feed({ kind: 'policies_changed' }, 1)
  expect(last().outcome).toBe('act')
})

test('a state that comes to an instance with other policies is decided again by them, once', () => {
  const { incident, tick, rules, state, last, decisions } = auto('')
  incident(anIncident(), 0)
  tick(1)
  const before = rules.policies.version
  expect(state.policiesVersion).toBe(before)
  rules.policies = policySet(policyYaml(AUTO), runbookYaml())
  tick(2)
  expect(last()).toMatchObject({ outcome: 'act', policyVersion: rules.policies.policies[0]!.version })
  tick(3)
  expect(decisions().map(({ outcome }) => outcome)).toEqual(['would_act', 'act'])
  expect(state.policiesVersion).not.toBe(before)
})
