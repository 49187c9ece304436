// Fuzzing of the OTLP reader: real and generated requests, mutated, must be read or refused, quickly, and nothing else.
//
// Every input follows from (seed, index), so a finding is repeated by these two numbers. Mutations: truncation, flipped bits,
// overwritten bytes, forged lengths, pieces of other requests, repeated pieces.

import { readdirSync, readFileSync } from 'node:fs'
import { openReader } from '../../pipeline/otlp/reader.ts'
import { AppError } from '../../schemas/errors.ts'
import type { LogView, OtlpReader, PointView, ReadResult, SpanView } from '../../schemas/otlp.ts'
import { otlpLoad, seededRandom } from '../bench/otlp-load.ts'

/** Longest time that 64 KiB may take; longer inputs in proportion. A busy machine is given three tries. */
const SLOW_MS = 50
const SLOW_BYTES = 65_536
const SLOW_TRIES = 3
const INPUT_BYTES_MAX = 65_536
const MUTATIONS_MAX = 6
const FIXTURES = new URL('../data/otlp/', import.meta.url)

export type FuzzSignal = 'metrics' | 'spans' | 'logs'

export interface FuzzSummary {
  inputs: number
  /** Inputs that were read to their end, and records handed out of them. */
  read: number
  records: number
  rejected: number
  /** Inputs refused as malformed. */
  malformed: number
  slowestMs: number
  findings: string[]
}

interface Original {
  signal: FuzzSignal
  bytes: Uint8Array
}

/** @param progress called with the index before each input, so that a watchdog can name the one that hangs */
export function fuzzOtlpReader({ inputs, seed, progress }: { inputs: number; seed: number; progress?: (index: number) => void }): FuzzSummary {
  const originals = loadOriginals()
  const reader = openReader({ fallback: { entity: 'fuzz', environment: 'fuzz' }, seed })
  const summary: FuzzSummary = { inputs, read: 0, records: 0, rejected: 0, malformed: 0, slowestMs: 0, findings: [] }
  for (let index = 0; index < inputs && summary.findings.length < 10; index++) {
    progress?.(index)
    const { signal, bytes } = fuzzInput(originals, seed, index)
    readOne(reader, signal, bytes, `seed ${seed} input ${index}`, summary)
  }
  return summary
}

/** The input that (seed, index) names. */
export function fuzzInput(originals: readonly Original[], seed: number, index: number): Original {
  const random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b))
  random() // The first draw of xorshift still resembles its seed.
  const pick = (): Original => originals[Math.floor(random() * originals.length)]!
  const { signal, bytes } = pick()
  let mutant = Uint8Array.from(bytes)
  const count = 1 + Math.floor(random() ** 3 * MUTATIONS_MAX)
  for (let turn = 0; turn < count; turn++) mutant = mutate(mutant, pick().bytes, random)
  // A twentieth is read as another signal than it is.
  const readAs = random() < 0.05 ? pick().signal : signal
  return { signal: readAs, bytes: mutant.subarray(0, INPUT_BYTES_MAX) }
}

function mutate(bytes: Uint8Array<ArrayBuffer>, other: Uint8Array, random: () => number): Uint8Array<ArrayBuffer> {
  const at = Math.floor(random() * bytes.length)
  const size = Math.floor(random() ** 3 * 64)
  const from = Math.floor(random() * other.length)
  switch (Math.floor(random() * 8)) {
    case 0:
      return bytes.slice(0, at)
    case 1:
      return changed(bytes, at, byte => byte ^ (1 << Math.floor(random() * 8)))
    case 2:
      return changed(bytes, at, () => Math.floor(random() * 256))
    case 3: // A length or a number of many bytes.
      return splice(bytes, at, 1, new Uint8Array(1 + Math.floor(random() * 11)).fill(random() < 0.5 ? 0xff : 0x80))
    case 4:
      return splice(bytes, at, 0, other.subarray(from, from + size))
    case 5:
      return splice(bytes, at, size, new Uint8Array(0))
    case 6:
      return splice(bytes, at, 0, bytes.subarray(at, at + size * 16))
    default: // A length one off.
      return changed(bytes, at, byte => byte + (random() < 0.5 ? 1 : -1))
  }
}

function changed(bytes: Uint8Array<ArrayBuffer>, at: number, change: (byte: number) => number): Uint8Array<ArrayBuffer> {
  return bytes.length === 0 ? bytes : bytes.with(at, change(bytes[at]!))
}

function splice(bytes: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]))
}

function readOne(reader: OtlpReader, signal: FuzzSignal, bytes: Uint8Array, name: string, summary: FuzzSummary): void {
  let fastestMs = Number.POSITIVE_INFINITY
  const allowedMs = SLOW_MS * Math.max(1, bytes.length / SLOW_BYTES)
  for (let turn = 0; turn < SLOW_TRIES && fastestMs > allowedMs; turn++) {
    const begun = performance.now()
    const outcome = attempt(reader, signal, bytes)
    fastestMs = Math.min(fastestMs, performance.now() - begun)
    if (typeof outcome === 'string') {
      summary.findings.push(`${name} (${signal}): ${outcome}`)
      return
    }
    if (turn > 0) continue
    if (outcome === undefined) summary.malformed++
    else {
      summary.read++
      summary.records += outcome.accepted
      summary.rejected += outcome.rejected
    }
  }
  summary.slowestMs = Math.max(summary.slowestMs, fastestMs)
  if (fastestMs > allowedMs) summary.findings.push(`${name} (${signal}): took ${fastestMs.toFixed(0)} ms for ${bytes.length} bytes`)
}

/** @returns what was read, undefined when it was refused as it should be, or a text that says what went wrong */
function attempt(reader: OtlpReader, signal: FuzzSignal, bytes: Uint8Array): ReadResult | undefined | string {
  try {
    return readAll(reader, signal, bytes)
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'malformed_otlp') return `threw ${String((error as Error)?.stack ?? error)}`
    const offset = error.details['offset']
    return typeof offset === 'number' && offset >= 0 && offset <= bytes.length ? undefined : `malformed at offset ${offset} of ${bytes.length}`
  }
}

function readAll(reader: OtlpReader, signal: FuzzSignal, bytes: Uint8Array): ReadResult {
  switch (signal) {
    case 'metrics':
      return reader.readMetrics(bytes, { point: touchPoint })
    case 'spans':
      return reader.readSpans(bytes, { span: touchSpan })
    case 'logs':
      return reader.readLogs(bytes, { log: touchLog })
  }
}

/** Every lazy text is asked for: what the reader handed out must be sound to its depth. */
function touchPoint(view: PointView): void {
  expect(view.bucketCount <= view.buckets.length && view.boundCount <= view.bounds.length, 'more buckets than scratch')
  expect(view.negativeBucketCount <= view.negativeBuckets.length && view.quantileCount <= view.quantiles.length, 'more values than scratch')
  expect(Number.isInteger(view.keyLow) && Number.isInteger(view.keyHigh) && view.timeMs >= 0, 'impossible numbers')
  view.name()
  view.unit()
  view.description()
  view.attributes()
  view.resource.attributes()
}

function touchSpan(view: SpanView): void {
  expect(view.durationMs >= 0 && view.timeMs >= 0, 'impossible times')
  view.name()
  view.statusMessage()
  view.attribute('http.route')
  expect([0, 32].includes(view.traceId().length) && [0, 16].includes(view.spanId().length), 'impossible ids')
}

function touchLog(view: LogView): void {
  expect(view.bodyStart <= view.bodyEnd && view.bodyEnd <= view.bytes.length, 'impossible body')
  expect(view.body(100).length <= 100, 'body not cut')
  view.severityText()
  view.attribute('log.file.name')
  view.traceId()
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`a view shows ${what}`)
}

/** Requests of real collectors and one small request of every kind. */
export function loadOriginals(): Original[] {
  const files = readdirSync(FIXTURES).filter(file => file.endsWith('.bin'))
  const real = files.map((file): Original => {
    const signal = file.startsWith('metrics') ? 'metrics' : file.startsWith('logs') ? 'logs' : 'spans'
    return { signal, bytes: readFileSync(new URL(file, FIXTURES)) }
  })
  const made = [1, 2, 3].map((seed): Original => ({ signal: 'metrics', bytes: otlpLoad({ seed, metricCount: 10, pointCount: 2 }).request }))
  return [...real, ...made]
}
