// Telemetry that is missing: no runbook acts on those that are not heard, and who is on call hears of it once, when it lasts.

import { describe, expect, test } from 'vitest'
import { explain } from '../../../../actuators/decide/explain-text.ts'
import { evidence } from '../../../../actuators/decide/guards/evidence.ts'
import { freshness } from '../../../../actuators/decide/guards/freshness.ts'
import { escalationSchema } from '../../../../schemas/escalation.ts'
import { type Cause, causeSchema, type Incident } from '../../../../schemas/incident.ts'
import { aCause, aContext, aMember, anIncident, decider, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const SILENT = ['lab/orders@orders-1', 'lab/payments@payments-1', 'lab/worker@worker-1']
const GAP: Cause = aCause({ entity: 'telemetry', service: 'telemetry', signature: 'telemetry_gap', score: 0.8, open: true })
const TITLE = 'no telemetry of 3 services since 12:00:00 UTC: 3 senders silent at once, nobody complains of them'
const ANYTHING = runbookYaml('restart', `risk: low\nsignatures: [${causeSchema.shape.signature.options.join(', ')}]`)

function blind(fields: Partial<Incident> = {}): Incident {
  return anIncident({
    ...{ title: TITLE, causes: [GAP], unknownEntities: SILENT, openedAtMs: T0 },
    members: SILENT.map((entity, index) => aMember({ anomalyId: `anomaly-${index}`, entity, service: entity.slice('lab/'.length, entity.indexOf('@')) })),
    ...fields
  })
}

/** A policy that acts on anything, at once, and one who is on call. */
function eager(match = 'incident.environment == "lab"') {
  const made = decider(policySet(policyYaml('autonomy: auto\nevidence: {causeScoreMin: 0}').replace(/match: .*/, `match: ${match}`), ANYTHING))
  const escalation = escalationSchema.parse({
    channels: { phone: { kind: 'webhook', url: 'https://phone.example' }, tickets: { kind: 'webhook', url: 'https://tickets.example' } },
    onCall: { default: { page: [{ channels: ['phone'] }], ticket: ['tickets'] } },
    owners: [{ service: '*', owner: 'default' }],
    pageFrom: 'critical'
  })
  Object.assign(made.rules, { escalation })
  const told = () => made.state.pages.map(({ channel, page }) => [channel, page.action, page.severity])
  /** Owners are looked up outside. */
  const answerOwner = (atS: number) => made.feed({ kind: 'call_due', incidentId: 'incident-1', owner: null as never }, atS)
  return { ...made, told, answerOwner }
}

describe('while telemetry is missing', () => {
  test('no runbook of any risk acts, whatever the policy matches', () => {
    const { incident, run, commands, last } = eager()
    incident(blind(), 1)
    run(2, 600)
    expect(commands()).toEqual([])
    expect(last()).toMatchObject({ outcome: 'blocked', blockedBy: ['freshness'], runbook: null })
  })

  test('no policy is needed to be told why', () => {
    const { incident, decisions } = eager('cause.service == "mail"')
    incident(blind(), 1)
    expect(decisions()).toMatchObject([{ policy: null, outcome: 'blocked', blockedBy: ['freshness'], target: 'telemetry' }])
  })

  test('a runbook that goes through members in stages stops, too', () => {
    for (const risk of ['low', 'high']) {
      const context = aContext({ cause: { ...GAP, entity: 'lab/orders', service: 'orders' }, runbook: `risk: ${risk}\nsignatures: [telemetry_gap]` })
      expect(freshness(context)).toMatchObject({ guard: 'freshness', verdict: 'wait' })
    }
  })

  test('a policy about one of them calls people once, when it has stayed so, and again when it is over', () => {
    const { incident, run, told, answerOwner, last } = eager('cause.service == "payments" && cause.signature == "silent"')
    incident(blind(), 0)
    expect(last()).toMatchObject({ policy: 'orders', callAtMs: T0 + 300_000 })
    run(1, 299)
    expect(told()).toEqual([])
    run(300, 301)
    answerOwner(302)
    expect(told()).toEqual([['phone', 'trigger', 'critical']])
    incident(blind({ version: 2 }), 310)
    run(311, 900)
    incident(blind({ version: 3, status: 'resolved', resolution: 'self_healed', resolvedAtMs: T0 + 901_000 }), 901)
    expect(told()).toEqual([
      ['phone', 'trigger', 'critical'],
      ['phone', 'resolve', 'critical']
    ])
  })

  test('a warning calls nobody where only what is critical does, nor does what is over before', () => {
    for (const later of [
      blind({ severity: 'warning', version: 2 }),
      blind({ severity: 'warning', version: 2, causes: [{ ...GAP, open: false }], unknownEntities: [] })
    ]) {
      const { incident, run, told } = eager()
      incident(blind({ severity: 'warning' }), 0)
      incident(later, 60)
      run(61, 900)
      expect(told()).toEqual([])
    }
  })

  test('it acts as ever when a caller complains after all', () => {
    const { incident, tick, commands } = eager()
    incident(blind(), 0)
    tick(130)
    incident(blind({ version: 2, causes: [aCause()] }), 140)
    expect(commands()).toMatchObject([{ target: 'lab/orders@orders-1' }])
  })
})

test('it explains that the telemetry is missing, what would change its mind, and what a person can do', () => {
  const { incident, decisions } = eager()
  incident(blind(), 150)
  expect(explain(blind(), decisions()).slice(0, 7)).toEqual([
    `${TITLE} (open)`,
    'It has not acted; it looks again by itself.',
    'Why: several fell silent at the same moment and nobody who is heard complains of them: they may be well.',
    'What would change that: A caller that is heard and sees errors or delays of one of them, or their telemetry.',
    'Nobody was called yet; people are at 12:07:30Z unless it acts before.',
    'What you can do:',
    '  see for yourself whether lab/orders@orders-1, lab/payments@payments-1, lab/worker@worker-1 are well, and mend the way of the telemetry'
  ])
})

test('of one service it names the service', () => {
  const causes = [{ ...GAP, entity: 'lab/orders', service: 'orders' }]
  const { incident, decisions } = eager()
  const record = blind({ causes, unknownEntities: ['lab/orders@orders-1', 'lab/orders@orders-2'] })
  incident(record, 150)
  const lines = explain(record, decisions())
  expect(lines[2]).toBe('Why: lab/orders sends no telemetry and no caller complains of it: it may be well.')
  expect(lines.join('\n')).toContain('see for yourself whether lab/orders is well, and mend the way of the telemetry')
})

test('a silence that stands alone waits until others would have been missed', () => {
  const waiting = aContext({ cause: { waitUntilMs: T0 + 10_000 }, nowMs: T0 + 4_000 })
  expect(evidence(waiting)).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 10_000 })
  expect(evidence(waiting).reason).toBe('lab/orders@orders-1 is silent and nothing else is wrong: for 6 s more it may prove that others fell silent with it')
  expect(evidence({ ...waiting, nowMs: T0 + 10_000 }).verdict).toBe('allow')
})
