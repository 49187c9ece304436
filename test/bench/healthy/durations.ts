// Durations of a window's requests: a lognormal body, a few slow ones; counted in fine buckets, each a Poisson draw of its own.
//
// Thinning a Poisson stream by bucket is exact, and costs the buckets (about a hundred), not the requests.

import { BOUNDS_S } from './points.ts'
import type { PointView } from '../../../schemas/otlp.ts'
import type { Chance } from './chance.ts'

/** As derive counts durations: bounds grow by 2^(1/16). */
const SCALE = 4
const STEPS = 2 ** SCALE
const BODY_SIGMAS = 4
/** One request in a hundred and fifty is slow: a collection, a retransmission, a cold page. */
const SLOW_SHARE = 1 / 150
const SLOW_FACTOR = 6
const SLOW_SIGMA = 0.6
/** Fewer requests than this are drawn one by one. */
const FEW = 48
/** 2^-16 s to 2^8 s. */
const FIRST = -16 * STEPS
const LENGTH = 24 * STEPS

export interface Durations {
  count: number
  /** Seconds. */
  sum: number
  readonly counts: Float64Array
  /** Used buckets: [low, high). */
  low: number
  high: number
}

export function newDurations(): Durations {
  return { count: 0, sum: 0, counts: new Float64Array(LENGTH), low: LENGTH, high: 0 }
}

/** Bucket's middle in seconds, and its place among the explicit bounds. */
const MIDDLES = Float64Array.from({ length: LENGTH }, (_, bucket) => 2 ** ((bucket + FIRST + 0.5) / STEPS))
const PLACES = Uint8Array.from(MIDDLES, middle => {
  const place = BOUNDS_S.findIndex(bound => middle <= bound)
  return place < 0 ? BOUNDS_S.length : place
})

/** Draws the requests of a window, about `mean` of them. @param median seconds */
export function drawDurations(into: Durations, chance: Chance, mean: number, median: number, sigma: number): void {
  into.counts.fill(0, into.low, into.high)
  into.count = 0
  into.sum = 0
  into.low = LENGTH
  into.high = 0
  const slow = chance.poisson(mean * SLOW_SHARE)
  for (let one = 0; one < slow; one++) count(into, bucketOf(median * SLOW_FACTOR * chance.lognormal(SLOW_SIGMA)), 1)
  const body = mean * (1 - SLOW_SHARE)
  if (body < FEW) {
    const few = chance.poisson(body)
    for (let one = 0; one < few; one++) count(into, bucketOf(median * chance.lognormal(sigma)), 1)
    return
  }
  const spread = sigma * Math.LOG2E * STEPS
  const centre = Math.log2(median) * STEPS - FIRST - 0.5
  const from = Math.max(0, Math.floor(centre - BODY_SIGMAS * spread))
  const to = Math.min(LENGTH - 1, Math.ceil(centre + BODY_SIGMAS * spread))
  const height = body / (spread * Math.sqrt(2 * Math.PI))
  for (let bucket = from; bucket <= to; bucket++) {
    const z = (bucket - centre) / spread
    const drawn = chance.poisson(height * Math.exp(-0.5 * z * z))
    if (drawn > 0) count(into, bucket, drawn)
  }
}

/** Adds them to a cumulative explicit histogram. */
export function addTo(view: PointView, { counts, low, high, count: requests, sum }: Durations): void {
  for (let bucket = low; bucket < high; bucket++) view.buckets[PLACES[bucket]!]! += counts[bucket]!
  view.count += requests
  view.sum += sum
}

/** Makes them the delta of an exponential histogram. */
export function writeDelta(view: PointView, { counts, low, high, count: requests, sum }: Durations): void {
  view.count = requests
  view.sum = sum
  view.scale = SCALE
  view.zeroCount = 0
  view.positiveOffset = low + FIRST
  view.bucketCount = high - low
  view.buckets = counts.subarray(low, high)
}

function bucketOf(seconds: number): number {
  return Math.max(0, Math.min(LENGTH - 1, Math.ceil(Math.log2(seconds) * STEPS) - 1 - FIRST))
}

function count(into: Durations, bucket: number, requests: number): void {
  into.counts[bucket] = into.counts[bucket]! + requests
  into.count += requests
  into.sum += requests * MIDDLES[bucket]!
  if (bucket < into.low) into.low = bucket
  if (bucket >= into.high) into.high = bucket + 1
}
