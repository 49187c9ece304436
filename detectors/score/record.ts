// The record of one series: 128 bytes in a page, read and written in place by everything that scores the series.
//
// A page is one ArrayBuffer and is its own checkpoint: 64 bytes of header (magic, version, record size, records used),
// then the records. Byte order is the machine's own (little endian on everything that runs Node); the magic is a
// number, so a foreign order is refused as a foreign format.
//
//   byte   0  u32 keyLow, keyHigh      8  f64 lastTimeMs      16  f64 level
//         24  f32 spread, intervalMs  32  f32 upper tail: start, mean excess   40  f32 lower tail: start, mean excess
//         48  u32 samples             52  u8 state, run, exitRun, flags        56  f64 onsetMs
//         64  f64 raw value | sum of the open window       72  f64 start of the counter | start of the open window
//         80  f64 first strong deviation | when it opened  88  f32 last value, quick level
//         96  f64 sum of the next window                  104  u32 shards seen in the open and in the next window
//        112  u32 entity, descriptor, attribute list, next series of the entity + 1
//
// The first 64 bytes are the adaptive detector (one cache line), the others what turns points into values, and identity.

import { AppError } from '../../schemas/errors.ts'

export const RECORD_BYTES = 128
export const PAGE_RECORDS = 4_096
export const PAGE_SHIFT = 12
const HEADER_BYTES = 64
export const PAGE_BYTES = HEADER_BYTES + PAGE_RECORDS * RECORD_BYTES

const MAGIC = 0x52455348 // 'HSER'
/** Grows with every change of the layout above: an old checkpoint is then refused and state is rebuilt from the log. */
export const RECORD_VERSION = 1

/** Fields per record in each view; a record's base in a view is `row * <VIEW>_STRIDE`. */
export const F64_STRIDE = RECORD_BYTES / 8
export const F32_STRIDE = RECORD_BYTES / 4
export const U8_STRIDE = RECORD_BYTES

export const F64 = { lastTimeMs: 1, level: 2, onsetMs: 7, raw: 8, startMs: 9, strongMs: 10, nextSum: 12 } as const
export const F32 = { spread: 6, intervalMs: 7, upper: 8, upperExcess: 9, lower: 10, lowerExcess: 11, lastValue: 22, quickLevel: 23 } as const
export const U32 = { keyLow: 0, keyHigh: 1, samples: 12, shards: 26, nextShards: 27, entity: 28, descriptor: 29, attributes: 30, nextOfEntity: 31 } as const
/** `exitRun` counts while open, `peak` holds the running excursion's farthest point while not. */
export const U8 = { state: 52, run: 53, exitRun: 54, peak: 54, flags: 55 } as const

/** Life of a series: learning, judged, deviating for some points, anomalous; ignored by configuration. */
export const STATE = { warmup: 0, normal: 1, open: 2, ignored: 3 } as const
export const FLAG = {
  /** The current deviation (or the open anomaly) points downwards. */
  below: 1,
  /** Severity of the open anomaly: 0 info, 1 warning, 2 critical (two bits). */
  severity: 2 | 4,
  /** A static rule reads this series. */
  rules: 8,
  /** A window is open. */
  window: 16,
  /** It has a slot of the rich tier. */
  watched: 32,
  /** A counter's previous value is known. */
  hasRaw: 64,
  /** The running excursion is downwards. */
  peakBelow: 128
} as const
export const SEVERITY_SHIFT = 1

export interface SeriesPage {
  readonly buffer: ArrayBuffer
  readonly f64: Float64Array
  readonly f32: Float32Array
  readonly u32: Uint32Array
  readonly u8: Uint8Array
  readonly header: Uint32Array
  /** Records used. */
  used: number
  /** Changed since the last checkpoint. */
  dirty: boolean
}

/** An empty page. */
export function newPage(): SeriesPage {
  const page = viewsOf(new ArrayBuffer(PAGE_BYTES))
  page.header.set([MAGIC, RECORD_VERSION, RECORD_BYTES, 0])
  return page
}

/** The used part of a page, a copy: the page goes on changing while the checkpoint is written. */
export function pageBytes(page: SeriesPage): Uint8Array {
  page.header[3] = page.used
  return new Uint8Array(page.buffer.slice(0, HEADER_BYTES + page.used * RECORD_BYTES))
}

/**
 * A page from its checkpoint. A full part that owns its buffer is adopted without a copy.
 * @throws AppError `checkpoint_invalid` when magic, version or size differ
 */
export function pageFrom(bytes: Uint8Array): SeriesPage {
  let buffer: ArrayBuffer
  if (bytes.byteLength === PAGE_BYTES && bytes.byteOffset === 0 && bytes.buffer.byteLength === PAGE_BYTES && bytes.buffer instanceof ArrayBuffer) {
    buffer = bytes.buffer
  } else {
    if (bytes.byteLength > PAGE_BYTES) throw new AppError('checkpoint_invalid', `a series page has ${bytes.byteLength} bytes, at most ${PAGE_BYTES} fit`)
    buffer = new ArrayBuffer(PAGE_BYTES)
    new Uint8Array(buffer).set(bytes)
  }
  const page = viewsOf(buffer)
  const [magic, version, recordBytes, used] = page.header
  if (magic !== MAGIC || version !== RECORD_VERSION || recordBytes !== RECORD_BYTES) {
    throw new AppError('checkpoint_invalid', `a series page has format ${magic}/${version}/${recordBytes}, this is ${MAGIC}/${RECORD_VERSION}/${RECORD_BYTES}`)
  }
  if (used! > PAGE_RECORDS || HEADER_BYTES + used! * RECORD_BYTES > bytes.byteLength) {
    throw new AppError('checkpoint_invalid', `a series page claims ${used} records in ${bytes.byteLength} bytes`)
  }
  page.used = used!
  return page
}

function viewsOf(buffer: ArrayBuffer): SeriesPage {
  return {
    buffer,
    f64: new Float64Array(buffer, HEADER_BYTES),
    f32: new Float32Array(buffer, HEADER_BYTES),
    u32: new Uint32Array(buffer, HEADER_BYTES),
    u8: new Uint8Array(buffer, HEADER_BYTES),
    header: new Uint32Array(buffer, 0, 4),
    used: 0,
    dirty: true
  }
}
