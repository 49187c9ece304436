// The lab's own scorecard: worked out by hand here from faults, witness and pages, and held against what ClickHouse would say.

import { describe, expect, test } from 'vitest'
import {
  compareScorecards,
  differences,
  labScorecard,
  METRICS,
  missedGoals,
  missedTargets,
  type ScorecardFacts,
  scorecardTable
} from '../../../infra/lab/scorecard.ts'
import { undoKey } from '../../../actuators/execute/ledger.ts'
import type { IncidentStory } from '../../../pipeline/console/live-view.ts'
import { aDecision, anIncident, anOutcome, aStep, NOW_MS, S } from '../../support/store-records.ts'

/** Injected 100 s ago, seen 90 s ago, ordered 80 s ago, healthy 40 s ago. */
const FAULT = { environment: 'lab', injectedAtMs: NOW_MS - 100 * S, healthyAgainAtMs: NOW_MS - 40 * S }

function aStory(id: string, more: Partial<IncidentStory> = {}): IncidentStory {
  const outcome = anOutcome(`o-${id}`, id, `d-${id}`, { steps: [aStep({ idempotencyKey: `key-${id}` })] })
  return { incident: anIncident(id), anomalies: [], decisions: [aDecision(`d-${id}`, id)], outcomes: [outcome], ...more }
}

function facts(more: Partial<ScorecardFacts> = {}): ScorecardFacts {
  return {
    faults: [FAULT],
    stories: [aStory('a')],
    effects: [{ atMs: NOW_MS - 79 * S, key: 'key-a' }],
    pagedIncidents: [],
    costOf: () => 2,
    coverage: { members: 5, answering: 5 },
    auditDelaysMs: [300, 700, 500],
    ...more
  }
}

/** An incident that nobody acted on. */
const untouched = (id: string, openedAgoS: number) =>
  aStory(id, {
    incident: anIncident(id, { openedAtMs: NOW_MS - openedAgoS * S, resolution: 'self_healed', attempts: 0, healedAtMs: null }),
    outcomes: [],
    decisions: []
  })

describe("the lab's own scorecard", () => {
  test('one fault, one act, healthy again', () => {
    expect(labScorecard(facts())).toEqual({ m1: 60, m2: 1, m3: 1, m4: 0, m5: 11, m6: 0, m7: 0, m8: 2, m9: 1, m10: 0.7 })
  })

  test('nothing measured is null, never zero', () => {
    const nothing = labScorecard(
      facts({ faults: [], stories: [], effects: [], pagedIncidents: null, coverage: { members: 0, answering: 0 }, auditDelaysMs: [] })
    )
    expect(Object.values(nothing)).toEqual(METRICS.map(() => null))
  })

  test('a verdict healed is not believed: the probes say when it was healthy, and the witness whether it acted', () => {
    expect(labScorecard(facts({ faults: [{ ...FAULT, healthyAgainAtMs: null }] }))).toMatchObject({ m1: null, m2: 0, m3: 0 })
    expect(labScorecard(facts({ faults: [{ ...FAULT, healthyAgainAtMs: NOW_MS + 5 * S }] })).m3).toBe(0)
    // Healthy before anything was done: no merit of the act.
    expect(labScorecard(facts({ faults: [{ ...FAULT, healthyAgainAtMs: NOW_MS - 85 * S }] })).m3).toBe(0)
    expect(labScorecard(facts({ effects: [] }))).toMatchObject({ m2: 0, m3: null, m5: null, m8: null })
  })

  test('an incident without a fault is a false positive, in the environment of the incident', () => {
    expect(labScorecard(facts({ stories: [aStory('a'), untouched('b', 60)] })).m4).toBe(0)
    expect(labScorecard(facts({ stories: [aStory('a'), untouched('b', 600)] })).m4).toBe(0.5)
    expect(labScorecard(facts({ faults: [{ ...FAULT, environment: 'lab-west' }] })).m4).toBe(1)
  })

  test('how long a thing lasted that went away by itself is not known to the lab: then there is no M1 to compare', () => {
    const symptom = { ...untouched('b', 60), incident: anIncident('b', { openedAtMs: NOW_MS - 60 * S, resolution: 'self_healed' as const, attempts: 0 }) }
    expect(labScorecard(facts({ stories: [aStory('a'), symptom] })).m1).toBeNull()
    expect(labScorecard(facts({ stories: [aStory('a'), untouched('b', 60)] })).m1).toBe(60)
  })

  test('merged incidents are no incidents, approved acts are not automated, an undo is seen by its key', () => {
    const merged = { ...untouched('b', 600), incident: anIncident('b', { resolution: 'merged' }) }
    expect(labScorecard(facts({ stories: [aStory('a'), merged], pagedIncidents: ['a'] }))).toMatchObject({ m4: 0, m6: 1 })
    expect(labScorecard(facts({ stories: [aStory('a', { decisions: [aDecision('d-a', 'a', { autonomy: 'approve' })] })] })).m2).toBe(0)
    const effects = [...facts().effects, { atMs: NOW_MS - 50 * S, key: undoKey('key-a') }]
    expect(labScorecard(facts({ effects }))).toMatchObject({ m7: 1, m5: 11 })
    expect(labScorecard(facts({ effects: facts().effects.map(effect => ({ ...effect, takesBack: true })) })).m7).toBe(1)
  })

  test('of several members each is healed at its time, and only the last act ends the fault; what takes back costs nothing', () => {
    const outcome = (name: string, target: string, agoS: number) =>
      anOutcome(`o-${name}`, 'a', `d-${name}`, { commandId: name, target, recordedAtMs: NOW_MS - agoS * S, steps: [aStep({ idempotencyKey: `key-${name}` })] })
    const outcomes = [outcome('1', 'lab/x@1', 60), outcome('2', 'lab/x@2', 38)]
    const effects = [
      { atMs: NOW_MS - 79 * S, key: 'key-1' },
      { atMs: NOW_MS - 50 * S, key: 'key-2' }
    ]
    const members = { 'lab/x@1': [NOW_MS - 70 * S], 'lab/x@2': [NOW_MS - 40 * S] }
    const of = (fault: object, more: Partial<IncidentStory> = {}) =>
      labScorecard(facts({ faults: [{ ...FAULT, ...fault }], effects, stories: [aStory('a', { outcomes, decisions: [aDecision('d-2', 'a')], ...more })] }))
    expect(of({ membersHealthyAtMs: members })).toMatchObject({ m1: 60, m2: 1, m3: 1, m8: 2 })
    expect(of({}).m3).toBe(0.5)
    expect(of({ membersHealthyAtMs: { ...members, 'lab/x@2': [] }, healthyAgainAtMs: null })).toMatchObject({ m1: null, m2: 0, m3: 0.5 })
    const undo = { guard: 'stages', verdict: 'allow', inputs: { undo: true }, reason: '', counterfactual: '', retryAtMs: null } as const
    expect(of({ membersHealthyAtMs: members }, { decisions: [aDecision('d-2', 'a', { guards: [undo] })] }).m8).toBe(1)
  })
})

describe('the comparison', () => {
  const views = METRICS.map(metric => ({ id: metric.toUpperCase(), value: labScorecard(facts())[metric] }))

  test('agrees with itself, and a view that is off beyond its tolerance is named with both figures', () => {
    expect(differences(compareScorecards(views, labScorecard(facts())))).toEqual([])
    const off = views.map(view => (view.id === 'M1' ? { ...view, value: 62.1 } : view.id === 'M3' ? { ...view, value: 0.9 } : view))
    expect(differences(compareScorecards(off, labScorecard(facts())))).toEqual([
      'M1: ClickHouse says 62.1, the lab 60, at most 2 apart are allowed',
      'M3: ClickHouse says 0.9, the lab 1, at most 0 apart are allowed'
    ])
  })

  test('a view without a value is a difference where the lab has one, and is none where the lab has none', () => {
    expect(differences(compareScorecards([], labScorecard(facts({ pagedIncidents: null }))))).toHaveLength(9)
  })

  test('targets are asked of what ClickHouse says', () => {
    const missed = views.map(view => (view.id === 'M10' ? { ...view, value: 1.2 } : view.id === 'M4' ? { ...view, value: 0.05 } : view))
    expect(missedTargets(compareScorecards(missed, labScorecard(facts())))).toEqual(['M4: 0.05, < 0.05 is wanted'])
    expect(missedGoals(compareScorecards(missed, labScorecard(facts())))).toEqual(['M10: 1.2, < 1 s is wanted'])
    expect(scorecardTable(compareScorecards(views, labScorecard(facts()))).split('\n')).toHaveLength(11)
  })
})
