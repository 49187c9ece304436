// Prints the heap bytes that a point of the rich tier costs once it is optimised. A process of its own: the test runner's way of
// importing modules boxes every number that passes between files, which the product does not.

import { judgeRich } from '../../../../../detectors/score/rich/alarm.ts'
import { clearSlot, newRichPage } from '../../../../../detectors/score/rich/page.ts'
import { updateRich } from '../../../../../detectors/score/rich/rich.ts'
import { healthySeries } from '../../../../bench/nab/healthy.ts'

const POINTS = 4_000
const ROUNDS = 25
const { values, timesMs } = healthySeries(0, POINTS, 10)
const page = newRichPage()
clearSlot(page, 0)
const bytes: number[] = []
for (let repeat = 0; repeat < 4; repeat++) {
  const before = process.memoryUsage().heapUsed
  for (let round = 0; round < ROUNDS; round++) pass()
  bytes.push((process.memoryUsage().heapUsed - before) / (ROUNDS * POINTS))
}
// The first rounds are compiled in; a collection in between makes a repeat negative.
process.stdout.write(String(Math.max(...bytes.slice(2))))

function pass(): void {
  for (let row = 0; row < POINTS; row++) {
    updateRich(page, 0, values[row]!, timesMs[row]!)
    judgeRich(page, 0, 1)
  }
}
