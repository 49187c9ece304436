// How the tail of a series is learned online: where it starts and how far beyond it points go, on each side.
//
// Flow: level (each point that is not anomalous) -> tail-learning -> limits of the next points (tail.ts says what they mean).
// All state is in the series' record. Source: peaks over threshold with declustering (Coles, "An Introduction to Statistical
// Modeling of Extreme Values", 2001, ch. 5); we move the threshold by stochastic approximation of a quantile, since
// nothing but the record may be remembered.

import { F32, F32_STRIDE, FLAG, type SeriesPage, U8, U8_STRIDE } from './record.ts'
import { TAIL_SHARE } from './tail.ts'

const TAIL_START = 2.05 // Gaussian quantile of 1 − TAIL_SHARE.
const TAIL_START_MIN = 1
const TAIL_START_MAX = 1_000
const TAIL_STEP = 0.1
/** Gaussian mean excess beyond 2.05 is 0.37; a young series is assumed to be a little wilder. */
const TAIL_EXCESS = 0.4
const TAIL_EXCESS_MIN = 0.25
/** A series of few values (mostly 0, sometimes 1) has all its excursions end at the same place: that is no proof that they always will. */
const TAIL_EXCESS_SHARE_MIN = 0.125
const TAIL_EXCESS_WEIGHT = 1 / 16
const PEAK_STEPS = 16
/** One wild excursion teaches at most this many times the limit: regular ones are learned after a few, a single one does not blind. */
const PEAK_LIMITS_MAX = 2

/** Tails of a new series: a Gaussian's, a little wilder. */
export function beginTail({ f32 }: SeriesPage, row: number): void {
  const base = row * F32_STRIDE
  f32[base + F32.upper] = TAIL_START
  f32[base + F32.lower] = TAIL_START
  f32[base + F32.upperExcess] = TAIL_EXCESS
  f32[base + F32.lowerExcess] = TAIL_EXCESS
}

/**
 * Moves the tails: the start of the point's side down a little at each point inside it, and once an excursion beyond a start
 * is over, that start up (so that excursions begin at TAIL_SHARE of the points) and its mean excess towards the
 * excursion's peak. (Declustering, as is usual for peaks over threshold: a drift is one long excursion, and learning its
 * points one by one would let the limit run away in front of it.)
 */
export function learnTail(page: SeriesPage, row: number, isBelow: boolean, distance: number, reach: number): void {
  const { f32, u8 } = page
  const base32 = row * F32_STRIDE
  const base8 = row * U8_STRIDE
  const side = base32 + (isBelow ? F32.lower : F32.upper)
  const start = f32[side]!
  const peakBelow = (u8[base8 + U8.flags]! & FLAG.peakBelow) !== 0
  const steps = u8[base8 + U8.peak]!
  if (steps !== 0 && (isBelow !== peakBelow || distance <= start)) {
    u8[base8 + U8.peak] = 0
    learnPeak(f32, base32 + (peakBelow ? F32.lower : F32.upper), 2 ** (steps / PEAK_STEPS), reach)
  }
  if (distance <= start) f32[side] = Math.max(TAIL_START_MIN, start - TAIL_STEP * TAIL_SHARE)
  else keepPeak(page, row, isBelow, distance)
}

function learnPeak(f32: Float32Array, side: number, peak: number, reach: number): void {
  const start = f32[side]!
  const excess = f32[side + 1]!
  const beyond = Math.max(0, Math.min(peak, PEAK_LIMITS_MAX * (start + excess * reach)) - start)
  f32[side] = Math.min(TAIL_START_MAX, start + TAIL_STEP * (1 - TAIL_SHARE))
  f32[side + 1] = Math.max(TAIL_EXCESS_MIN, TAIL_EXCESS_SHARE_MIN * start, excess + TAIL_EXCESS_WEIGHT * (beyond - excess))
}

/** The farthest point of the running excursion: log2 of its distance in sixteenths, so that one byte holds it. */
export function keepPeak({ u8 }: SeriesPage, row: number, isBelow: boolean, distance: number): void {
  const base = row * U8_STRIDE
  u8[base + U8.peak] = Math.max(u8[base + U8.peak]!, Math.min(255, Math.ceil(Math.log2(Math.max(1, distance)) * PEAK_STEPS)))
  u8[base + U8.flags] = (u8[base + U8.flags]! & ~FLAG.peakBelow) | (isBelow ? FLAG.peakBelow : 0)
}
