import { describe, expect, it } from 'vitest'
import { contributions } from '../../../../../detectors/score/multivariate/contributions.ts'
import { newEntityState } from '../../../../../detectors/score/multivariate/entity-state.ts'
import { updateEntity } from '../../../../../detectors/score/multivariate/update.ts'
import { aService, MINUTE_MS, START_MS } from './fleet.ts'

describe('contributions', () => {
  const state = newEntityState(5)
  const row = aService(7)
  for (let k = 0; k < 5_000; k++) updateEntity(state, row(k), START_MS + k * MINUTE_MS)
  const values = row(5_000)
  const usual = values[1]!
  values[1] = usual + 15
  values[3] = Number.NaN
  updateEntity(state, values, START_MS + 5_000 * MINUTE_MS)
  const found = contributions(state)

  it('names the metric that broke away, what it was and what the others let expect', () => {
    const [first] = found
    expect(first).toMatchObject({ metric: 1, value: usual + 15 })
    expect(first!.expected).toBeGreaterThan(usual - 5)
    expect(first!.expected).toBeLessThan(usual + 7)
    expect(first!.residual).toBeGreaterThan(5)
  })

  it('shares add up to one over all metrics that were reported, largest first', () => {
    expect(found.map(one => one.metric)).not.toContain(3)
    expect(found).toHaveLength(4)
    expect(found.reduce((sum, one) => sum + one.share, 0)).toBeCloseTo(1, 12)
    for (let rank = 1; rank < found.length; rank++) expect(found[rank]!.share).toBeLessThanOrEqual(found[rank - 1]!.share)
  })

  it('are as many as asked for', () => {
    expect(contributions(state, 2)).toEqual(found.slice(0, 2))
  })

  it('are none for an entity that has said nothing', () => {
    expect(contributions(newEntityState(3))).toEqual([])
  })
})
