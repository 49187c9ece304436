// The rich tier's state: a slot of under 8 KB per series, in pages that are their own checkpoint.
//
// Flow: rich.ts -> channels (records, excursions, profile, shape) -> this layout. All arithmetic of the tier happens in these
// typed arrays, in place, so a page read back from its bytes goes on with the same scores bit for bit.
// A page is one ArrayBuffer: 64 bytes of header (magic, version, slot size, slots used), then the slots. Byte order is the
// machine's own; the magic is a number, so a foreign order is refused as a foreign format.
// A slot is f64 fields (what is subtracted: values, limits, means), then 32-bit fields (what is only compared or counted).

import { AppError } from '../../../schemas/errors.ts'

/** Values that a series keeps of its whole past, evenly spaced: scale and centre are their quantiles. */
export const KEPT_MAX = 512
/** The latest values; a power of two, because the shape's longest word is 64 rows. */
export const RECENT_ROWS = 64
export const PROFILE_HOURS = 24
/** Rows that one seasonal residual is averaged over. */
export const RESIDUAL_ROWS = 6
/** Excursions to either side that are remembered. */
export const EXCURSIONS = 6
/** Rows in one step of a shape's word; one shape channel each. */
export const SHAPE_STEPS = [6, 8] as const
export const WORD_STEPS = 8
export const PROTOTYPES_MAX = 32
export const CHANNELS = ['record', 'excursion', 'contrast', 'profile', 'shape48', 'shape64'] as const
export type Channel = (typeof CHANNELS)[number]

/** Offsets in f64 units from the slot's beginning. */
export const F64 = {
  lastTimeMs: 0,
  highest: 1,
  lowest: 2,
  contrastHighest: 3,
  contrastLowest: 4,
  centre: 5,
  scale: 6,
  /** Told by the last point, before it was learned: see `RichReading`. */
  expected: 7,
  lower: 8,
  upper: 9,
  /** Onset of the novelty that was told; 0: none. */
  sinceMs: 10,
  peaks: 11,
  recent: 11 + 2 * EXCURSIONS,
  kept: 11 + 2 * EXCURSIONS + RECENT_ROWS,
  profile: 11 + 2 * EXCURSIONS + RECENT_ROWS + KEPT_MAX
} as const
const F64_FIELDS = F64.profile + PROFILE_HOURS

/** Offsets in 32-bit units from the slot's beginning; the u32 fields follow the f32 fields. */
const at32 = 2 * F64_FIELDS
const SHAPES = SHAPE_STEPS.length
export const F32 = {
  intervalMs: at32,
  alarmStrength: at32 + 1,
  strength: at32 + 2,
  /** One per channel: statistic over its limit at the last point. */
  channels: at32 + 3,
  residuals: at32 + 3 + CHANNELS.length,
  residualMean: at32 + 3 + CHANNELS.length + RESIDUAL_ROWS,
  residualVariance: at32 + 4 + CHANNELS.length + RESIDUAL_ROWS,
  shapeMean: at32 + 5 + CHANNELS.length + RESIDUAL_ROWS,
  shapeVariance: at32 + 5 + CHANNELS.length + RESIDUAL_ROWS + SHAPES,
  prototypes: at32 + 5 + CHANNELS.length + RESIDUAL_ROWS + 2 * SHAPES
} as const
const u32At = F32.prototypes + SHAPES * PROTOTYPES_MAX * WORD_STEPS
export const U32 = {
  points: u32At,
  keptCount: u32At + 1,
  keptStride: u32At + 2,
  residualCount: u32At + 3,
  /** Point of the last alarm, and 0 when it is over, else 1 + calm points since. */
  alarmPoint: u32At + 4,
  alarmCalm: u32At + 5,
  /** Upper and lower: point at which the running excursion began (+ 1), and its rank among those remembered (+ 1). */
  excursionBegan: u32At + 6,
  excursionRank: u32At + 8,
  /** Excursions remembered on either side. */
  excursionCount: u32At + 10,
  shapeCount: u32At + 12,
  prototypeCount: u32At + 12 + SHAPES,
  prototypeHits: u32At + 12 + 2 * SHAPES,
  prototypeLast: u32At + 12 + 2 * SHAPES + SHAPES * PROTOTYPES_MAX,
  profileCount: u32At + 12 + 2 * SHAPES + 2 * SHAPES * PROTOTYPES_MAX,
  /** The owner (tier.ts): series + 1, why it has the slot, severity + 1 of the novelty that was told. */
  series: u32At + 12 + 2 * SHAPES + 2 * SHAPES * PROTOTYPES_MAX + PROFILE_HOURS,
  importance: u32At + 13 + 2 * SHAPES + 2 * SHAPES * PROTOTYPES_MAX + PROFILE_HOURS,
  told: u32At + 14 + 2 * SHAPES + 2 * SHAPES * PROTOTYPES_MAX + PROFILE_HOURS
} as const
const U32_END = U32.told + 1

/** Bytes of a slot, rounded up to whole cache lines. */
export const SLOT_BYTES = Math.ceil((U32_END * 4) / 64) * 64
export const F64_STRIDE = SLOT_BYTES / 8
export const F32_STRIDE = SLOT_BYTES / 4
/** A page is saved whole when one of its slots learned a row: small ones save less. */
export const PAGE_SLOTS = 16
export const PAGE_SHIFT = 4
const HEADER_BYTES = 64
export const PAGE_BYTES = HEADER_BYTES + PAGE_SLOTS * SLOT_BYTES

const MAGIC = 0x48434952 // 'RICH'
/** Grows with every change of the layout or of what a field means: an old checkpoint is then refused and state is rebuilt. */
export const RICH_VERSION = 1

export interface RichPage {
  readonly buffer: ArrayBuffer
  readonly f64: Float64Array
  readonly f32: Float32Array
  readonly u32: Uint32Array
  readonly header: Uint32Array
  /** Slots used. */
  used: number
  /** Changed since the last checkpoint. */
  dirty: boolean
}

/** An empty page. */
export function newRichPage(): RichPage {
  const page = viewsOf(new ArrayBuffer(PAGE_BYTES))
  page.header.set([MAGIC, RICH_VERSION, SLOT_BYTES, 0])
  return page
}

/** Makes `slot` a series that was never seen. A slot may be given to another series that way. */
export function clearSlot(page: RichPage, slot: number): void {
  page.f64.fill(0, slot * F64_STRIDE, (slot + 1) * F64_STRIDE)
  page.used = Math.max(page.used, slot + 1)
  page.dirty = true
}

/** The used part of a page, a copy: the page goes on changing while the checkpoint is written. */
export function richPageBytes(page: RichPage): Uint8Array {
  page.header[3] = page.used
  return new Uint8Array(page.buffer.slice(0, HEADER_BYTES + page.used * SLOT_BYTES))
}

/**
 * A page from its checkpoint, copied.
 * @throws AppError `checkpoint_invalid` when magic, version or size differ
 */
export function richPageFrom(bytes: Uint8Array): RichPage {
  if (bytes.byteLength < HEADER_BYTES || bytes.byteLength > PAGE_BYTES) {
    throw new AppError('checkpoint_invalid', `a rich page has ${bytes.byteLength} bytes, ${HEADER_BYTES} to ${PAGE_BYTES} make one`)
  }
  const buffer = new ArrayBuffer(PAGE_BYTES)
  new Uint8Array(buffer).set(bytes)
  const page = viewsOf(buffer)
  const [magic, version, slotBytes, used] = page.header
  if (magic !== MAGIC || version !== RICH_VERSION || slotBytes !== SLOT_BYTES) {
    throw new AppError('checkpoint_invalid', `a rich page has format ${magic}/${version}/${slotBytes}, this is ${MAGIC}/${RICH_VERSION}/${SLOT_BYTES}`)
  }
  if (used! > PAGE_SLOTS || HEADER_BYTES + used! * SLOT_BYTES > bytes.byteLength) {
    throw new AppError('checkpoint_invalid', `a rich page claims ${used} slots in ${bytes.byteLength} bytes`)
  }
  page.used = used!
  return page
}

function viewsOf(buffer: ArrayBuffer): RichPage {
  return {
    buffer,
    f64: new Float64Array(buffer, HEADER_BYTES),
    f32: new Float32Array(buffer, HEADER_BYTES),
    u32: new Uint32Array(buffer, HEADER_BYTES),
    header: new Uint32Array(buffer, 0, 4),
    used: 0,
    dirty: true
  }
}
