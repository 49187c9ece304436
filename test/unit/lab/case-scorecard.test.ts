// The scorecard of an acceptance case: a difference fails it and is named with both figures, and what is not compared is said.

import { describe, expect, it } from 'vitest'
import { HOLD_MS, recovery } from '../../../infra/lab/cases/ground-truth.ts'
import { type CaseComparison, judgeScorecard } from '../../../infra/lab/cases/scorecard.ts'
import { METRICS, type Metric, type ScorecardComparison } from '../../../infra/lab/scorecard.ts'

function scorecard(differing: Partial<Record<Metric, { clickhouse: number | null; lab: number | null }>> = {}): CaseComparison {
  return { scorecard: Object.fromEntries(METRICS.map(metric => [metric, differing[metric] ?? { clickhouse: 1, lab: 1 }])) as ScorecardComparison }
}

describe('the scorecard of a case', () => {
  it('passes when every figure of ClickHouse is that of the lab, and shows both', () => {
    const report = judgeScorecard('UC1', 7, scorecard(), { excused: {} })
    expect(report).toMatchObject({ case: 'UC1/scorecard', seed: 7, pass: true, notes: [], figures: { m1ClickHouse: 1, m1Lab: 1, m10Lab: 1 } })
  })

  it('fails by a difference, named with both figures', () => {
    const report = judgeScorecard('UC1', 1, scorecard({ m3: { clickhouse: 0.5, lab: 0.25 }, m6: { clickhouse: null, lab: 1 } }), { excused: {} })
    expect(report.pass).toBe(false)
    expect(report.assertions.map(({ name, ok, detail }) => ({ name, ok, detail }))).toEqual([
      {
        name: 'scorecard',
        ok: false,
        detail: 'M3: ClickHouse says 0.5, the lab 0.25, at most 0 apart are allowed; M6: ClickHouse says –, the lab 1, at most 0 apart are allowed'
      }
    ])
  })

  it('allows a case its own tolerance, and no more', () => {
    const off = (s: number): boolean => judgeScorecard('S1', 1, scorecard({ m5: { clickhouse: 1, lab: 1 + s } }), { excused: {}, tolerances: { m5: 8 } }).pass
    expect([off(7.9), off(8.1)]).toEqual([true, false])
  })

  it('says of each metric that is not compared why', () => {
    const none = { clickhouse: 0.3, lab: null }
    const report = judgeScorecard('UC6', 1, scorecard({ m1: none, m9: none }), { excused: { m9: 'nobody answers' } })
    expect(report.pass).toBe(true)
    const alike = judgeScorecard('F1', 1, scorecard({ m9: none, m10: none }), { excused: { m9: 'no end', m10: 'no end' } })
    expect(alike.notes).toEqual(['M9, M10 not compared: no end'])
    expect(report.notes).toEqual([expect.stringMatching(/^M1 not compared: nothing of it happened, or/), 'M9 not compared: nobody answers'])
    expect(Object.keys(report.figures)).not.toContain('m9ClickHouse')
    expect(report.assertions[0]!.detail).toBe('M2, M3, M4, M5, M6, M7, M8, M10 of ClickHouse are those of the lab')
  })

  it('fails when ClickHouse counts what never happened', () => {
    const judged = (clickhouse: number | null, excused = {}) => judgeScorecard('F4', 1, scorecard({ m7: { clickhouse, lab: null } }), { excused })
    expect(judged(null)).toMatchObject({ pass: true, notes: ['M7 not compared: nothing of it happened'] })
    expect(judged(0.5)).toMatchObject({ pass: false, assertions: [{ detail: 'M7: ClickHouse says 0.5, the lab saw nothing of the kind' }] })
    expect(judged(0.5, { m7: 'rollbacks are no undos' })).toMatchObject({ pass: true, notes: ['M7 not compared: rollbacks are no undos'] })
  })
})

describe('the time to recovery of what an act healed', () => {
  const judged = (clickhouse: number | null, lab: number, recoveryTolerance?: number) =>
    judgeScorecard(
      'UC5',
      1,
      { ...scorecard(), recovery: { clickhouse, lab } },
      { excused: {}, ...(recoveryTolerance === undefined ? {} : { recoveryTolerance }) }
    )

  it('is that of the lab within two seconds, or the tolerance of the case', () => {
    expect(judged(20.3, 20.1)).toMatchObject({ pass: true, figures: { recoveryClickHouse: 20.3, recoveryLab: 20.1 } })
    expect([judged(18, 20.1).pass, judged(18, 20.1, 4).pass, judged(16, 20.1, 4).pass]).toEqual([false, true, false])
  })

  it('fails with both figures, also when ClickHouse has none', () => {
    expect(judged(24, 20).assertions.find(({ ok }) => !ok)).toEqual({
      name: 'recovery',
      ok: false,
      detail: 'what an act healed took 24 s by ClickHouse, 20 by the lab, at most 2 apart are allowed'
    })
    expect(judged(null, 20).pass).toBe(false)
  })
})

describe('when a fault is over', () => {
  const looks = (...healthy: boolean[]): (number | null)[] => {
    const look = recovery()
    return healthy.map((isHealthy, index) => look(index * (HOLD_MS / 2), isHealthy))
  }

  it('is the first good look of those that last', () => {
    expect(looks(false, true, true, true)).toEqual([null, null, null, HOLD_MS / 2])
  })
  it('is never told before it was broken, and a good look between bad ones is no end', () => {
    expect(looks(true, true, true, true)).toEqual([null, null, null, null])
    expect(looks(false, true, false, true, true, true)).toEqual([null, null, null, null, null, 1.5 * HOLD_MS])
  })
})
