// The wall clock is set while somebody looks: nobody acts, waits or is called sooner or later for it.

import { describe, expect, test } from 'vitest'
import { escalationSchema } from '../../../../schemas/escalation.ts'
import { aCause, anIncident, anOutcome, decider, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const OTHER = { id: 'incident-2', startedAtMs: T0 + 200_000, openedAtMs: T0 + 200_000 }

describe.each([3_600, -3_600])('a step of %d s', byS => {
  function world(spec: string) {
    const one = decider(policySet(policyYaml(spec), runbookYaml()))
    const triggers = () => one.state.pages.filter(({ page }) => page.action === 'trigger')
    return { ...one, triggers, step: (atS: number) => one.feed({ kind: 'clock_step', byMs: byS * 1_000 }, atS + byS) }
  }

  test('neither ends nor prolongs the time for which an incident must be seen before it is acted upon', () => {
    const { incident, run, step, commands } = world('autonomy: auto\nconfirmFor: 60s')
    incident(anIncident(), 0)
    run(1, 20)
    step(20)
    run(21 + byS, 59 + byS)
    expect(commands()).toEqual([])
    run(60 + byS, 60 + byS)
    expect(commands()).toHaveLength(1)
  })

  test('does not let a silence that stands alone wait longer than diagnosis wants', () => {
    const { incident, run, step, commands } = world('autonomy: auto')
    incident(anIncident({ causes: [aCause({ waitUntilMs: T0 + 30_000 })] }), 0)
    run(1, 10)
    expect(commands()).toEqual([])
    step(10)
    run(11 + byS, 30 + byS)
    expect(commands()).toHaveLength(1)
  })

  test('brings nobody on call sooner or later', () => {
    const { incident, outcome, feed, step, last, rules, triggers } = world('autonomy: auto\nattempts: {max: 1, window: 1h}')
    const channels = Object.fromEntries(['ada', 'bob'].map(name => [name, { kind: 'webhook', url: 'http://127.0.0.1:1/' }]))
    const page = [
      { channels: ['ada'], timeout: '5m' },
      { channels: ['bob'], timeout: '5m' }
    ]
    Object.assign(rules, { escalation: escalationSchema.parse({ channels, onCall: { default: { page } } }) })
    incident(anIncident(), 0)
    outcome(anOutcome(last(), 'ineffective'), 60)
    const due = (atS: number) => feed({ kind: 'call_due', incidentId: 'incident-1', owner: null }, atS)
    due(60)
    step(100)
    due(359 + byS)
    expect(triggers().map(({ channel }) => channel)).toEqual(['ada'])
    due(360 + byS)
    expect(triggers().map(({ channel }) => channel)).toEqual(['ada', 'bob'])
  })

  test('moves no call that was promised for later', () => {
    const { incident, outcome, feed, step, last, triggers } = world('autonomy: auto\nattempts: {max: 1, window: 3h}')
    incident(anIncident(), 0)
    outcome(anOutcome(last(), 'ineffective'), 60)
    incident(anIncident({ version: 9, status: 'resolved', resolution: 'self_healed' }), 100)
    incident(anIncident(OTHER), 200)
    expect(last()).toMatchObject({ outcome: 'escalate', callAtMs: T0 + 500_000 })
    step(300)
    feed({ kind: 'call_due', incidentId: 'incident-2' }, 499 + byS)
    expect(triggers()).toHaveLength(1)
    feed({ kind: 'call_due', incidentId: 'incident-2' }, 500 + byS)
    expect(triggers()).toHaveLength(2)
  })
})
