// Derived points from all shards in one order: that of the log's clock at which they were complete, whoever told them when.
//
//   spans/0 ─ due 10.2, 11.2, …  clock 11.9 ┐
//   spans/1 ─ due 10.3,          clock 10.8 ┼─► held ─► in order of `due`, up to the slowest clock ─► scorer
//   logs/0  ─ (nothing to tell)  clock 12.0 ┘
//
// Flow: metrics shard (records with these headers) -> merge -> scorer. A window of an entity is the sum of what every shard of
// spans or logs counted. One that is being taken over tells its part seconds later, with a backlog that comes at once: were the
// others' parts judged before, a takeover would look like half of the traffic gone. So each worker tells the clocks of its
// shards into every metrics partition, and what is due waits for the slowest. What a shard tells again after a crash is
// recognised by its clock and dropped. Part of the shard's checkpoint: what waits is saved with the offset behind it.

import { AppError } from '../schemas/errors.ts'
import type { LogRecord, LogRecordInput } from '../schemas/ports.ts'

/** Header of derived records: the shard that counted, `topic/partition`. */
const SHARD = 'homeostat-shard'
/** The log's clock of that shard when the points were complete, epoch ms. */
const DUE = 'homeostat-due'
/** Environment of the points: the same entity may live in several. */
const ENVIRONMENT = 'homeostat-environment'
/** Header of records without points: JSON, shard → the clock up to which it has told everything. */
const CLOCKS = 'homeostat-clocks'

/** A shard that says nothing for so long has no owner: the others go on without it. Takeovers take 15 s at most, but may follow each other. */
const WAIT_MS_MAX = 60_000
/** Of what waits in one partition: a minute of 250 records a second of 1 KB, far above what one partition derives. */
const HELD_BYTES_MAX = 16 * 2 ** 20
const EMPTY = new Uint8Array(0)

interface Held {
  dueMs: number
  shard: string
  offset: number
  value: Uint8Array
}

export interface Merge {
  /** Keeps a record of derived points or clocks, and passes over what was judged where it was made. @returns false for any other record */
  take(record: LogRecord): boolean
  /**
   * Hands over what may be judged at `nowMs` of the log's clock, in order; `step` follows everything of one due time.
   * @returns the merged clock, at most `nowMs`
   */
  release(nowMs: number, deliver: (value: Uint8Array, dueMs: number) => void, step: (dueMs: number) => void): number
  /** Up to when derived points were handed over. */
  readonly mergedMs: number
  toBytes(): Uint8Array
  readonly stats: { repeated: number; unordered: number }
}

/** The record of derived points of an entity in one environment that were complete at `dueMs`. */
export function derivedRecord(entity: string, environment: string, request: Uint8Array, shard: string, dueMs: number): LogRecordInput {
  return { key: entity, value: request, headers: { [SHARD]: shard, [DUE]: String(dueMs), [ENVIRONMENT]: environment } }
}

/** Points that a metrics shard made of its own series, and judged where it made them: on the topic they are for others. */
export function ownRecord(entity: string, request: Uint8Array, shard: string): LogRecordInput {
  return { key: entity, value: request, headers: { [SHARD]: shard } }
}

/** What tells a metrics partition how far shards have come. */
export function clocksRecord(partition: number, clocks: Readonly<Record<string, number>>): LogRecordInput {
  return { key: null, partition, value: EMPTY, headers: { [CLOCKS]: JSON.stringify(clocks) } }
}

/** Whether a record was written by a detector: it says nothing about senders being heard. */
export function isDerived(record: LogRecord): boolean {
  return record.headers[SHARD] !== undefined || record.headers[CLOCKS] !== undefined
}

/**
 * @param shards every shard that there is: the merged clock waits for all of them
 * @throws AppError `checkpoint_invalid`
 */
export function derivedMerge(shards: () => readonly string[], bytes?: Uint8Array): Merge {
  const saved = bytes === undefined ? undefined : restore(bytes)
  /** Shard → the clock up to which all that it told was seen. */
  const clocks = new Map<string, number>(saved?.clocks)
  /** Shard → due time that it is telling now, and the entities that were told. */
  const telling = new Map<string, { dueMs: number; entities: Set<string> }>(
    (saved?.telling ?? []).map(([shard, dueMs, entities]) => [shard, { dueMs, entities: new Set(entities) }])
  )
  let held: Held[] = saved?.held ?? []
  let heldBytes = held.reduce((sum, one) => sum + one.value.length, 0)
  let mergedMs = saved?.mergedMs ?? 0
  const stats = { repeated: 0, unordered: 0 }

  function hold(record: LogRecord, shard: string): void {
    const dueMs = Number(record.headers[DUE])
    if (record.value === null || !Number.isFinite(dueMs)) return
    const current = telling.get(shard)
    const entity = `${record.headers[ENVIRONMENT] ?? ''}\n${record.key ?? ''}`
    const isAgain = dueMs <= (clocks.get(shard) ?? 0) || dueMs < (current?.dueMs ?? 0) || (dueMs === current?.dueMs && current.entities.has(entity))
    if (isAgain) {
      stats.repeated++
      return
    }
    if (current?.dueMs === dueMs) current.entities.add(entity)
    else telling.set(shard, { dueMs, entities: new Set([entity]) })
    if (dueMs <= mergedMs) stats.unordered++ // Others went on without it, having waited.
    held.push({ dueMs, shard, offset: record.offset, value: Uint8Array.from(record.value) })
    heldBytes += record.value.length
  }

  /** Up to when everything was told: by every shard, or by those that still speak. */
  function complete(nowMs: number): number {
    let slowestMs = nowMs
    for (const shard of shards()) slowestMs = Math.min(slowestMs, Math.max(clocks.get(shard) ?? 0, (telling.get(shard)?.dueMs ?? 0) - 1))
    return Math.max(mergedMs, slowestMs, nowMs - WAIT_MS_MAX)
  }

  return {
    stats,
    get mergedMs() {
      return mergedMs
    },
    take(record) {
      const { [SHARD]: shard, [CLOCKS]: told } = record.headers
      if (told !== undefined) {
        for (const [name, clockMs] of Object.entries(JSON.parse(told) as Record<string, number>)) clocks.set(name, Math.max(clocks.get(name) ?? 0, clockMs))
        return true
      }
      if (shard === undefined) return false
      if (record.headers[DUE] !== undefined) hold(record, shard)
      return true
    },
    release(nowMs, deliver, step) {
      mergedMs = complete(nowMs)
      if (heldBytes > HELD_BYTES_MAX) mergedMs = Math.max(mergedMs, ...held.map(one => one.dueMs))
      const due = held.filter(one => one.dueMs <= mergedMs)
      if (due.length === 0) return mergedMs
      held = held.filter(one => one.dueMs > mergedMs)
      due.sort((a, b) => a.dueMs - b.dueMs || (a.shard < b.shard ? -1 : a.shard > b.shard ? 1 : a.offset - b.offset))
      for (const [index, { value, dueMs }] of due.entries()) {
        heldBytes -= value.length
        deliver(value, dueMs)
        if (due[index + 1]?.dueMs !== dueMs) step(dueMs)
      }
      return mergedMs
    },
    toBytes() {
      const head = {
        mergedMs,
        clocks: [...clocks],
        telling: [...telling].map(([shard, { dueMs, entities }]) => [shard, dueMs, [...entities]]),
        held: held.map(({ dueMs, shard, offset, value }) => [dueMs, shard, offset, value.length])
      }
      const json = new TextEncoder().encode(JSON.stringify(head))
      const all = new Uint8Array(LENGTH_BYTES + json.length + heldBytes)
      new DataView(all.buffer).setUint32(0, json.length, true)
      all.set(json, LENGTH_BYTES)
      let at = LENGTH_BYTES + json.length
      for (const { value } of held) {
        all.set(value, at)
        at += value.length
      }
      return all
    }
  }
}

/** A checkpoint's part: length of the JSON (u32, little endian), the JSON, then the held requests one behind the other. */
const LENGTH_BYTES = 4

interface Saved {
  mergedMs: number
  clocks: [string, number][]
  telling: [string, number, string[]][]
  held: Held[]
}

function restore(bytes: Uint8Array): Saved {
  try {
    const jsonLength = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
    const head = JSON.parse(new TextDecoder().decode(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + jsonLength))) as Omit<Saved, 'held'> & {
      held: [number, string, number, number][]
    }
    let at = LENGTH_BYTES + jsonLength
    const held = head.held.map(([dueMs, shard, offset, length]) => {
      const value = bytes.slice(at, at + length)
      at += length
      return { dueMs, shard, offset, value }
    })
    return { ...head, held }
  } catch (cause) {
    throw new AppError('checkpoint_invalid', 'the derived points that wait in a checkpoint cannot be read', { cause })
  }
}
