// Coverage: what still reports of what is watched; and how long a canary was on its way.

import { expect, test } from 'vitest'
import { CANARY_METRIC } from '../../../schemas/otlp.ts'
import { addCoverage, type Coverage } from '../../../detectors/score/coverage.ts'
import { aPoint, aScorer, at, everySecond } from './builders.ts'

const none = (): Coverage => ({ series: 0, heard: 0, entities: 0, entitiesAbsent: 0 })

test('series that stopped, and those of entities that fell silent, are not heard', () => {
  const fed = aScorer()
  everySecond(fed, 0, 200, second => [
    aPoint({ entity: 'a', timeMs: at(second), value: 1 }),
    ...(second < 120 ? [aPoint({ entity: 'a', name: 'stopped', timeMs: at(second), value: 1 })] : []),
    ...(second < 100 ? [aPoint({ entity: 'b', timeMs: at(second), value: 1 })] : [])
  ])
  const before = none()
  addCoverage(before, fed.scorer)
  // Nobody has judged silence yet: b counts by its own clock, which stood still with it.
  expect(before).toEqual({ series: 3, heard: 2, entities: 2, entitiesAbsent: 0 })
  fed.scorer.judgeAbsence(at(200), at(0))
  const after = none()
  addCoverage(after, fed.scorer)
  expect(after).toEqual({ series: 3, heard: 1, entities: 2, entitiesAbsent: 1 })
})

test('a canary tells how long it was on its way, and is no series to judge', () => {
  const fed = aScorer()
  everySecond(fed, 0, 100, second => aPoint({ entity: 'homeostat@one', name: CANARY_METRIC, unit: 's', timeMs: at(second), value: at(second - 3) / 1_000 }))
  expect([...fed.scorer.canaries]).toEqual([['homeostat@one', 3_000]])
  expect(fed.scorer.stats.scored).toBe(0)
})
