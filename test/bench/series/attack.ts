// Cardinality attack: new series without end beside a few that matter. Used by `bench series -- attack` and, small, by
// test/unit/detectors/budget.test.ts.
//
// Four groups of watched series report all the time: `key` ones (errors) from before the attack; `ordinary` ones from before it; `late`
// ones that appear when the rich tier's slots are taken, and become anomalous half-way; and `key` ones that appear when the base
// tier is full.

import { budgetOf } from '../../../detectors/score/budget.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { configSchema } from '../../../schemas/config.ts'
import { keyOf, START_MS, STEP_MS, seriesFleet } from '../series-fleet.ts'

const QUIET_STEPS = 60
const KEYS_PER_STEP = 1_000
const GROUP = 100
/** Numbers of watched series, beyond all keys of the attack. */
const FIRST = { key: 1e9, ordinary: 1.1e9, late: 1.2e9, newKey: 1.3e9 } as const
const TROUBLE = 5_000

export interface AttackProgress {
  keys: number
  /** Buffers of the scorer. */
  bytes: number
  admitted: number
  refused: number
}

export interface AttackReport extends AttackProgress {
  memoryMax: number
  /** Of GROUP each: series with a slot of the rich tier at the end. */
  slotsOfKey: number
  /** Before the late ones became anomalous, and at the end: then those have taken slots of ordinary ones. */
  slotsOfOrdinaryBefore: number
  slotsOfOrdinary: number
  slotsOfLateBefore: number
  slotsOfLate: number
  /** Of GROUP: key series that appeared when the base tier was full, and were admitted. */
  newKeyAdmitted: number
  group: number
  /** Points of the attack a CPU second, while new series are refused. */
  refusedPerS: number
}

export function cardinalityAttack(memoryMax: number, keys: number, onProgress: (progress: AttackProgress) => void = () => {}): AttackReport {
  const settings = settingsFrom(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect)
  const budget = budgetOf(memoryMax)
  const scorer = new Scorer(settings, { budget, nowMs: () => START_MS })
  const attack = seriesFleet()
  const important = seriesFleet({ metricOf: () => 'app.errors' })
  const ordinary = seriesFleet()
  const feed = (fleet: typeof attack, first: number, step: number, value?: number): void => {
    for (let index = first; index < first + GROUP; index++) fleet.point(scorer, index, step, value)
  }
  const known = (first: number): number[] => Array.from({ length: GROUP }, (_, index) => scorer.table.find(...keyOf(first + index))).filter(one => one >= 0)
  const slots = (first: number): number => known(first).filter(series => scorer.tiers.rich.slotOf(series) >= 0).length
  const progress = (sent: number): AttackProgress => ({ keys: sent, bytes: scorer.bytes, admitted: scorer.table.count, refused: budget.refused })

  const before = { slotsOfOrdinaryBefore: 0, slotsOfLateBefore: 0 }
  let refusedPoints = 0
  let refusedMicros = 0
  const steps = keys / KEYS_PER_STEP
  for (let step = 0; step < QUIET_STEPS + steps; step++) {
    scorer.begin(START_MS + step * STEP_MS)
    feed(important, FIRST.key, step)
    feed(ordinary, FIRST.ordinary, step)
    const attacked = step - QUIET_STEPS
    if (attacked === Math.floor(steps / 2)) Object.assign(before, { slotsOfOrdinaryBefore: slots(FIRST.ordinary), slotsOfLateBefore: slots(FIRST.late) })
    if (budget.slotsLeft <= 0) feed(ordinary, FIRST.late, step, attacked >= steps / 2 ? TROUBLE : undefined)
    if (attacked < 0) {
      scorer.close(START_MS + step * STEP_MS)
      continue
    }
    const isFull = budget.left <= 0
    if (isFull) feed(important, FIRST.newKey, step)
    const begun = process.cpuUsage()
    for (let index = attacked * KEYS_PER_STEP; index < (attacked + 1) * KEYS_PER_STEP; index++) attack.point(scorer, index, step)
    const { user, system } = process.cpuUsage(begun)
    if (isFull) {
      refusedPoints += KEYS_PER_STEP
      refusedMicros += user + system
    }
    scorer.close(START_MS + step * STEP_MS)
    scorer.take()
    onProgress(progress((attacked + 1) * KEYS_PER_STEP))
  }
  return {
    ...progress(keys),
    ...{ memoryMax, slotsOfKey: slots(FIRST.key), slotsOfOrdinary: slots(FIRST.ordinary), ...before, slotsOfLate: slots(FIRST.late) },
    ...{ newKeyAdmitted: known(FIRST.newKey).length, group: GROUP, refusedPerS: refusedPoints / (refusedMicros / 1e6) }
  }
}
