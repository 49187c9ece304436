// What a release undoes, as far as the console knows; and a misspelt target, which is the likelier the later the hour.

import { describe, expect, it } from 'vitest'
import { releaseEffect } from '../../../../pipeline/console/releases.ts'
import type { LiveView } from '../../../../pipeline/console/live-view.ts'
import type { Control } from '../../../../schemas/control.ts'
import type { Decision, GuardResult } from '../../../../schemas/decision.ts'
import type { Incident } from '../../../../schemas/incident.ts'
import type { Outcome } from '../../../../schemas/outcome.ts'
import { aDecision, aMember, anIncident, anOutcome } from '../../../support/store-records.ts'

const T0 = Date.UTC(2026, 2, 1, 3)
const TARGET = 'shop/orders@orders-1'
const OTHER = 'shop/payments@payments-1'

interface Records {
  incidents?: Incident[]
  decisions?: Decision[]
  outcomes?: Outcome[]
  controls?: Control[]
}

function aView({ incidents = [], decisions = [], outcomes = [], controls = [] }: Records): LiveView {
  return {
    incidents: () => incidents,
    story: (id: string) => {
      const incident = incidents.find(each => each.id === id)
      return incident && { incident, anomalies: [], decisions: [], outcomes: [] }
    },
    decisions: () => [...decisions],
    outcomes: () => [...outcomes],
    controls: () => controls
  } satisfies Partial<LiveView> as unknown as LiveView
}

const unknown = (target: string, recordedAtMs = T0, more: Partial<Outcome> = {}): Outcome =>
  anOutcome(`o-${target}-${recordedAtMs}`, 'i1', 'd1', { target, verdict: 'unknown', reason: 'no answer', recordedAtMs, ...more })
const refused = (guard: GuardResult['guard'], more: Partial<GuardResult> = {}): GuardResult => ({
  ...{ guard, verdict: 'refuse', inputs: {}, reason: `because of ${guard}`, counterfactual: '', retryAtMs: null },
  ...more
})
const decided = (more: Partial<Decision>): Decision => aDecision('d1', 'i1', { target: TARGET, outcome: 'blocked', decidedAtMs: T0, ...more })
const released = (target: string, atMs: number): Control => ({ kind: 'release_target', target, by: 'ada', atMs })
const changed = (target: string, more: Partial<Extract<Control, { kind: 'change' }>> = {}): Control => ({
  ...{ kind: 'change', id: 'c1', environment: 'lab', target, actor: 'argo-cd', what: 'deploy', fromMs: T0, toMs: null, by: 'ada', atMs: T0 },
  ...more
})
const effect = (records: Records, target = TARGET, force = false, nowMs = T0 + 60_000) => releaseEffect(aView(records), target, nowMs, force)

describe('what a release undoes', () => {
  it('is said: a freeze, harm, what control said last, and giving up', () => {
    expect(effect({ outcomes: [unknown(TARGET)] }).heldBy).toEqual(['frozen since 2026-03-01T03:00:00Z: no answer'])
    expect(effect({ outcomes: [unknown(TARGET, T0, { verdict: 'harmful' })] }).heldBy).toEqual([`restart did harm to ${TARGET} at 2026-03-01T03:00:00Z`])
    expect(effect({ outcomes: [unknown(TARGET)], decisions: [decided({ guards: [refused('target_frozen')] })] }).heldBy).toEqual(['because of target_frozen'])
    const gaveUp = { incidents: [anIncident('i1', { status: 'escalated' })], decisions: [decided({ outcome: 'escalate', reason: 'the budget is used up' })] }
    expect(effect(gaveUp).heldBy).toEqual(['given up, incident i1: the budget is used up'])
  })

  it("is another's change, by its owner", () => {
    const hands = refused('ownership', { verdict: 'wait', inputs: { commandInFlight: null }, retryAtMs: T0 + 120_000 })
    expect(effect({ decisions: [decided({ guards: [hands] })], controls: [changed(TARGET)] }).heldBy).toEqual(['because of ownership'])
    expect(effect({ controls: [changed('shop/orders')] }).heldBy).toEqual(['argo-cd is changing shop/orders (deploy) since 2026-03-01T03:00:00Z'])
  })

  it.each<[string, Records]>([
    ['healed or refused outcomes', { outcomes: [unknown(TARGET, T0, { verdict: 'healed' }), unknown(TARGET, T0 + 1, { verdict: 'refused' })] }],
    ['what was released since', { outcomes: [unknown(TARGET)], controls: [released(TARGET, T0)] }],
    [
      'a wait that is over',
      { decisions: [decided({ guards: [refused('ownership', { verdict: 'wait', inputs: { commandInFlight: null }, retryAtMs: T0 })] })] }
    ],
    ['a command in flight', { decisions: [decided({ guards: [refused('ownership', { verdict: 'wait', inputs: { commandInFlight: 'x' } })] })] }],
    ['guards that no release ends', { decisions: [decided({ guards: [refused('attempt_budget'), refused('kill_switch')] })] }],
    ['what an older decision said', { decisions: [decided({ guards: [refused('target_frozen')] }), decided({ id: 'd2', decidedAtMs: T0 + 1 })] }],
    ['giving up on what is over', { incidents: [anIncident('i1')], decisions: [decided({ outcome: 'escalate' })] }],
    ['a change that is over', { controls: [changed(TARGET, { toMs: T0 + 1 })] }]
  ])('is not %s', (_, records) => {
    expect(effect(records)).toEqual({ heldBy: [], stillHeld: [] })
  })

  it('leaves others held, the newest first: also what a step froze under its own name', () => {
    const step = { ...STEP, target: 'orders-unit', result: 'unknown' as const }
    const outcomes = [unknown(OTHER, T0 + 5), unknown(TARGET, T0, { steps: [step, { ...STEP, target: 'well' }] })]
    expect(effect({ outcomes })).toMatchObject({ heldBy: [expect.stringContaining('frozen since')], stillHeld: [OTHER, 'orders-unit'] })
    expect(effect({ outcomes }, 'orders-unit').stillHeld).toEqual([OTHER, TARGET])
  })
})

describe('a target that nothing names', () => {
  const held: Records = { outcomes: [unknown(TARGET), unknown(OTHER, T0 + 1)] }

  it.each<[string, string]>([
    ['shop/ordres@orders-1', TARGET],
    ['SHOP/orders@orders_1', TARGET],
    ['payments-1', OTHER],
    ['shop/payments', OTHER]
  ])('%s is refused with the held one that was meant', (typed, meant) => {
    expect(() => effect(held, typed)).toThrow(
      expect.objectContaining({
        code: 'not_found',
        message: expect.stringMatching(
          new RegExp(`^nothing is released: .* names ${typed}\\. Did you mean ${meant}\\? Held now: ${OTHER}, ${TARGET}\\. .*--force`)
        )
      })
    )
  })

  it('is compared with all that is known when nothing is held, and says so', () => {
    const known: Records = { incidents: [anIncident('i1', { members: [{ ...aMember('a1'), entity: 'shop/search@search-1' }] })] }
    expect(() => effect(known, 'shop/serach@search-1')).toThrow(/Did you mean shop\/search@search-1\? Nothing is known to be held\./)
    expect(() => effect({}, 'ä'.repeat(10_000))).toThrow(/^nothing is released/)
  })

  it('names at most five of what is held', () => {
    const outcomes = Array.from({ length: 7 }, (_, index) => unknown(`t${index}`, T0 + index))
    expect(() => effect({ outcomes }, 'nothing/like/it')).toThrow('Held now: t6, t5, t4, t3, t2, and 2 more.')
  })

  it('is released by force, and without it as soon as any record names it', () => {
    expect(effect(held, 'older/than@the-view', true)).toEqual({ heldBy: [], stillHeld: [OTHER, TARGET] })
    const group: Control = { kind: 'group', environment: 'lab', group: 'shop/a', size: 1, members: ['shop/a@1'], by: 'ada', atMs: T0 }
    for (const records of [{ decisions: [decided({})] }, { incidents: [anIncident('i1')] }, { controls: [changed('shop/orders', { toMs: T0 })] }])
      expect(effect(records)).toEqual({ heldBy: [], stillHeld: [] })
    expect(effect({ controls: [group] }, 'shop/a@1').heldBy).toEqual([])
  })
})

const STEP: Outcome['steps'][number] = {
  ...{ idempotencyKey: 'k', name: 'restart', driver: 'systemd', verb: 'restart', target: TARGET, result: 'applied', detail: '', waited: null },
  ...{ begunAtMs: T0, appliedAtMs: null, verdict: null, checks: [], undo: 'none' }
}
