// From points to incidents: a release under new names is none, and what looks like one and is a loss is one.

import { expect, test } from 'vitest'
import { isBirth, KNOWN_AFTER_MS } from '../../../detectors/rules/birth.ts'
import type { Incident } from '../../../schemas/incident.ts'
import { aPoint, aScorer, at } from './builders.ts'
import { reducer, T0 } from './diagnose/builders.ts'

interface Life {
  instance: string
  fromS: number
  /** Absent: to the end. */
  toS?: number
}

/** Instances of one service that report every `intervalS`; what became incidents. */
function incidentsOf(lives: readonly Life[], intervalS: number, lengthS: number): Incident[] {
  const fed = aScorer()
  const { feed, incidents } = reducer({ edges: [] })
  // The reducer's seconds count from T0, the scorer's from START_MS.
  const shift = (ms: number): number => ms - at(0) + T0
  for (let second = 0; second < lengthS; second++) {
    const heard = lives.filter(({ fromS, toS = lengthS }) => second >= fromS && second < toS && (second - fromS) % intervalS === 0)
    const points = heard.map(({ instance }) =>
      aPoint({ entity: `lab/orders@${instance}`, name: 'process.memory.usage', unit: 'By', timeMs: at(second), value: 60e6 })
    )
    fed.feed(points, at(second))
    fed.scorer.judgeAbsence(at(second), at(0))
    for (const instance of fed.scorer.takeInstances()) {
      if (!isBirth(instance, at(0))) continue
      feed(
        { kind: 'instance', record: { ...instance, environment: 'lab', firstSeenMs: shift(instance.firstSeenMs), lastSeenMs: shift(instance.lastSeenMs) } },
        second
      )
    }
    for (const anomaly of fed.scorer.take()) {
      const { sinceMs, observedAtMs, detectedAtMs } = anomaly
      const times = { sinceMs: shift(sinceMs), observedAtMs: shift(observedAtMs), detectedAtMs: shift(detectedAtMs) }
      feed({ kind: 'anomaly', record: { ...anomaly, ...times, environment: 'lab' } }, second)
    }
    feed({ kind: 'tick' }, second)
  }
  return incidents()
}

const NAMES = ['1', '2', '3']
/** Time to learn a report a minute, and to know who is new. */
const RELEASE_S = KNOWN_AFTER_MS / 1_000 + 300
const STEP_S = 120

/** Three instances, each replaced by one of a new name that starts `overlapS` before it ends. */
function release(overlapS: number): Life[] {
  return NAMES.flatMap((name, index) => {
    const beginsS = RELEASE_S + index * STEP_S
    return [
      { instance: `orders-6f7c-${name}`, fromS: 0, toS: beginsS + overlapS },
      { instance: `orders-9b2d-${name}`, fromS: beginsS }
    ]
  })
}

test.each([
  [1, 100],
  [1, 20],
  [1, -15],
  [10, 200],
  [10, 40],
  [10, -20],
  [60, 400],
  [60, 40],
  [60, -60]
])('with a report every %i s and an overlap of %i s a release is no incident', (intervalS, overlapS) => {
  expect(incidentsOf(release(overlapS), intervalS, RELEASE_S + 3 * STEP_S + 1_200)).toEqual([])
})

test.each([1, 10, 60])('with a report every %i s one of three that ends alone is told', intervalS => {
  const lives = NAMES.map(name => ({ instance: `orders-${name}`, fromS: 0, ...(name === '2' ? { toS: RELEASE_S } : {}) }))
  expect(incidentsOf(lives, intervalS, RELEASE_S + 600)).toMatchObject([{ unknownEntities: ['lab/orders@orders-2'] }])
})

test.each([
  [1, 4],
  [1, 60],
  [10, 40],
  [10, 200],
  [60, 240],
  [60, 800]
])('with a report every %i s a replacement that ends after %i s is told, once', (intervalS, livesS) => {
  const lives = release(40).map(life => (life.instance === 'orders-9b2d-2' ? { ...life, toS: life.fromS + livesS } : life))
  const found = incidentsOf(lives, intervalS, RELEASE_S + 3 * STEP_S + 2_000)
  expect(found).toHaveLength(1)
  expect(found[0]!.unknownEntities).toHaveLength(1)
})
