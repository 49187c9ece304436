// Calls from what is decided: the reducer with somebody on call.

import { expect, test } from 'vitest'
import { escalationSchema } from '../../../../schemas/escalation.ts'
import { aMember, anIncident, anOutcome, decider, policySet, policyYaml, runbookYaml, T0 } from '../decide/builders.ts'

const hook = { kind: 'webhook', url: 'http://127.0.0.1:1/' } as const
const escalation = escalationSchema.parse({
  channels: { default: hook, ada: hook, bob: hook },
  onCall: {
    orders: {
      page: [
        { channels: ['ada'], timeout: '5m' },
        { channels: ['bob'], timeout: '5m' }
      ]
    }
  }
})

function rig(spec: string, owner: string | null = 'orders') {
  const made = decider(policySet(policyYaml(spec), runbookYaml()))
  Object.assign(made.rules, { escalation })
  return {
    ...made,
    /** What the sender would find: owners that are looked up, calls that are due. */
    due(atS: number) {
      for (const { incidentId, owner: known } of Object.values(made.state.calls)) {
        made.feed({ kind: 'call_due', incidentId, ...(known === undefined ? { owner } : {}) }, atS)
      }
    },
    said: () => made.state.pages.map(({ channel, page }) => `${page.action} ${channel}`)
  }
}
const answer = (decisionId: string, approved: boolean, atS: number) =>
  ({ kind: 'approval', incidentId: 'incident-1', decisionId, approved, by: 'ada', atMs: T0 + atS * 1_000 }) as const

test('three attempts that do not help are one page, and then silence but for the next person on call', () => {
  const { incident, outcome, run, last, due, said, commands } = rig('autonomy: auto\nattempts: {max: 3, window: 1h}\ncooldown: {initial: 1s, jitter: 0}')
  incident(anIncident(), 0)
  for (let attempt = 0; attempt < 3; attempt++) {
    const atS = attempt * 30
    run(atS + 1, atS + 20)
    due(atS + 20)
    expect(said()).toEqual([])
    outcome(anOutcome(last(), 'ineffective', { recordedAtMs: T0 + (atS + 21) * 1_000 }), atS + 21)
  }
  expect(commands()).toHaveLength(3)
  expect(last().outcome).toBe('escalate')
  for (let atS = 90; atS < 380; atS += 10) due(atS)
  expect(said()).toEqual(['trigger ada'])
  for (let atS = 390; atS < 4_000; atS += 10) due(atS)
  expect(said()).toEqual(['trigger ada', 'trigger bob'])
})

test('a target that froze needs a person also when its incident is over by then', () => {
  const { incident, outcome, last, due, said } = rig('autonomy: auto')
  incident(anIncident(), 0)
  const acted = last()
  incident(anIncident({ version: 2, members: [aMember({ closedAtMs: T0 + 5_000 })] }), 5)
  outcome(anOutcome(acted, 'unknown'), 10)
  due(11)
  expect(last()).toMatchObject({ outcome: 'escalate', blockedBy: expect.arrayContaining(['target_frozen', 'evidence']) })
  expect(said()).toEqual(['trigger ada'])
})

test('an answer to the question is an acknowledgement; an acknowledgement is no answer: it approves nothing and denies nothing', () => {
  for (const kind of ['approval', 'acknowledgement'] as const) {
    const { incident, control, last, due, said, commands } = rig('autonomy: approve\napproval: {expiresAfter: 2h}')
    incident(anIncident(), 0)
    due(1)
    const asked = last().id
    control(kind === 'approval' ? answer(asked, true, 60) : { kind, incidentId: 'incident-1', by: 'ada', atMs: T0 + 60_000 }, 60)
    due(1_000)
    expect(said(), kind).toEqual(['trigger ada', 'acknowledge ada'])
    expect(commands(), kind).toHaveLength(kind === 'approval' ? 1 : 0)
    if (kind === 'acknowledgement') control(answer(asked, true, 1_100), 1_100)
    expect(commands(), kind).toHaveLength(1)
  }
})

test.each(['self_healed', 'escalated', 'expired', 'merged'] as const)('whoever was called hears of the end: %s, also in maintenance', resolution => {
  const { incident, control, due, said, state } = rig('autonomy: approve')
  incident(anIncident(), 0)
  due(1)
  control({ kind: 'maintenance', id: 'm', match: '*', fromMs: T0, toMs: T0 + 3_600_000, by: 'ada', atMs: T0 + 2_000 }, 2)
  incident(anIncident({ version: 2, status: 'resolved', resolution }), 400)
  expect(said()).toEqual(['trigger ada', 'resolve ada'])
  expect(state.calls).toEqual({})
})

test('a page carries what a person needs to begin: the signs with their values, and what held automation back', () => {
  const { incident, due, state } = rig('autonomy: approve', null)
  incident(anIncident(), 0)
  due(1)
  const { owner, details, dedupKey } = state.pages[0]!.page
  expect([owner, dedupKey]).toEqual([null, 'incident-1'])
  expect(details).toMatchObject({ incidentId: 'incident-1', environment: 'lab', policy: 'orders', runbook: 'restart' })
  expect(details.signs).not.toEqual([])
  expect(details.blockedBy).toMatchObject([{ guard: 'approval', reason: expect.any(String), counterfactual: expect.any(String) }])
})

test('a page whose call was lost with its checkpoint is resolved for everyone who may have been called', () => {
  const { incident, due, said, state } = rig('autonomy: approve\nescalate: {channels: [default, boss]}')
  incident(anIncident(), 0)
  due(1)
  state.calls = {}
  state.pages = []
  incident(anIncident({ version: 2, status: 'resolved', resolution: 'self_healed' }), 400)
  expect(said().sort()).toEqual(['resolve ada', 'resolve bob', 'resolve boss'])
  expect(state.calls).toEqual({})
})
