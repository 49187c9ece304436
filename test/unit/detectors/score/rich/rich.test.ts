import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgeRich, RICH_FALSE_ALARMS_PER_DAY, RICH_VERDICT, richThreshold } from '../../../../../detectors/score/rich/alarm.ts'
import {
  CHANNELS,
  clearSlot,
  F32,
  F64,
  KEPT_MAX,
  newRichPage,
  PAGE_BYTES,
  PAGE_SLOTS,
  type RichPage,
  richPageBytes,
  richPageFrom,
  SLOT_BYTES,
  U32
} from '../../../../../detectors/score/rich/page.ts'
import { readRich, RICH_READY_POINTS, type RichReading, updateRich } from '../../../../../detectors/score/rich/rich.ts'
import { healthySeries } from '../../../../bench/nab/healthy.ts'
import { chance } from '../../builders.ts'

const THRESHOLD = richThreshold(RICH_FALSE_ALARMS_PER_DAY)
const START_MS = 1_767_225_600_000
const FIVE_MIN_MS = 300_000
const DAY_ROWS = 288

function aPage(slots = 1): RichPage {
  const page = newRichPage()
  for (let slot = 0; slot < slots; slot++) clearSlot(page, slot)
  return page
}

function aReading(): RichReading {
  return { channel: undefined, evidence: 0, expected: 0, lower: 0, upper: 0, points: 0, ready: false }
}

/** Rows that alarm, with the channel that had most evidence. */
function alarmsOf(values: readonly number[], intervalMs = FIVE_MIN_MS): { row: number; channel: string | undefined }[] {
  const page = aPage()
  const reading = aReading()
  return values.flatMap((value, row) => {
    updateRich(page, 0, value, START_MS + row * intervalMs)
    const verdict = judgeRich(page, 0, THRESHOLD)
    const { channel } = readRich(page, 0, reading)
    return verdict === RICH_VERDICT.opened || verdict === RICH_VERDICT.worsened ? [{ row, channel }] : []
  })
}

function series(rows: number, seed: number, value: (row: number, gaussian: () => number) => number): number[] {
  const { gaussian } = chance(seed)
  return Array.from({ length: rows }, (_, row) => value(row, gaussian))
}

/** A value as series send them, and a step of time: mostly the interval, sometimes a gap, a repetition or a step back. */
const aPoint = fc.tuple(
  fc.oneof(fc.double({ min: -1e3, max: 1e3, noNaN: true }), fc.double({ noNaN: true, noDefaultInfinity: true })),
  fc.constantFrom(FIVE_MIN_MS, FIVE_MIN_MS, FIVE_MIN_MS, 0, -1_000, 40 * FIVE_MIN_MS)
)

describe('the state of a rich series', () => {
  it('is at most 8 KB', () => {
    expect(SLOT_BYTES).toBeLessThanOrEqual(8_192)
    expect(PAGE_BYTES).toBe(64 + PAGE_SLOTS * SLOT_BYTES)
  })

  it('goes on with the same scores bit for bit after a checkpoint at any point, neighbours included', () => {
    fc.assert(
      fc.property(fc.nat({ max: 1_500 }), fc.integer({ min: 0, max: 69 }), fc.integer({ min: 1, max: 9 }), (cut, kind, seed) => {
        const rows = cut + 700
        const { values, timesMs } = healthySeries(kind, rows, seed)
        const page = aPage(3)
        for (let row = 0; row < cut; row++) updateAndJudge(page, 1, values[row]!, timesMs[row]!)
        updateRich(page, 2, 1, START_MS)
        const restored = richPageFrom(richPageBytes(page))
        expect(restored.used).toBe(3)
        for (let row = cut; row < rows; row++) {
          expect(updateAndJudge(restored, 1, values[row]!, timesMs[row]!)).toEqual(updateAndJudge(page, 1, values[row]!, timesMs[row]!))
        }
        expect(richPageBytes(restored)).toEqual(richPageBytes(page))
      }),
      { numRuns: 12 }
    )
  })

  it('scores 0..12 on any finite values and any times, and never touches another slot', () => {
    fc.assert(
      fc.property(fc.array(aPoint, { minLength: 300, maxLength: 900 }), points => {
        const page = aPage(3)
        let timeMs = START_MS
        for (const [value, stepMs] of points) {
          timeMs += stepMs
          const score = updateRich(page, 1, value, timeMs)
          if (!(score >= 0 && score <= 12)) throw new Error(`score ${score}`)
          judgeRich(page, 1, THRESHOLD)
        }
        const untouched = richPageBytes(aPage(3))
        const bytes = richPageBytes(page)
        expect(bytes.subarray(64, 64 + SLOT_BYTES)).toEqual(untouched.subarray(64, 64 + SLOT_BYTES))
        expect(bytes.subarray(64 + 2 * SLOT_BYTES)).toEqual(untouched.subarray(64 + 2 * SLOT_BYTES))
      }),
      { numRuns: 15 }
    )
  })

  it('is refused when foreign, of another version, or cut short', () => {
    const bytes = richPageBytes(aPage(2))
    for (const at of [0, 4, 8]) {
      const changed = Uint8Array.from(bytes)
      changed[at]! ^= 1
      expect(() => richPageFrom(changed)).toThrow(expect.objectContaining({ code: 'checkpoint_invalid' }))
    }
    expect(() => richPageFrom(bytes.subarray(0, bytes.length - 1))).toThrow(expect.objectContaining({ code: 'checkpoint_invalid' }))
    expect(() => richPageFrom(new Uint8Array(8))).toThrow(expect.objectContaining({ code: 'checkpoint_invalid' }))
  })

  it('hears again after the wildest values there are, with each channel that learns sizes', () => {
    const wild = new Map([
      [160, 1e15],
      [161, Number.MAX_VALUE],
      [162, -Number.MAX_VALUE]
    ])
    const values = series(6_000, 12, (row, gaussian) => wild.get(row) ?? 50 + gaussian() + (row >= 5_000 && row < 5_060 ? 60 : 0))
    const page = aPage()
    const strongest = new Float64Array(CHANNELS.length)
    for (const [row, value] of values.entries()) {
      updateRich(page, 0, value, START_MS + row * FIVE_MIN_MS)
      if (row < 5_000 || row >= 5_060) continue
      for (let channel = 0; channel < strongest.length; channel++) strongest[channel] = Math.max(strongest[channel]!, page.f32[F32.channels + channel]!)
    }
    for (const channel of ['profile', 'shape48', 'shape64'] as const) expect(strongest[CHANNELS.indexOf(channel)], channel).toBeGreaterThan(1)
  })

  it('keeps values evenly from the whole past, however long: an old scale is not forgotten', () => {
    const page = aPage()
    for (const [row, value] of series(9_000, 13, (at, gaussian) => (at < 4_500 ? 100 : 0) + gaussian()).entries()) {
      updateRich(page, 0, value, START_MS + row * FIVE_MIN_MS)
    }
    const kept = page.f64.subarray(F64.kept, F64.kept + page.u32[U32.keptCount]!)
    expect(kept.length).toBeGreaterThan(KEPT_MAX / 2)
    expect(kept.filter(value => value > 50).length / kept.length).toBeCloseTo(0.5, 1)
  })

  it('of a slot given to another series forgets the one before', () => {
    const page = aPage()
    const noise = series(1_500, 1, (_, gaussian) => 5 + gaussian())
    for (const [row, value] of noise.entries()) updateAndJudge(page, 0, value * 1e6, START_MS + row * 1_000)
    clearSlot(page, 0)
    const fresh = aPage()
    for (const [row, value] of noise.entries()) {
      expect(updateAndJudge(page, 0, value, START_MS + row * FIVE_MIN_MS)).toEqual(updateAndJudge(fresh, 0, value, START_MS + row * FIVE_MIN_MS))
    }
  })
})

describe('the rich tier finds', () => {
  it('a spike beyond everything seen, at its first point, as a record', () => {
    const alarms = alarmsOf(series(2_000, 2, (row, gaussian) => 50 + gaussian() + (row === 1_700 ? 40 : 0)))
    expect(alarms).toContainEqual({ row: 1_700, channel: 'record' })
  })

  it('a spike after a larger one, as an excursion', () => {
    const values = series(3_000, 3, (row, gaussian) => 50 + gaussian() + (row === 900 ? 200 : row === 2_500 ? 60 : 0))
    expect(alarmsOf(values)).toContainEqual({ row: 2_500, channel: 'excursion' })
  })

  it('a day without its hump, though every value of it is ordinary', () => {
    const hump = (row: number): number => (row % DAY_ROWS >= 96 && row % DAY_ROWS < 204 ? 80 : 20)
    const flatDay = 9 * DAY_ROWS
    const alarms = alarmsOf(series(12 * DAY_ROWS, 4, (row, gaussian) => (row >= flatDay && row < flatDay + DAY_ROWS ? 20 : hump(row)) + 2 * gaussian()))
    expect(alarms.some(({ row }) => row >= flatDay + 96 && row < flatDay + 120)).toBe(true)
    expect(alarms.filter(({ row }) => row > 2 * DAY_ROWS && row < flatDay).length).toBeLessThanOrEqual(2)
  })

  it('a wave that stops at a height it reaches all the time, by its shape', () => {
    const wave = (row: number): number => 50 + 10 * Math.sin((2 * Math.PI * row) / 60)
    const stops = 2_610
    const alarms = alarmsOf(series(3_000, 5, (row, gaussian) => (row >= stops && row < stops + 80 ? 60 : wave(row)) + gaussian()))
    expect(alarms.find(({ row }) => row >= stops && row < stops + 80)?.channel).toMatch(/^shape/)
  })

  it('the same in any unit and upside down', () => {
    const values = series(2_500, 6, (row, gaussian) => 3 + 0.5 * Math.sin(row / 40) + 0.2 * gaussian() + (row > 2_000 && row < 2_010 ? 5 : 0))
    const rows = alarmsOf(values).map(({ row }) => row)
    expect(rows.length).toBeGreaterThan(0)
    expect(alarmsOf(values.map(value => 1_024 * value)).map(({ row }) => row)).toEqual(rows)
    expect(alarmsOf(values.map(value => -value)).map(({ row }) => row)).toEqual(rows)
  })
})

describe('the rich tier does not', () => {
  it('look ahead: the scores of a beginning are those of the whole', () => {
    const { values, timesMs } = healthySeries(11, 2_500, 7)
    const whole = scores(values, timesMs)
    for (const cut of [1, 299, 300, 512, 1_777]) expect(scores(values.subarray(0, cut), timesMs)).toEqual(whole.slice(0, cut))
  })

  it('alarm on a constant, nor on the first points of anything', () => {
    expect(alarmsOf(series(3_000, 8, () => 7))).toEqual([])
    for (let kind = 0; kind < 14; kind++) {
      const { values } = healthySeries(kind, 150, 9)
      expect(alarmsOf([...values])).toEqual([])
    }
  })

  it('say that it is ready before all channels judge', () => {
    const page = aPage()
    const reading = aReading()
    for (let row = 0; row < RICH_READY_POINTS; row++) {
      expect(readRich(page, 0, reading).ready).toBe(false)
      updateRich(page, 0, row % 10, START_MS + row * FIVE_MIN_MS)
    }
    expect(readRich(page, 0, reading).ready).toBe(true)
  })

  it('allocate per point', () => {
    const script = join(import.meta.dirname, 'allocation.ts')
    const bytes = Number(execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=128', script], { encoding: 'utf8' }))
    // A boxed number would be 12 bytes; what is left are sorts and the runtime's own.
    expect(bytes).toBeLessThan(8)
  })
})

describe('what a point was judged by', () => {
  it('is the state before it: the value expected at this hour and the range so far', () => {
    const page = aPage()
    const values = series(10 * DAY_ROWS, 11, row => (row % DAY_ROWS < 144 ? 100 : 10))
    for (const [row, value] of values.entries()) updateRich(page, 0, value, START_MS + row * FIVE_MIN_MS)
    updateRich(page, 0, 500, START_MS + 10 * DAY_ROWS * FIVE_MIN_MS)
    const reading = readRich(page, 0, aReading())
    expect(reading.expected).toBeCloseTo(100, 6)
    expect([reading.lower, reading.upper, reading.channel]).toEqual([10, 100, 'record'])
  })
})

function updateAndJudge(page: RichPage, slot: number, value: number, timeMs: number): [number, number] {
  return [updateRich(page, slot, value, timeMs), judgeRich(page, slot, THRESHOLD)]
}

function scores(values: Float64Array, timesMs: Float64Array): number[] {
  const page = aPage()
  return Array.from(values, (value, row) => updateRich(page, 0, value, timesMs[row]!))
}
