// One budget for the memory of detection: what it bounds, and who keeps what when it is used up.

import { describe, expect, it } from 'vitest'
import { BASE_SERIES_BYTES, baseBudget, budgetOf, giveBack } from '../../../detectors/score/budget.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { cardinalityAttack } from '../../bench/series/attack.ts'
import { aHistogram, aPoint, aScorer, at, detectConfig, START_MS } from './builders.ts'

const MIB = 2 ** 20
const settings = settingsFrom(detectConfig())
const scorerWith = (budget: ReturnType<typeof budgetOf>, parts?: ReadonlyMap<string, Uint8Array>): Scorer => {
  const scorer = new Scorer(settings, { budget, nowMs: () => START_MS, ...(parts ? { parts } : {}) })
  scorer.begin(START_MS)
  return scorer
}

describe('a cardinality attack', () => {
  const full: number[] = []
  const report = cardinalityAttack(8 * MIB, 200_000, ({ bytes, refused }) => {
    if (refused > 0) full.push(bytes)
  })

  it('meets a bound: what is refused takes no memory', () => {
    expect(report.admitted).toBeLessThanOrEqual((8 * MIB) / 2 / BASE_SERIES_BYTES)
    expect(report.admitted + report.refused).toBeGreaterThan(200_000)
    expect(Math.max(...full)).toBeLessThanOrEqual(8 * MIB)
    // Slots and models of those that were admitted may still begin.
    expect(full.at(-1)! - full[0]!).toBeLessThanOrEqual(MIB)
    expect(full.at(-1)).toBe(full[full.length >> 1])
  })

  it('takes no slot from any series that had one', () => {
    expect([report.slotsOfKey, report.slotsOfOrdinaryBefore]).toEqual([report.group, report.group])
  })

  it('keeps no slot from a series that becomes anomalous meanwhile: it takes that of an ordinary one', () => {
    expect([report.slotsOfLateBefore, report.slotsOfLate]).toEqual([0, report.group])
  })
})

describe('places of the base tier', () => {
  it('are as many as the bytes of long texts are worth, the same after a restore', () => {
    const budget = baseBudget(1_000)
    const scorer = scorerWith(budget)
    for (let index = 0; index < 1_000; index++) {
      const attributes = Object.fromEntries(Array.from({ length: 8 }, (_, key) => [`key-${key}`, `${index}-${key}-`.padEnd(600, 'x')]))
      scorer.point(aPoint({ attributes }))
    }
    expect(scorer.table.count).toBeLessThan(110)
    expect(budget.left).toBeLessThanOrEqual(0)
    expect(scorer.table.bytes).toBeLessThan(1_000 * BASE_SERIES_BYTES + MIB)
    const again = baseBudget(1_000)
    scorerWith(again, scorer.takeDirty())
    expect(again.left).toBe(budget.left)
  })

  it('are eight more for a histogram, the same after a restore, and none is begun when they are used up', () => {
    const budget = baseBudget(100)
    const scorer = scorerWith(budget)
    for (let index = 0; index < 20; index++) scorer.point(aHistogram([0.1, 0.2], { attributes: { route: `/${index}` } }))
    expect(scorer.registry.histograms.length).toBe(9)
    // Its own series, mean and p95, and its buckets; the tenth found one place, for itself.
    expect(scorer.table.places).toBe(9 * (3 + 8) + 1)
    const again = baseBudget(100)
    scorerWith(again, scorer.takeDirty())
    expect(again.left).toBe(budget.left)
  })
})

describe('a scorer that is let go', () => {
  it('gives back what it took of every tier', () => {
    const fed = aScorer()
    const names = ['load', 'io.rate', 'net.rate', 'disk.usage', 'thread.count']
    for (let minute = 0; minute < 40; minute++) fed.feed(names.map(name => aPoint({ name, unit: '', timeMs: at(minute * 60), value: minute % 7 })))
    expect(fed.scorer.tiers.models.size).toBe(1)
    const before = budgetOf(100 * MIB)
    const budget = { ...before }
    const restored = scorerWith(budget, fed.scorer.takeDirty())
    expect(budget.left).toBeLessThan(before.left)
    expect(budget.slotsLeft).toBe(before.slotsLeft - 5)
    expect(budget.entityBytesLeft).toBeLessThan(before.entityBytesLeft)
    giveBack(budget, restored)
    expect(budget).toEqual(before)
  })
})
