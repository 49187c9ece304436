// Quiet is what was watched: a wall clock that is set forward or back neither resolves an incident nor keeps it open.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anAnomaly, CONFIG, closing, reducer } from './builders.ts'

const ERRORS = anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 2 })
const RESOLVE_S = CONFIG.resolveAfter / 1_000
const DAY_S = 86_400

/** Ticks once a second from the end of the trouble on, the wall clock stepped as told. @returns after how many it resolved */
function resolvedAfterS(steps: ReadonlyMap<number, number>, limitS: number): number | undefined {
  const { see, feed, state } = reducer()
  see(ERRORS, closing(ERRORS, 20))
  let offsetS = 20
  for (let second = 1; second <= limitS; second++) {
    offsetS += steps.get(second) ?? 0
    feed({ kind: 'tick' }, offsetS + second)
    if (state.open.size === 0) return second
  }
  return undefined
}

test('without a step it resolves after resolveAfter', () => {
  expect(resolvedAfterS(new Map(), 1_000)).toBe(RESOLVE_S)
})

test.each([-DAY_S / 2, -3_600, -1])('a step back of %i s delays it by a tick', stepS => {
  expect(resolvedAfterS(new Map([[30, stepS]]), 1_000)).toBe(RESOLVE_S + 1)
})

test.each([3_600, DAY_S / 2])('a step forward of %i s counts as a third of resolveAfter at most', stepS => {
  expect(resolvedAfterS(new Map([[1, stepS]]), 1_000)).toBe(RESOLVE_S - RESOLVE_S / 3 + 1)
})

test('whatever the steps are, it is watched at least three times, and each delays it by a tick at most', () => {
  const step = fc.tuple(fc.integer({ min: 1, max: 120 }), fc.integer({ min: -7_200, max: 7_200 }))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), list => {
      const steps = new Map(list)
      const after = resolvedAfterS(steps, 1_000)
      const forward = [...steps.values()].filter(stepS => stepS > 0).length
      expect(after).toBeGreaterThanOrEqual(Math.max(3, RESOLVE_S - forward * (RESOLVE_S / 3 - 1)))
      expect(after).toBeLessThanOrEqual(RESOLVE_S + steps.size)
    }),
    { seed: 7, numRuns: 200 }
  )
})
