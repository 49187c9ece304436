// The replay of recorded incidents by other policies: repeatable, true to what happened where it happened, and honest where it did not.

import { describe, expect, test } from 'vitest'
import { differenceOf } from '../../../../actuators/decide/policy-difference.ts'
import { type RecordedHistory, simulatePolicies } from '../../../../actuators/decide/policy-simulate.ts'
import type { PolicySet } from '../../../../actuators/decide/policy-file.ts'
import type { Command } from '../../../../schemas/command.ts'
import type { Control } from '../../../../schemas/control.ts'
import type { Incident } from '../../../../schemas/incident.ts'
import type { Outcome, Verdict } from '../../../../schemas/outcome.ts'
import { aCause, anIncident, anOutcome, decider, killSwitch, policySet, policyYaml, runbookYaml, T0, TARGET } from './builders.ts'
import { group, memberNames, stagedYaml } from './stages-world.ts'

const AUTO = 'autonomy: auto\ncooldown: {initial: 10s, jitter: 0}\nattempts: {max: 2, window: 1h}'
const current = policySet(policyYaml(AUTO), runbookYaml())
const END_S = 600

/** What one instance with these policies decides and does while these things happen, as records; verdicts come 8 s after their command. */
function recordedBy(
  set: PolicySet,
  options: { verdicts: Verdict[]; incidents?: { atS: number; incident: Incident }[]; controls?: { atS: number; control: (decisionId: string) => Control }[] }
): RecordedHistory {
  const machine = decider(set)
  const incidents = options.incidents ?? [
    { atS: 0, incident: anIncident() },
    { atS: 300, incident: anIncident({ version: 2, status: 'resolved', updatedAtMs: T0 + 300_000, resolvedAtMs: T0 + 300_000, resolution: 'remediated' }) }
  ]
  const controls: Control[] = []
  const outcomes: Outcome[] = []
  const verdicts = [...options.verdicts]
  for (let atS = 0; atS < END_S; atS++) {
    for (const { incident } of incidents.filter(one => one.atS === atS)) machine.incident({ ...incident, updatedAtMs: T0 + atS * 1_000 }, atS)
    for (const { control } of options.controls?.filter(one => one.atS === atS) ?? []) {
      const record = control(machine.decisions().findLast(({ outcome }) => outcome === 'ask')?.id ?? '')
      controls.push(record)
      machine.control(record, atS)
    }
    const due = machine.decisions().find(one => one.commandId !== null && one.decidedAtMs === T0 + (atS - 8) * 1_000)
    const verdict = due && verdicts.shift()
    if (due && verdict !== undefined) {
      const outcome = anOutcome(due, verdict, { recordedAtMs: T0 + atS * 1_000 })
      outcomes.push(outcome)
      machine.outcome(outcome, atS)
    }
    machine.tick(atS)
  }
  return {
    incidents: incidents.map(({ atS, incident }) => ({ ...incident, updatedAtMs: T0 + atS * 1_000 })),
    commands: machine.commands() as Command[],
    outcomes,
    controls,
    decisions: machine.decisions()
  }
}

const replay = (set: PolicySet, history: RecordedHistory, fromS = 0) =>
  simulatePolicies(history, { policies: set, environments: ['lab'], commandExpiryMs: 60_000, fromMs: T0 + fromS * 1_000, toMs: T0 + END_S * 1_000 })
const brief = (decisions: readonly { outcome: string; blockedBy: readonly string[]; attempt: number }[]) =>
  decisions.map(({ outcome, blockedBy, attempt }) => `${outcome} ${attempt}${blockedBy.length === 0 ? '' : ` ${blockedBy.join('+')}`}`)

test('the policies that decided then decide the same again, at the same times', () => {
  const history = recordedBy(current, { verdicts: ['ineffective', 'ineffective'] })
  const { decisions, acts } = replay(current, history)
  const times = (all: readonly { decidedAtMs: number }[]) => all.map(({ decidedAtMs }) => Math.floor((decidedAtMs - T0) / 1_000))
  expect(brief(decisions)).toEqual(['act 1', 'blocked 2 cooldown', 'act 2', 'escalate 3 cooldown+attempt_budget'])
  expect(brief(decisions)).toEqual(brief(history.decisions))
  expect(times(decisions)).toEqual(times(history.decisions))
  expect(decisions.map(({ id }) => id)).toEqual(history.decisions.map(({ id }) => id))
  expect(acts).toEqual({ known: 2, assumed: 0 })
})

test('the same records give the same bytes, in whatever order they are read', () => {
  const history = recordedBy(current, { verdicts: ['ineffective', 'healed'] })
  const shuffled: RecordedHistory = {
    incidents: history.incidents.toReversed(),
    commands: history.commands.toReversed(),
    outcomes: history.outcomes.toReversed(),
    controls: history.controls.toReversed(),
    decisions: history.decisions.toReversed()
  }
  const bytes = JSON.stringify(replay(current, history))
  expect(JSON.stringify(replay(current, history))).toBe(bytes)
  expect(JSON.stringify(replay(current, shuffled))).toBe(bytes)
})

test('records are not changed by their replay', () => {
  const history = recordedBy(current, { verdicts: ['ineffective'] })
  const before = JSON.stringify(history)
  replay(policySet(policyYaml('autonomy: approve'), runbookYaml()), history)
  expect(JSON.stringify(history)).toBe(before)
})

describe('other policies', () => {
  test('an act under another version of the policy has the outcome that it had', () => {
    const history = recordedBy(current, { verdicts: ['ineffective', 'healed'] })
    const other = policySet(policyYaml(`${AUTO}\nrecurrenceWindow: 1h`), runbookYaml())
    const { decisions, acts } = replay(other, history)
    expect(brief(decisions)).toEqual(brief(history.decisions))
    expect(acts).toEqual({ known: 2, assumed: 0 })
    expect(decisions[0]!.policyVersion).toBe(other.policies[0]!.version)
  })

  test('more careful ones decide what they would have, and nothing is made up', () => {
    const history = recordedBy(current, { verdicts: ['ineffective', 'healed'] })
    const { decisions, acts } = replay(policySet(policyYaml(), runbookYaml()), history)
    expect(brief(decisions)).toEqual(['would_act 1 autonomy'])
    expect(acts).toEqual({ known: 0, assumed: 0 })
  })

  test('an act that never happened ends inconclusive when its plan is over, and is counted', () => {
    const history = recordedBy(policySet(policyYaml(), runbookYaml()), { verdicts: [] })
    const { decisions, acts } = replay(current, history)
    expect(acts).toEqual({ known: 0, assumed: 2 })
    expect(brief(decisions).slice(0, 2)).toEqual(['act 1', 'blocked 2 cooldown'])
    // 30 s of time-out, 5 s to settle, 60 s for its checks.
    expect((decisions[1]!.decidedAtMs - T0) / 1_000).toBe(95)
  })

  test('an answer counts for the question that it answered, and not for another one', () => {
    const asking = policySet(policyYaml('autonomy: approve'), runbookYaml())
    const yes = (decisionId: string): Control => ({ kind: 'approval', incidentId: 'incident-1', decisionId, approved: true, by: 'ada', atMs: T0 + 20_000 })
    const history = recordedBy(asking, { verdicts: ['healed'], controls: [{ atS: 20, control: yes }] })
    expect(brief(history.decisions).slice(0, 2)).toEqual(['ask 1 approval', 'act 1'])
    const another = replay(policySet(policyYaml('autonomy: approve\nrecurrenceWindow: 1h'), runbookYaml()), history)
    expect(brief(another.decisions)).toEqual(brief(history.decisions))
    const elsewhere = replay(policySet(policyYaml('autonomy: approve', 'orders', 'cause.service == "orders"', '[scale]'), runbookYaml('scale')), history)
    expect(brief(elsewhere.decisions)).toEqual(['ask 1 approval'])
  })
})

test('what happened before the window still counts: attempts, freezes, the kill switch', () => {
  const history = recordedBy(current, { verdicts: ['unknown'] })
  const later = { ...history, incidents: [anIncident({ id: 'incident-2', openedAtMs: T0 + 400_000, updatedAtMs: T0 + 400_000 })] }
  expect(brief(replay(current, later, 390).decisions)).toEqual(['escalate 1 target_frozen'])
  const stopped = { ...later, outcomes: [], commands: [], controls: [killSwitch('global', true, T0 + 5_000)] }
  expect(brief(replay(current, stopped, 390).decisions)).toEqual(['blocked 1 kill_switch'])
})

test('incidents of other environments, and records outside of the window, are not decided', () => {
  const history = recordedBy(current, { verdicts: ['healed'] })
  const elsewhere = { ...history, incidents: history.incidents.map(incident => ({ ...incident, environment: 'elsewhere' })) }
  expect(replay(current, elsewhere).decisions).toEqual([])
  expect(replay(current, history, 590).decisions).toEqual([])
})

describe('the difference', () => {
  const history = recordedBy(current, { verdicts: ['ineffective', 'healed'] })
  const careful = replay(policySet(policyYaml(AUTO.replace('max: 2', 'max: 1')), runbookYaml()), history).decisions

  test('is told incident by incident, in order of time, with what both have in common', () => {
    const { incidents, different, outcomes } = differenceOf(history.incidents, history.decisions, careful)
    expect(incidents).toBe(1)
    expect(different.map(({ incidentId, title }) => [incidentId, title])).toEqual([['incident-1', 'orders sends nothing']])
    expect(different[0]!.lines.map(({ side, decision }) => `${side} ${decision.outcome}`)).toEqual([
      'both act',
      'before blocked',
      'before act',
      'after escalate'
    ])
    expect(outcomes).toEqual({ act: { before: 2, after: 1 }, blocked: { before: 1, after: 0 }, escalate: { before: 0, after: 1 } })
  })

  test('is none where only times and versions differ', () => {
    const other = history.decisions.map(decision => ({ ...decision, policyVersion: 'other', decidedAtMs: decision.decidedAtMs + 3 }))
    expect(differenceOf(history.incidents, history.decisions, other).different).toEqual([])
  })

  test('an incident that only one side decided is one', () => {
    const another = anIncident({ id: 'incident-9', causes: [aCause({ entity: TARGET })] })
    const one = replay(current, { ...history, incidents: [...history.incidents, another] }).decisions
    expect(differenceOf([], history.decisions, one).different.map(({ incidentId }) => incidentId)).toContain('incident-9')
  })
})

describe('a step that goes through members in stages', () => {
  const stages = policySet(policyYaml(AUTO, 'orders', 'cause.service == "orders"', '[staged]'), stagedYaml())
  const named = [{ atS: 0, control: () => group(memberNames(3)) }]
  const onWhom = (decisions: readonly { outcome: string; target: string | null }[]) =>
    decisions.filter(({ outcome }) => outcome === 'act').map(({ target }) => target!.slice(TARGET.indexOf('@') + 1))

  test('is decided the same again, taking back included', () => {
    const incidents = [{ atS: 1, incident: anIncident() }]
    const history = recordedBy(stages, { verdicts: ['healed', 'healed', 'ineffective', 'undone', 'undone'], controls: named, incidents })
    const { decisions, acts } = replay(stages, history)
    expect(onWhom(history.decisions)).toEqual(['orders-1', 'orders-2', 'orders-3', 'orders-2', 'orders-1'])
    expect(decisions.map(({ id }) => id)).toEqual(history.decisions.map(({ id }) => id))
    expect(acts).toEqual({ known: 5, assumed: 0 })
  })

  test('of which nothing happened ends with the first member: nobody can say how it would have been', () => {
    const history = recordedBy(policySet(policyYaml(), runbookYaml()), { verdicts: [], controls: named, incidents: [{ atS: 1, incident: anIncident() }] })
    const { decisions, acts } = replay(stages, history)
    expect(onWhom(decisions)).toEqual(['orders-1', 'orders-1']) // The act, and taking it back.
    expect(acts).toEqual({ known: 0, assumed: 2 })
    expect(decisions.at(-1)!.outcome).toBe('escalate')
  })
})
