// How rare a record is by the series' own excursions.

import { describe, expect, it } from 'vitest'
import { clearSlot, newRichPage } from '../../../../../detectors/score/rich/page.ts'
import { ownTailScore } from '../../../../../detectors/score/rich/own-tail.ts'
import { updateRich } from '../../../../../detectors/score/rich/rich.ts'
import { chance } from '../../builders.ts'

const MINUTE_MS = 60_000

/** Score of `value` after a day of minutes of a law. */
function afterADay(law: (dice: ReturnType<typeof chance>) => number, value: number, isBelow = false): number {
  const page = newRichPage()
  clearSlot(page, 0)
  const dice = chance(1)
  for (let row = 0; row < 1_440; row++) updateRich(page, 0, law(dice), row * MINUTE_MS)
  updateRich(page, 0, value, 1_440 * MINUTE_MS)
  return ownTailScore(page, 0, value, isBelow)
}

const gaussian = ({ gaussian: draw }: ReturnType<typeof chance>): number => 50 + 5 * draw()
const wild = ({ uniform }: ReturnType<typeof chance>): number => 50 + 5 * (1 - uniform()) ** -0.5

describe('own tail', () => {
  it('calls twice the highest so far rare on a quiet series, usual on a wild one', () => {
    // A Gaussian's 1,440 points reach 3.2 deviations; a Pareto's of index 2 about 38 times its scale.
    expect(afterADay(gaussian, 50 + 5 * 6.4)).toBeGreaterThan(1.5)
    expect(afterADay(wild, 50 + 5 * 76)).toBeLessThan(1)
    expect(afterADay(wild, 50 + 5 * 5_000)).toBeGreaterThan(3)
  })

  it('sees either side', () => {
    expect(afterADay(gaussian, 50 - 5 * 6.4, true)).toBeGreaterThan(1.5)
  })

  it('says nothing of a value within what was seen', () => {
    expect(afterADay(gaussian, 55)).toBe(Number.POSITIVE_INFINITY)
  })
})
