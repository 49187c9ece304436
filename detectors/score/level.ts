// The adaptive detector: robust level and scale of one series, its calibrated tail, and the hysteresis that opens and closes.
//
// Flow: value.ts -> level -> scorer (which tells the anomaly). Runs once per value on the record's first cache line: no
// allocation, all state in the page, so a restored copy continues bit for bit.
//
//   warmup --warmupPoints--> normal --enterPoints deviating--> open --exitPoints calm | SHIFT_LEARNED_MS--> normal
//
// Level: exponentially weighted mean of clipped residuals (Huber's psi: Huber & Ronchetti, "Robust Statistics", 2nd ed.,
// ch. 8); weight 2/(n+1) while young, so that the odd first points of a process are forgotten quadratically. Scale: the same of
// absolute residuals times 1.2533 (a Gaussian's ratio). Learning is slowed while deviating and nearly stopped while anomalous.

import { F32, F32_STRIDE, F64, F64_STRIDE, FLAG, type SeriesPage, STATE, U32, U8, U8_STRIDE } from './record.ts'
import { intervalStep, type TailTable } from './tail.ts'
import { beginTail, keepPeak, learnTail } from './tail-learning.ts'

/**
 * Memory of a grown series: 100 minutes, short enough to follow a day, long enough not to follow a leak; of seconds 600 points. A
 * series slower than a minute would have too few points in it to learn a scale from: 600 again, which span the day
 * instead. Some hours would do neither: a morning would be a step.
 */
const MEMORY_MS = 6_000_000
const FOLLOWING_INTERVAL_MS_MAX = 90_000
const WEIGHT_MIN = 1 / 600
const QUICK_WEIGHT = 0.1
const INTERVAL_WEIGHT = 0.1
/** Residuals are clipped at this many scales when learned, once the scale means something. */
const CLIP_SCALES = 4
const CLIP_FROM_SAMPLES = 8
const GAUSSIAN_RATIO = 1.2533
/** Scale is at least this share of the level: a deviation of a few percent of a constant is no surprise worth waking anybody. */
const SCALE_RELATIVE_MIN = 0.01
/** Points of the tail are learned more slowly than the others, deviating ones more slowly still, anomalous ones hardly. */
const WEIGHT_TAIL = 0.5
/** Of that, what the scale learns: else its growth lets the limit keep ahead of a slow leak (simulated: 2 MB/s on a sawtooth of 15 MB). */
const SPREAD_TAIL_SHARE = 0.5
const WEIGHT_DEVIATING = 0.25
const WEIGHT_OPEN = 0.02
/** A new level that lasts this long is the new normal: an anomaly does not stay open for ever. */
const SHIFT_LEARNED_MS = 3_600_000
/** Deviating points that may not alarm (the harmless way, too small) before the level moves there. */
const RESETTLE_POINTS = 60
/** Inside this many scales a point is at the normal centre: the last one before an alarm dates its onset. */
const CENTRE_SCALES = 1
/** Share of the alarm limit from which a point certainly belongs to the deviation. */
const STRONG_SHARE = 0.5
/** Calm = within this share of the limit. */
const EXIT_SHARE = 0.6

export interface LevelSettings {
  warmupPoints: number
  enterPoints: number
  exitPoints: number
  tail: TailTable
}

export interface LevelLimits {
  above: boolean
  below: boolean
  /** Least deviation that matters: in the series' unit, and as a share of the expected value. */
  deviationMin: number
  deviationMinRelative: number
  scaleFloor: number
}

/** What a value changed. */
export const VERDICT = { nothing: 0, opened: 1, ongoing: 2, closed: 3, learned: 4, lapsed: 5 } as const
export type Verdict = (typeof VERDICT)[keyof typeof VERDICT]

/** Effective scale of a record: never below its floors. */
export function scaleOf(spread: number, level: number, limits: LevelLimits): number {
  return Math.max(spread, limits.scaleFloor, SCALE_RELATIVE_MIN * Math.abs(level))
}

/**
 * Folds one value into the record at `row` and judges it against what was expected before it.
 * @param value   finite
 * @param timeMs  event time, later than the record's last
 * @param onsetMs the moment the value speaks of (middle of its window or interval), dates the onset
 */
export function updateLevel(
  page: SeriesPage,
  row: number,
  value: number,
  timeMs: number,
  onsetMs: number,
  settings: LevelSettings,
  limits: LevelLimits
): Verdict {
  const { f64, f32, u32, u8 } = page
  const base64 = row * F64_STRIDE
  const base32 = row * F32_STRIDE
  const base8 = row * U8_STRIDE
  const samples = u32[base32 + U32.samples]! + 1
  const elapsedMs = timeMs - f64[base64 + F64.lastTimeMs]!
  u32[base32 + U32.samples] = samples
  f64[base64 + F64.lastTimeMs] = timeMs
  f32[base32 + F32.lastValue] = value
  page.dirty = true
  if (samples === 1) {
    begin(page, row, value)
    return VERDICT.nothing
  }
  f32[base32 + F32.intervalMs] =
    samples === 2
      ? elapsedMs
      : f32[base32 + F32.intervalMs]! + INTERVAL_WEIGHT * (Math.min(elapsedMs, 10 * f32[base32 + F32.intervalMs]!) - f32[base32 + F32.intervalMs]!)
  f32[base32 + F32.quickLevel] = f32[base32 + F32.quickLevel]! + QUICK_WEIGHT * (value - f32[base32 + F32.quickLevel]!)

  const level = f64[base64 + F64.level]!
  const spread = f32[base32 + F32.spread]!
  const scale = scaleOf(spread, level, limits)
  const residual = value - level
  const isBelow = residual < 0
  const distance = Math.abs(residual) / scale
  const side = base32 + (isBelow ? F32.lower : F32.upper)
  const reach = settings.tail.reach[intervalStep(f32[base32 + F32.intervalMs]!)]!
  const limit = f32[side]! + f32[side + 1]! * reach
  const state = u8[base8 + U8.state]!

  if (state === STATE.warmup) {
    learn(page, row, residual, scale, 1)
    if (samples > settings.warmupPoints >> 1) learnTail(page, row, isBelow, distance, reach)
    if (samples >= settings.warmupPoints) u8[base8 + U8.state] = STATE.normal
    return VERDICT.nothing
  }
  const matters = Math.abs(residual) >= Math.max(limits.deviationMin, limits.deviationMinRelative * Math.abs(level)) && (isBelow ? limits.below : limits.above)
  if (state === STATE.open) return judgeOpen(page, row, residual, scale, distance, limit, matters, timeMs, settings)

  trackOnset(page, row, isBelow, distance, limit, onsetMs)
  if (distance <= limit) {
    u8[base8 + U8.run] = 0
    learn(page, row, residual, scale, distance > f32[side]! ? WEIGHT_TAIL : 1)
    learnTail(page, row, isBelow, distance, reach)
    return VERDICT.nothing
  }
  const run = Math.min(255, u8[base8 + U8.run]! + 1)
  u8[base8 + U8.run] = run
  if (!matters) {
    learn(page, row, residual, scale, 1)
    keepPeak(page, row, isBelow, distance)
    if (run >= RESETTLE_POINTS) settle(page, row, settings)
    return VERDICT.nothing
  }
  learn(page, row, residual, scale, WEIGHT_DEVIATING)
  keepPeak(page, row, isBelow, distance)
  if (run < settings.enterPoints) return VERDICT.nothing
  u8[base8 + U8.state] = STATE.open
  u8[base8 + U8.exitRun] = 0
  f64[base64 + F64.onsetMs] = steadyOnsetMs(
    f64[base64 + F64.onsetMs]!,
    f64[base64 + F64.strongMs]!,
    timeMs,
    f32[base32 + F32.intervalMs]!,
    settings.enterPoints
  )
  f64[base64 + F64.strongMs] = timeMs
  return VERDICT.opened
}

/**
 * The onset of a deviation that opens now. What grows steadily needs no longer from nothing to half way (`strongMs`) than
 * from there to the limit; a longer way was noise that lingered off the centre before, and the line is drawn back instead.
 */
function steadyOnsetMs(onsetMs: number, strongMs: number, timeMs: number, intervalMs: number, enterPoints: number): number {
  const secondHalfMs = Math.max(intervalMs, timeMs - strongMs - (enterPoints - 1) * intervalMs)
  return Math.max(onsetMs, strongMs - secondHalfMs)
}

function judgeOpen(
  page: SeriesPage,
  row: number,
  residual: number,
  scale: number,
  distance: number,
  limit: number,
  matters: boolean,
  timeMs: number,
  settings: LevelSettings
): Verdict {
  const { u8, f64 } = page
  const base8 = row * U8_STRIDE
  const openBelow = (u8[base8 + U8.flags]! & FLAG.below) !== 0
  const sameWay = openBelow === residual < 0
  if (!sameWay || !matters || distance <= EXIT_SHARE * limit) {
    learn(page, row, residual, scale, distance <= limit ? 1 : WEIGHT_DEVIATING)
    const exitRun = u8[base8 + U8.exitRun]! + 1
    u8[base8 + U8.exitRun] = exitRun
    if (exitRun < settings.exitPoints) return VERDICT.nothing
    endRun(page, row)
    return VERDICT.closed
  }
  u8[base8 + U8.exitRun] = 0
  learn(page, row, residual, scale, WEIGHT_OPEN)
  if (timeMs - f64[row * F64_STRIDE + F64.strongMs]! < SHIFT_LEARNED_MS) return VERDICT.ongoing
  settle(page, row, settings)
  return VERDICT.learned
}

/** First value of a series. */
function begin(page: SeriesPage, row: number, value: number): void {
  const { f64, f32, u8 } = page
  f64[row * F64_STRIDE + F64.level] = value
  const base = row * F32_STRIDE
  f32[base + F32.spread] = 0
  f32[base + F32.quickLevel] = value
  beginTail(page, row)
  u8[row * U8_STRIDE + U8.state] = STATE.warmup
}

/** Makes a record one that has long been at `value`: a count that was never seen is known to have been zero. */
export function presume(page: SeriesPage, row: number, value: number, timeMs: number, intervalMs: number, settings: LevelSettings): void {
  begin(page, row, value)
  page.f64[row * F64_STRIDE + F64.lastTimeMs] = timeMs
  page.f32[row * F32_STRIDE + F32.intervalMs] = intervalMs
  page.u32[row * F32_STRIDE + U32.samples] = settings.warmupPoints
  page.u8[row * U8_STRIDE + U8.state] = STATE.normal
}

function learn({ f64, f32, u32 }: SeriesPage, row: number, residual: number, scale: number, slowness: number): void {
  const base32 = row * F32_STRIDE
  const samples = u32[base32 + U32.samples]!
  const intervalMs = f32[base32 + F32.intervalMs]!
  const grownWeight = intervalMs <= FOLLOWING_INTERVAL_MS_MAX ? Math.max(WEIGHT_MIN, intervalMs / MEMORY_MS) : WEIGHT_MIN
  const weight = Math.max(2 / (samples + 1), grownWeight) * slowness
  const bound = CLIP_SCALES * scale
  const clipped = samples < CLIP_FROM_SAMPLES ? residual : Math.max(-bound, Math.min(bound, residual))
  f64[row * F64_STRIDE + F64.level] = f64[row * F64_STRIDE + F64.level]! + weight * clipped
  const spreadWeight = slowness === 1 ? weight : weight * SPREAD_TAIL_SHARE
  f32[base32 + F32.spread] = f32[base32 + F32.spread]! + spreadWeight * (Math.abs(clipped) * GAUSSIAN_RATIO - f32[base32 + F32.spread]!)
}

/** Keeps the first point since the normal centre (onset) and the first that is half way to the limit (strong). */
function trackOnset({ f64, u8 }: SeriesPage, row: number, isBelow: boolean, distance: number, limit: number, onsetMs: number): void {
  const base64 = row * F64_STRIDE
  const flagsAt = row * U8_STRIDE + U8.flags
  const wasBelow = (u8[flagsAt]! & FLAG.below) !== 0
  if (distance <= CENTRE_SCALES) {
    f64[base64 + F64.onsetMs] = 0
    f64[base64 + F64.strongMs] = 0
    return
  }
  if (f64[base64 + F64.onsetMs] === 0 || wasBelow !== isBelow) {
    f64[base64 + F64.onsetMs] = onsetMs
    f64[base64 + F64.strongMs] = 0
    u8[flagsAt] = (u8[flagsAt]! & ~FLAG.below) | (isBelow ? FLAG.below : 0)
    if (wasBelow !== isBelow) u8[row * U8_STRIDE + U8.run] = 0
  }
  if (distance < STRONG_SHARE * limit) f64[base64 + F64.strongMs] = 0
  else if (f64[base64 + F64.strongMs] === 0) {
    f64[base64 + F64.strongMs] = onsetMs
    // A step: what came before on this side was chance. A drift passes the half-way mark before the limit.
    if (distance > limit) f64[base64 + F64.onsetMs] = onsetMs
  }
}

/** The present level is the new normal; the scale is kept, and young again it finds its way quickly. */
function settle(page: SeriesPage, row: number, settings: LevelSettings): void {
  const base32 = row * F32_STRIDE
  page.f64[row * F64_STRIDE + F64.level] = page.f32[base32 + F32.quickLevel]!
  page.u32[base32 + U32.samples] = settings.warmupPoints
  endRun(page, row)
}

/** Ends the deviation or open anomaly of a record. */
export function endRun({ f64, u8 }: SeriesPage, row: number): void {
  const base8 = row * U8_STRIDE
  u8[base8 + U8.state] = STATE.normal
  u8[base8 + U8.run] = 0
  u8[base8 + U8.exitRun] = 0
  f64[row * F64_STRIDE + F64.onsetMs] = 0
  f64[row * F64_STRIDE + F64.strongMs] = 0
}
