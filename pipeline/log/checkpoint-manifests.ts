// Which manifest of a checkpoint counts, and who may write the next one: what the records of the manifest partition say in
// the order of the log.
//
//   key `name@epoch-mark`   one key an owner; the first record of an owner is its claim, a copy of the manifest that it found
//   header `claim`          offset of what was copied (-1: nothing); absent on saves
//   header `generation`     of the assignment that the owner holds the name by
//   key `name`              an owner without claim (earlier releases, tools): epoch 0
//
// The highest epoch owns the name from its first record on; of two claims of one epoch the first in the log does, and the other
// claims again. What an older owner writes behind the claim of its successor counts for nobody, neither now nor for who reads
// the log anew: it lies under a key of its own, so compaction can lose no manifest to it. A manifest that was appended between
// what a claim copied and the claim counts, and its claimant writes its copy again; only if it dies before that, and compaction
// takes the newer manifest because a stopped process overwrote it, the older copy is left: whole in itself, a longer replay.

import type { LogRecord, LogRecordInput } from '../../schemas/ports.ts'

const CLAIM = 'claim'
const GENERATION = 'generation'
const NOTHING = new TextEncoder().encode('null')
const NO_MARK = ''

interface Entry {
  epoch: number
  mark: string
  generation: number
  /** JSON of the manifest, or `null`. */
  value: Uint8Array
  /** Offset of the record whose manifest this is. */
  stateAt: number
  /** Offset of the owner's first record that was seen. */
  claimedAt: number
  isClaimOnly: boolean
  /** The owner's own record holds an older manifest than `value`. */
  isCopyOld: boolean
  /** Keys of former owners that are still in the log. */
  left: Set<string>
}

export type Manifests = ReturnType<typeof checkpointManifests>

/** Nothing read yet. `apply` takes the records of the manifest partition one after another. */
export function checkpointManifests() {
  const entries = new Map<string, Entry>()

  function apply(record: LogRecord): void {
    if (record.key === null || record.key.includes('/')) return // A chunk: parts share the partition where the topic has only one.
    const { name, epoch, mark } = parseKey(record.key)
    const entry = entries.get(name)
    if (record.value === null) dropKey(name, entry, record.key)
    else if (entry === undefined || epoch > entry.epoch) succeed(name, entry, record, record.value, { epoch, mark })
    else if (epoch === entry.epoch && (mark === entry.mark || (entry.isClaimOnly && !isClaim(record)))) replace(entry, record, record.value, mark)
    else entry.left.add(record.key)
  }

  function succeed(name: string, before: Entry | undefined, record: LogRecord, value: Uint8Array, owner: { epoch: number; mark: string }): void {
    const copiedAt = Number(record.headers[CLAIM] ?? record.offset)
    const isCopyOld = before !== undefined && before.stateAt > copiedAt
    entries.set(name, {
      ...owner,
      generation: Number(record.headers[GENERATION] ?? 0),
      value: isCopyOld ? before.value : value,
      stateAt: isCopyOld ? before.stateAt : record.offset,
      claimedAt: record.offset,
      isClaimOnly: isClaim(record),
      isCopyOld,
      left: new Set(before === undefined ? [] : [...before.left, keyOf(name, before.epoch, before.mark)])
    })
  }

  function replace(entry: Entry, record: LogRecord, value: Uint8Array, mark: string): void {
    entry.mark = mark
    entry.generation = Number(record.headers[GENERATION] ?? entry.generation)
    entry.value = value
    entry.stateAt = record.offset
    entry.isClaimOnly &&= isClaim(record)
    entry.isCopyOld = false
  }

  function dropKey(name: string, entry: Entry | undefined, key: string): void {
    if (entry === undefined) return
    entry.left.delete(key)
    if (keyOf(name, entry.epoch, entry.mark) === key) entry.value = NOTHING
  }

  return {
    apply,
    /** JSON of the manifest that counts; undefined when nothing was saved. */
    value(name: string): Uint8Array | undefined {
      const value = entries.get(name)?.value
      return value === undefined || value.length === NOTHING.length ? undefined : value
    },
    owns: (name: string, owner: string): boolean => (entries.get(name)?.mark ?? NO_MARK) === owner,
    /** Whether a later generation than `generation` holds the name. */
    isHeldLater: (name: string, owner: string, generation: number): boolean => {
      const entry = entries.get(name)
      return entry !== undefined && entry.mark !== owner && entry.generation > generation
    },
    /** Whether the owner's claim won, and its own record holds what it found. */
    isClaimed: (name: string, owner: string): boolean => {
      const entry = entries.get(name)
      return entry?.mark === owner && !entry.isCopyOld
    },
    /** Whether another's claim lies before `offset`: what was written there counts for nobody. */
    isVoid: (name: string, offset: number): boolean => (entries.get(name)?.claimedAt ?? offset) < offset,
    claimRecord(name: string, owner: string, generation: number): LogRecordInput {
      const entry = entries.get(name)
      const epoch = entry === undefined ? 1 : entry.mark === owner ? entry.epoch : entry.epoch + 1
      const headers = { [CLAIM]: String(entry?.stateAt ?? -1), [GENERATION]: String(generation) }
      return { key: keyOf(name, epoch, owner), value: entry?.value ?? NOTHING, headers }
    },
    /** Undefined for who owns the name no more, by what was read: it must not write under the epoch of its successor. */
    saveRecord(name: string, owner: string, value: Uint8Array): LogRecordInput | undefined {
      const { epoch, generation, mark } = entries.get(name) ?? { epoch: 0, generation: 0, mark: NO_MARK }
      if (mark !== owner) return undefined
      return { key: keyOf(name, epoch, owner), value, headers: epoch === 0 ? {} : { [GENERATION]: String(generation) } }
    },
    /** Keys of former owners of the name, to be emptied. */
    left: (name: string): string[] => [...(entries.get(name)?.left ?? [])]
  }
}

/** Mark of an owner that made no claim. */
export const unclaimed = NO_MARK

const isClaim = (record: LogRecord): boolean => record.headers[CLAIM] !== undefined

const keyOf = (name: string, epoch: number, mark: string): string => (mark === NO_MARK ? name : `${name}@${epoch}-${mark}`)

function parseKey(key: string): { name: string; epoch: number; mark: string } {
  const at = key.lastIndexOf('@')
  if (at < 0) return { name: key, epoch: 0, mark: NO_MARK }
  const dash = key.indexOf('-', at)
  return { name: key.slice(0, at), epoch: Number(key.slice(at + 1, dash)), mark: key.slice(dash + 1) }
}
