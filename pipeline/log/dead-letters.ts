// What people do with dead letters: look through them, look into one, put them back where they came from.
//
//   <topic>.dlq   letter 17   letter 18   letter 19   mark "17,19"   letter 21 …
//
// Records of a log cannot be removed one by one. Letters that were put back are therefore named by a mark: a record without a value in
// the same topic, always behind them, and kept at least as long. Put back first, then marked: a crash in between puts a letter back
// once more, and never marks one that was not. Works on any Log, from any process.

import { AppError } from '../../schemas/errors.ts'
import type { Log, LogRecord, LogRecordInput } from '../../schemas/ports.ts'
import { originalRecord } from './dead-letter.ts'

const PAGE_RECORDS = 200
const MARK = 'dlq.redriven' // Header of a mark: offsets and ranges, `17,19-22`.
const MARK_BY = 'dlq.redriven.by'

/** A dead letter without its value. Times are epoch ms. */
export interface DeadLetter {
  /** `<topic>.dlq/<offset>`: what `dlq show` and `dlq redrive` take. */
  id: string
  topic: string
  offset: number
  atMs: number
  source: { topic: string; partition: number; offset: number }
  reason: string
  message: string
  /** Consumer group that gave up. */
  consumer: string
  /** Of the original. */
  sizeBytes: number
  /** When it was put back last; absent = never. */
  redrivenAtMs?: number
}

export interface Selection {
  reason?: string
  /** Offsets in the dead-letter topic. */
  offsets?: ReadonlySet<number>
  /** Also those that were put back before. */
  again: boolean
}

export interface Redriven {
  /** Put back and marked. */
  count: number
  /** Put back refuses these for good; they stay as they are. */
  refused: { id: string; why: string }[]
}

/** The newest `lettersMax` letters of a dead-letter topic, newest first. */
export async function newestLetters(log: Log, topic: string, lettersMax: number): Promise<DeadLetter[]> {
  const { start, end } = await boundsOf(log, topic)
  const marks = new Map<number, number>()
  const letters: DeadLetter[] = []
  for (let until = end; until > start && letters.length < lettersMax; ) {
    const from = Math.max(start, until - PAGE_RECORDS)
    const page: DeadLetter[] = []
    for await (const record of recordsOf(log, topic, from, until)) {
      readMark(record, marks)
      const letter = letterOf(record)
      if (letter !== undefined) page.push(letter)
    }
    letters.push(...page.reverse())
    until = from
  }
  // Marks stand behind the letters that they name, so all that concern these have been read.
  return letters.slice(0, lettersMax).map(letter => withMark(letter, marks))
}

/** One letter with its record. @throws AppError `not_found` */
export async function findLetter(log: Log, topic: string, offset: number): Promise<{ letter: DeadLetter; record: LogRecord }> {
  const { end } = await boundsOf(log, topic)
  const marks = new Map<number, number>()
  let found: LogRecord | undefined
  for await (const record of recordsOf(log, topic, offset, end)) {
    if (record.offset === offset) found = record
    readMark(record, marks)
    if (found === undefined) break // The first record behind the offset: there is none at it.
  }
  const letter = found && letterOf(found)
  if (found === undefined || letter === undefined) {
    throw new AppError('not_found', `there is no dead letter ${topic}/${offset}: \`homeostat dlq list\` shows what there is; old ones are removed`)
  }
  return { letter: withMark(letter, marks), record: found }
}

/**
 * Offsets of the letters that a selection means, oldest first, and how many of them were left out because they were put back before.
 * Letters that come while it runs are not in it, so that what fails again is not put back for ever.
 */
export async function selectLetters(log: Log, topic: string, selection: Selection): Promise<{ offsets: number[]; redrivenBefore: number }> {
  const { start, end } = await boundsOf(log, topic)
  const marks = new Map<number, number>()
  const meant: number[] = []
  for await (const record of recordsOf(log, topic, start, end)) {
    readMark(record, marks)
    const letter = letterOf(record)
    if (letter === undefined) continue
    if (selection.reason !== undefined && letter.reason !== selection.reason) continue
    if (selection.offsets !== undefined && !selection.offsets.has(letter.offset)) continue
    meant.push(letter.offset)
  }
  const offsets = selection.again ? meant : meant.filter(offset => !marks.has(offset))
  return { offsets, redrivenBefore: meant.length - offsets.length }
}

/**
 * Appends the originals to the topics they came from, page by page in their order, and marks them.
 * @throws AppError `log_unavailable` | `log_full`: what was marked until then is done, the rest is selected again the next time
 */
export async function redriveLetters(log: Log, topic: string, offsets: readonly number[], by: string): Promise<Redriven> {
  const redriven: Redriven = { count: 0, refused: [] }
  for (let at = 0; at < offsets.length; ) {
    const wanted = new Set(offsets.slice(at, at + PAGE_RECORDS))
    const page: LogRecord[] = []
    // As many as one read gives: pages of large records are small.
    for (const record of await log.read({ topic, partition: 0, offset: offsets[at]! }, PAGE_RECORDS)) if (wanted.has(record.offset)) page.push(record)
    if (page.length === 0) {
      at++ // Removed by retention meanwhile.
      continue
    }
    at = offsets.indexOf(page.at(-1)!.offset, at) + 1
    const done = await putBack(log, page, redriven.refused)
    if (done.length > 0) await log.append(topic, [markOf(done, by)])
    redriven.count += done.length
  }
  return redriven
}

/** Puts back what can be; returns the offsets of those. One that the log refuses for good does not hold up the others. */
async function putBack(log: Log, page: readonly LogRecord[], refused: Redriven['refused']): Promise<number[]> {
  const whole = page.filter(record => {
    const { cutBytes } = originalRecord(record)!
    if (cutBytes !== undefined) refused.push({ id: idOf(record), why: `only the beginning of its ${cutBytes} bytes was kept` })
    return cutBytes === undefined
  })
  const byTopic = Map.groupBy(whole, record => originalRecord(record)!.topic)
  const done: number[] = []
  for (const [topic, letters] of byTopic) {
    const partitions = (await log.offsets(topic)).length
    const append = async (some: readonly LogRecord[]): Promise<void> => {
      await log.append(
        topic,
        some.map(letter => fitting(originalRecord(letter)!.record, partitions))
      )
      done.push(...some.map(letter => letter.offset))
    }
    try {
      await append(letters)
    } catch (error) {
      if (!isForGood(error)) throw error
      for (const letter of letters) {
        await append([letter]).catch((cause: unknown) => {
          if (!isForGood(cause)) throw cause
          refused.push({ id: idOf(letter), why: cause.message })
        })
      }
    }
  }
  return done.sort((a, b) => a - b)
}

function isForGood(error: unknown): error is AppError {
  return error instanceof AppError && !error.retriable
}

/** To the partition it came from, or where its key belongs when the topic was made anew with fewer. */
function fitting({ partition, ...record }: LogRecordInput, partitions: number): LogRecordInput {
  if (partition !== undefined && partition < partitions) return { ...record, partition }
  return record.key === null ? { ...record, partition: 0 } : record
}

function markOf(offsets: readonly number[], by: string): LogRecordInput {
  const ranges: [first: number, last: number][] = []
  for (const offset of offsets) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === offset - 1) last[1] = offset
    else ranges.push([offset, offset])
  }
  const text = ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(',')
  return { key: null, value: null, partition: 0, headers: { [MARK]: text, [MARK_BY]: by } }
}

/** Adds the offsets that a mark names, with its time. */
function readMark(record: LogRecord, marks: Map<number, number>): void {
  const text = record.headers[MARK]
  if (text === undefined || letterOf(record) !== undefined) return
  for (const range of text.split(',')) {
    const [first = Number.NaN, last = first] = range.split('-').map(Number)
    // A mark names letters before it: whatever else it says cannot make this loop long.
    for (let offset = first; offset <= last && offset < record.offset; offset++) marks.set(offset, record.appendedAtMs)
  }
}

function letterOf(record: LogRecord): DeadLetter | undefined {
  const original = originalRecord(record)
  if (original === undefined) return undefined
  const { headers } = record
  return {
    id: idOf(record),
    topic: record.topic,
    offset: record.offset,
    atMs: record.appendedAtMs,
    source: { topic: original.topic, partition: original.record.partition!, offset: Number(headers['dlq.source.offset']) },
    reason: headers['dlq.reason'] ?? '',
    message: headers['dlq.message'] ?? '',
    consumer: headers['dlq.consumer'] ?? '',
    sizeBytes: original.cutBytes ?? record.value?.length ?? 0
  }
}

function withMark(letter: DeadLetter, marks: ReadonlyMap<number, number>): DeadLetter {
  const redrivenAtMs = marks.get(letter.offset)
  return redrivenAtMs === undefined ? letter : { ...letter, redrivenAtMs }
}

const idOf = ({ topic, offset }: LogRecord): string => `${topic}/${offset}`

async function boundsOf(log: Log, topic: string): Promise<{ start: number; end: number }> {
  return (await log.offsets(topic))[0] ?? { start: 0, end: 0 }
}

/** Records of [from, end), in order. */
async function* recordsOf(log: Log, topic: string, from: number, end: number): AsyncGenerator<LogRecord> {
  for (let offset = from; offset < end; ) {
    const records = await log.read({ topic, partition: 0, offset }, Math.min(PAGE_RECORDS, end - offset))
    if (records.length === 0) return
    for (const record of records) if (record.offset < end) yield record
    offset = records.at(-1)!.offset + 1
  }
}
