// An open anomaly does not outlive its series; silence of the whole entity is another matter.

import { describe, expect, it } from 'vitest'
import { aPoint, aScorer, at, chance } from './builders.ts'

const SETTINGS = { warmupPoints: 30, absenceMin: '5s' }
const RATIO = { name: 'shop.checkout.error_ratio', unit: '1' }

/** A ratio that breaks at 60 s and gives its last value at 70 s, beside a metric that goes on until `untilS`. */
function story(untilS: number, resumeAtS = Number.POSITIVE_INFINITY) {
  const { gaussian } = chance(1)
  let fed = aScorer(SETTINGS)
  const all: ReturnType<typeof aScorer>[] = [fed]
  for (let second = 0; second < untilS; second++) {
    const points = [aPoint({ name: 'process.memory.usage', unit: 'By', timeMs: at(second), value: 60e6 + 1e6 * gaussian() })]
    if (second <= 70) points.push(aPoint({ ...RATIO, timeMs: at(second), value: second < 60 ? 0 : 0.9 }))
    if (second === resumeAtS) {
      fed = aScorer(SETTINGS, { parts: fed.scorer.takeDirty() })
      all.push(fed)
    }
    fed.feed(points, at(second))
  }
  return all.flatMap(({ anomalies }) => anomalies).filter(({ metric }) => metric === RATIO.name)
}

describe('an open anomaly whose series stopped', () => {
  it('closes when the rest of its entity has gone on for twice the least absence, and says so', () => {
    const told = story(90)
    expect(told.map(({ status }) => status)).toEqual(['open', 'close'])
    expect(told[1]!.id).toBe(told[0]!.id)
    expect(told[1]!.observedAtMs).toBe(at(70))
    expect(told[1]!.reason).toMatch(/has had no value since .* no longer judged/)
  })

  it('closes after a restart in between as well', () => {
    expect(story(90, 75).map(({ status }) => status)).toEqual(['open', 'close'])
  })

  it('stays open while its whole entity is silent: unknown is not healthy', () => {
    expect(story(71).map(({ status }) => status)).toEqual(['open'])
  })

  it('stays open over a silence of the whole entity, whichever of its series comes back first', () => {
    const fed = aScorer(SETTINGS)
    const { gaussian } = chance(1)
    for (let second = 0; second < 130; second++) {
      if (second > 70 && second < 100) continue
      fed.feed([aPoint({ name: 'process.memory.usage', unit: 'By', timeMs: at(second), value: 60e6 + 1e6 * gaussian() })], at(second))
      // Another sender, a moment later; from 110 s on it is gone for good.
      if (second < 110) fed.feed([aPoint({ ...RATIO, timeMs: at(second), value: second < 60 ? 0 : 0.9 })], at(second))
      if (second === 109) expect(fed.anomalies.filter(({ metric }) => metric === RATIO.name).map(({ status }) => status)).toEqual(['open'])
    }
    expect(fed.closed()).toMatchObject([{ metric: RATIO.name, observedAtMs: at(109) }])
  })

  it('is not closed by a pause shorter than that', () => {
    expect(story(79).map(({ status }) => status)).toEqual(['open'])
  })
})
