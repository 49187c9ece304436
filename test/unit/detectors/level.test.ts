import { describe, expect, it } from 'vitest'
import { F32, F64, newPage, type SeriesPage } from '../../../detectors/score/record.ts'
import { type LevelLimits, type LevelSettings, updateLevel, VERDICT } from '../../../detectors/score/level.ts'
import { intervalStep, tailScore, tailTable } from '../../../detectors/score/tail.ts'
import { chance } from './builders.ts'

const SETTINGS: LevelSettings = { warmupPoints: 60, enterPoints: 3, exitPoints: 5, tail: tailTable(0.001, 3) }
const MEMORY_MB: LevelLimits = { above: true, below: false, deviationMin: 16, deviationMinRelative: 0.2, scaleFloor: 1.6 }
const LATENCY_S: LevelLimits = { above: true, below: false, deviationMin: 0.02, deviationMinRelative: 0.2, scaleFloor: 0.002 }
const ERRORS_PER_S: LevelLimits = { above: true, below: false, deviationMin: 0.2, deviationMinRelative: 0.2, scaleFloor: 0.02 }
const ANY: LevelLimits = { above: true, below: true, deviationMin: 5, deviationMinRelative: 0.2, scaleFloor: 0.5 }

interface Run {
  page: SeriesPage
  opens: { at: number; sinceMs: number }[]
  closes: number[]
  learned: number[]
}

/** Runs `points` values at one a second through one record. */
function run(value: (second: number) => number, points: number, limits: LevelLimits, options: { settings?: LevelSettings; intervalMs?: number } = {}): Run {
  const { settings = SETTINGS, intervalMs = 1_000 } = options
  const page = newPage()
  page.f64[F64.lastTimeMs] = Number.NEGATIVE_INFINITY
  const result: Run = { page, opens: [], closes: [], learned: [] }
  for (let k = 0; k < points; k++) {
    const timeMs = 1e12 + k * intervalMs
    const verdict = updateLevel(page, 0, value(k), timeMs, timeMs, settings, limits)
    if (verdict === VERDICT.opened) result.opens.push({ at: k, sinceMs: (page.f64[F64.onsetMs]! - 1e12) / intervalMs })
    if (verdict === VERDICT.closed) result.closes.push(k)
    if (verdict === VERDICT.learned) result.learned.push(k)
  }
  return result
}

describe('level detector finds', () => {
  it('a leak of 10 MB/s on a sawtooth of garbage collections within 8 s, dated to within 2 s for most', () => {
    let exact = 0
    for (let seed = 1; seed <= 50; seed++) {
      const { uniform, gaussian } = chance(seed)
      const phase = uniform() * 20
      const { opens } = run(k => 60 + 15 * (((k + phase) % 20) / 20) + gaussian() + Math.max(0, k - 119) * 10, 140, MEMORY_MB)
      expect(opens.length, `seed ${seed}`).toBe(1)
      expect(opens[0]!.at - 120, `seed ${seed}`).toBeLessThanOrEqual(8)
      expect(opens[0]!.at, `seed ${seed}`).toBeGreaterThanOrEqual(120)
      if (Math.abs(opens[0]!.sinceMs - 120) <= 2) exact++
    }
    expect(exact).toBeGreaterThanOrEqual(40)
  })

  it('a leak of 2 MB/s on the same sawtooth within 45 s', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const { uniform, gaussian } = chance(seed)
      const phase = uniform() * 20
      const { opens } = run(k => 60 + 15 * (((k + phase) % 20) / 20) + gaussian() + Math.max(0, k - 119) * 2, 200, MEMORY_MB)
      expect(opens[0]?.at ?? 999, `seed ${seed}`).toBeLessThanOrEqual(165)
    }
  })

  it('latency that rises by 400 ms with its third point, dated to its first', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { gaussian } = chance(seed)
      const { opens } = run(k => 0.02 * Math.exp(0.4 * gaussian()) + (k >= 70 ? 0.4 : 0), 90, LATENCY_S)
      expect(opens[0]?.at, `seed ${seed}`).toBe(72)
      expect(opens[0]!.sinceMs, `seed ${seed}`).toBe(70)
    }
  })

  it('a burst on a series that was always zero', () => {
    expect(run(k => (k >= 100 ? 30 : 0), 110, ERRORS_PER_S).opens).toEqual([{ at: 102, sinceMs: 100 }])
  })

  it('a drop where drops matter, and none where they do not', () => {
    const { gaussian } = chance(5)
    const drop = (k: number): number => (k < 200 ? 100 + 2 * gaussian() : 20)
    expect(run(drop, 210, ANY).opens.length).toBe(1)
    expect(run(drop, 210, MEMORY_MB).opens.length).toBe(0)
  })
})

describe('level detector stays silent', () => {
  it('while it warms up, whatever comes', () => {
    const { uniform } = chance(3)
    expect(run(() => (uniform() < 0.5 ? 0 : 1e6), 60, ANY).opens).toEqual([])
  })

  it('on a constant, on a wiggle below what matters, and on fewer points than it takes to enter', () => {
    expect(run(() => 42, 500, ANY).opens).toEqual([])
    expect(run(k => 42 + (k > 100 ? 4 : 0), 500, ANY).opens).toEqual([])
    expect(run(k => (k === 200 || k === 201 || k === 300 ? 5_000 : 42), 500, ANY).opens).toEqual([])
  })

  it('on 400 healthy series over an hour: at most one alarm', () => {
    let alarms = 0
    for (let seed = 0; seed < 400; seed++) {
      const { uniform, gaussian, poisson } = chance(seed + 1)
      const phase = uniform() * 3_600
      let wander = 0
      const wandering = (memory: number): number => {
        wander = memory * wander + Math.sqrt(1 - memory * memory) * gaussian()
        return wander
      }
      const shapes: [(k: number) => number, LevelLimits][] = [
        [() => 100 + 5 * gaussian(), ANY],
        [() => 100 + 10 * wandering(0.97), ANY],
        [() => 0.02 * Math.exp(0.5 * gaussian()), LATENCY_S],
        [k => 60 + 30 * (((k + phase) % 40) / 40) + gaussian(), MEMORY_MB],
        [() => (uniform() < 0.05 ? 1 : 0), ERRORS_PER_S],
        [() => poisson(0.3), ERRORS_PER_S],
        [k => 100 + 50 * Math.sin((2 * Math.PI * (k + phase)) / 3_600) + 5 * gaussian(), ANY],
        [() => poisson(8), ANY]
      ]
      const [value, limits] = shapes[seed % shapes.length]!
      alarms += run(value, 3_600, limits).opens.length
    }
    expect(alarms).toBeLessThanOrEqual(1)
  })

  it('on days of a daily wave at 10 s and at 60 s', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { uniform, gaussian } = chance(seed)
      const phase = uniform()
      const wave = (k: number, perDay: number): number => 100 + 50 * Math.sin(2 * Math.PI * (k / perDay + phase)) + 5 * gaussian()
      expect(run(k => wave(k, 8_640), 2 * 8_640, ANY, { intervalMs: 10_000 }).opens, `seed ${seed}`).toEqual([])
      expect(run(k => wave(k, 1_440), 5 * 1_440, ANY, { intervalMs: 60_000 }).opens, `seed ${seed}`).toEqual([])
    }
  })

  it('on working days reported once a minute: three times the night within four hours of the morning', () => {
    const perDay = 1_440
    for (let seed = 1; seed <= 20; seed++) {
      const { gaussian } = chance(seed)
      const hump = (hour: number, at: number, width: number): number => Math.exp(-(((hour - at) / width) ** 2) / 2)
      const value = (k: number): number => {
        const hour = ((k % perDay) * 24) / perDay
        return 500 * (0.35 + 0.75 * hump(hour, 11, 2.5) + 0.65 * hump(hour, 16, 3)) * Math.exp(0.06 * gaussian())
      }
      expect(run(value, 4 * perDay, ANY, { intervalMs: 60_000 }).opens, `seed ${seed}`).toEqual([])
    }
  })
})

describe('level detector recovers', () => {
  it('closes after exitPoints calm points and can open again', () => {
    const { gaussian } = chance(1)
    const { opens, closes } = run(k => 100 + gaussian() + ((k >= 200 && k < 230) || k >= 300 ? 80 : 0), 320, ANY)
    expect(opens.map(open => open.at)).toEqual([202, 302])
    expect(closes).toEqual([234])
  })

  it('keeps what it learned through an anomaly of ten minutes', () => {
    const { gaussian } = chance(2)
    const { page, opens, closes } = run(k => 100 + gaussian() + (k >= 600 && k < 1_200 ? 300 : 0), 1_300, ANY)
    expect([opens.length, closes.length]).toEqual([1, 1])
    expect(Math.abs(page.f64[F64.level]! - 100)).toBeLessThan(5)
  })

  it('takes a level that lasts an hour as the new normal', () => {
    const { gaussian } = chance(3)
    const { page, opens, learned } = run(k => 100 + gaussian() + (k >= 300 ? 300 : 0), 4_400, ANY)
    expect(opens.length).toBe(1)
    expect(learned.map(at => Math.round((at - 302) / 60))).toEqual([60])
    expect(Math.abs(page.f64[F64.level]! - 400)).toBeLessThan(5)
  })

  it('follows a harmless fall of level within minutes, and judges by it from then on', () => {
    const { gaussian } = chance(4)
    const { opens } = run(k => (k < 300 ? 150 : k < 600 ? 60 : 120) + gaussian(), 620, MEMORY_MB)
    expect(opens.map(open => open.at)).toEqual([602])
  })

  it('learns that a series spikes regularly instead of alarming for ever', () => {
    const { gaussian } = chance(5)
    const { page } = run(k => 10 + gaussian() + (k % 50 < 2 ? 200 : 0), 2_000, ANY)
    const calm = page.f32[F32.upper]! + page.f32[F32.upperExcess]! * SETTINGS.tail.reach[9]!
    expect(calm).toBeGreaterThan(100)
  })
})

describe('level detector state', () => {
  it('continues bit for bit from a copy taken anywhere', () => {
    const { gaussian, uniform } = chance(9)
    const values = Array.from({ length: 1_000 }, (_, k) => 100 + 10 * gaussian() + (k > 700 && k < 800 ? 200 : 0) + (uniform() < 0.01 ? 80 : 0))
    for (const cut of [1, 59, 60, 333, 702, 750, 799, 802]) {
      const whole = newPage()
      whole.f64[F64.lastTimeMs] = Number.NEGATIVE_INFINITY
      let copy = newPage()
      const verdicts: [number, number][] = []
      for (const [k, value] of values.entries()) {
        const verdict = updateLevel(whole, 0, value, k * 1_000, k * 1_000, SETTINGS, ANY)
        if (k === cut) {
          copy = newPage()
          new Uint8Array(copy.buffer).set(new Uint8Array(whole.buffer))
        } else if (k > cut) verdicts.push([verdict, updateLevel(copy, 0, value, k * 1_000, k * 1_000, SETTINGS, ANY)])
      }
      expect(verdicts.every(([a, b]) => a === b)).toBe(true)
      expect(Buffer.compare(copy.u8.subarray(0, 128), whole.u8.subarray(0, 128))).toBe(0)
    }
  })
})

describe('tail calibration', () => {
  it('asks for rarer points where more points come and where fewer false alarms are wanted', () => {
    const { threshold, reach } = tailTable(0.001, 3)
    expect(threshold[intervalStep(1_000)]!).toBeGreaterThan(threshold[intervalStep(60_000)]!)
    expect(reach[intervalStep(1_000)]!).toBeGreaterThan(reach[intervalStep(60_000)]!)
    expect(tailTable(0.1, 3).threshold[intervalStep(1_000)]!).toBeLessThan(threshold[intervalStep(1_000)]!)
    expect(tailTable(0.001, 1).threshold[intervalStep(1_000)]!).toBeGreaterThan(threshold[intervalStep(1_000)]!)
  })

  it('scores a point at the alarm limit with the threshold', () => {
    const { threshold, reach } = tailTable(0.001, 3)
    for (const intervalMs of [1_000, 10_000, 60_000]) {
      const step = intervalStep(intervalMs)
      expect(tailScore(2 + 0.5 * reach[step]!, 2, 0.5)).toBeCloseTo(threshold[step]!, 9)
    }
  })

  it('grows with distance, slower than a Gaussian', () => {
    expect(tailScore(1, 2, 0.5)).toBeLessThan(tailScore(2, 2, 0.5))
    expect(tailScore(2, 2, 0.5)).toBeCloseTo(1.7, 1)
    expect(tailScore(10, 2, 0.5)).toBeLessThan(10)
  })
})
