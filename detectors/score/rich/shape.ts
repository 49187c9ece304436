// Novelty of shape: how far the last 48 or 64 rows are from every shape this series has shown before.
//
// Flow: rich.ts -> shapeOf, once per step length. A word is the means of eight blocks in units of the series' scale, turned into
// level and contrasts (Haar wavelet: Haar, "Zur Theorie der orthogonalen Funktionensysteme", 1910) so that no part counts
// twice. Its distance (largest difference) to the nearest prototype is judged against the usual distance of this series.
// Prototypes are an adaptive-resonance memory (Carpenter & Grossberg, 1987): a word is either near enough to move one a
// little, or a category of its own; the seldom used make room. We learn every seventh row only, a number that no day's or
// hour's count of rows divides, else memory and calibration would see the same minutes of each day.

import { F32, F32_STRIDE, F64, F64_STRIDE, PROTOTYPES_MAX, RECENT_ROWS, type RichPage, SHAPE_STEPS, U32, WORD_STEPS } from './page.ts'
import { boundedScales } from './scale.ts'

const SHAPES_FROM = 300
const LEARN_EVERY = 7
/** Weight of the word's mean level, and of its finest contrasts. */
const LEVEL_WEIGHT = 1.5
const FINEST_WEIGHT = 0.75
/** A word is new beyond so many usual distances plus this distance (scales). */
const NEW_FACTOR = 1.5
const NEW_DISTANCE = 0.5
const DISTANCE_WEIGHT_MIN = 0.003
const PROTOTYPE_WEIGHT_MIN = 0.02
const CLIP_FROM = 20
const CLIP_DEVIATIONS = 8
const DEVIATION_MIN = 0.05
/** A use is worth so many rows of age when a prototype has to go. */
const HIT_ROWS = 100

const means = new Float64Array(WORD_STEPS)
const word = new Float64Array(WORD_STEPS)

/** How many deviations the nearest shape is farther away than usual; 0 unless the shape is new. Learns the word. */
export function shapeOf(page: RichPage, slot: number, shape: number, point: number): number {
  if (point < SHAPES_FROM) return 0
  const { f32, u32 } = page
  const base32 = slot * F32_STRIDE
  const step = SHAPE_STEPS[shape]!
  readWord(page, slot, step, point)

  const known = u32[base32 + U32.prototypeCount + shape]!
  const prototypes = base32 + F32.prototypes + shape * PROTOTYPES_MAX * WORD_STEPS
  let nearest = -1
  let distance = Number.POSITIVE_INFINITY
  for (let index = 0; index < known; index++) {
    const at = prototypes + index * WORD_STEPS
    let largest = 0
    for (let part = 0; part < WORD_STEPS && largest < distance; part++) {
      const difference = Math.abs(word[part]! - f32[at + part]!)
      if (difference > largest) largest = difference
    }
    if (largest < distance) {
      distance = largest
      nearest = index
    }
  }
  const mean = f32[base32 + F32.shapeMean + shape]!
  const deviation = Math.sqrt(f32[base32 + F32.shapeVariance + shape]!)
  const isNew = distance > NEW_FACTOR * mean + NEW_DISTANCE
  // The first word's length of rows fills the memory; everything would be new.
  const far = known > 0 && isNew && point >= SHAPES_FROM + step * WORD_STEPS ? (distance - mean) / (deviation + DEVIATION_MIN) : 0
  if (point % LEARN_EVERY === 0) {
    if (known > 0) learnDistance(page, base32, shape, distance, mean, deviation)
    // Judged by the distance just learned: a burst of new words widens what is new.
    if (known === 0 || distance > NEW_FACTOR * f32[base32 + F32.shapeMean + shape]! + NEW_DISTANCE) addPrototype(page, base32, shape, point)
    else movePrototype(page, base32, shape, nearest, point)
  }
  return Math.max(0, far)
}

/** Level and contrasts of the last eight blocks of `step` rows into `word`. */
function readWord({ f64 }: RichPage, slot: number, step: number, point: number): void {
  const base64 = slot * F64_STRIDE
  const recent = base64 + F64.recent
  const centre = f64[base64 + F64.centre]!
  const scale = f64[base64 + F64.scale]!
  let row = point - WORD_STEPS * step + 1
  let total = 0
  for (let block = 0; block < WORD_STEPS; block++) {
    let sum = 0
    for (const end = row + step; row < end; row++) sum += f64[recent + (row & (RECENT_ROWS - 1))]!
    const mean = boundedScales((sum / step - centre) / scale)
    means[block] = mean
    total += mean
  }
  word[0] = (total / WORD_STEPS) * LEVEL_WEIGHT
  let part = 1
  for (let size = WORD_STEPS; size > 1; size >>= 1) {
    const weight = (Math.sqrt(size / WORD_STEPS) / size) * (size === 2 ? FINEST_WEIGHT : 1)
    for (let from = 0; from < WORD_STEPS; from += size) {
      let contrast = 0
      for (let index = 0; index < size; index++) contrast += index < size >> 1 ? means[from + index]! : -means[from + index]!
      word[part++] = contrast * weight
    }
  }
}

function learnDistance({ f32, u32 }: RichPage, base32: number, shape: number, distance: number, mean: number, deviation: number): void {
  const count = u32[base32 + U32.shapeCount + shape]! + 1
  u32[base32 + U32.shapeCount + shape] = count
  const weight = Math.max(1 / count, DISTANCE_WEIGHT_MIN)
  const clipped = count > CLIP_FROM ? Math.min(distance, mean + CLIP_DEVIATIONS * deviation + DEVIATION_MIN) : distance
  const change = clipped - mean
  f32[base32 + F32.shapeMean + shape] = mean + weight * change
  f32[base32 + F32.shapeVariance + shape] = (1 - weight) * (deviation * deviation + weight * change * change)
}

function addPrototype({ f32, u32 }: RichPage, base32: number, shape: number, point: number): void {
  const hits = base32 + U32.prototypeHits + shape * PROTOTYPES_MAX
  const last = base32 + U32.prototypeLast + shape * PROTOTYPES_MAX
  let index = u32[base32 + U32.prototypeCount + shape]!
  if (index < PROTOTYPES_MAX) u32[base32 + U32.prototypeCount + shape] = index + 1
  else {
    let least = Number.POSITIVE_INFINITY
    for (let candidate = 0; candidate < PROTOTYPES_MAX; candidate++) {
      const worth = u32[last + candidate]! + HIT_ROWS * u32[hits + candidate]!
      if (worth < least) {
        least = worth
        index = candidate
      }
    }
  }
  u32[hits + index] = 1
  u32[last + index] = point
  const at = base32 + F32.prototypes + (shape * PROTOTYPES_MAX + index) * WORD_STEPS
  for (let part = 0; part < WORD_STEPS; part++) f32[at + part] = word[part]!
}

function movePrototype({ f32, u32 }: RichPage, base32: number, shape: number, index: number, point: number): void {
  const hitsAt = base32 + U32.prototypeHits + shape * PROTOTYPES_MAX + index
  const hits = u32[hitsAt]! + 1
  u32[hitsAt] = hits
  u32[base32 + U32.prototypeLast + shape * PROTOTYPES_MAX + index] = point
  const weight = Math.max(1 / hits, PROTOTYPE_WEIGHT_MIN)
  const at = base32 + F32.prototypes + (shape * PROTOTYPES_MAX + index) * WORD_STEPS
  for (let part = 0; part < WORD_STEPS; part++) f32[at + part] = f32[at + part]! + weight * (word[part]! - f32[at + part]!)
}
