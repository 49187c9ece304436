// Checkpoints in the log: named state with the input positions it reflects, replaced as one, by one owner at a time.
//
//   parts topic partitions 1…   key `name/part/owner-slot/chunk`   value: bytes of a part, cut to what a record may hold
//   manifest    partition  0    key `name@owner`                   value: JSON: version, positions, and for each part where its chunks are
//
// Chunks first, then the manifest: the manifest is the checkpoint. It names exact offsets, and a part that is written again goes
// to another key (the owner's other slot), so that neither a crash in between nor compaction touches what the last manifest names.
// The slot that was left is emptied after the manifest. Works on any Log; runs on its owner's thread.
// Owners follow each other in the order of the log (checkpoint-manifests.ts): a save counts when no other claim lies before it,
// which its writer looks up once it is durable, before anything else may follow from it. A process that was replaced and saves
// once more is told `fenced`, and what it wrote is never read.

import { randomUUID } from 'node:crypto'
import { AppError } from '../../schemas/errors.ts'
import type { Checkpoint, CheckpointStore, Log, Logger, LogRecordInput, Position } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { checkpointManifests, unclaimed } from './checkpoint-manifests.ts'

const TOPIC = TOPICS.checkpoints.name
const MANIFEST_PARTITION = 0
const MANIFEST_FORMAT = 1
const CHUNK_BYTES_MAX = 900_000 // Below 1 MB, what a Kafka broker takes by default.
const APPEND_BYTES_MAX = 8 * 2 ** 20 // One append: memory and time are bounded however large the state is.
const APPEND_RECORDS_MAX = 2_000
const READ_RECORDS_MAX = 256
const MANIFESTS_PER_READ = 1_000 // A few KB each; a new process reads all that compaction has left.
const MARK_LENGTH = 12 // 48 random bits: unique among the owners of a name.
const CLAIMS_MAX = 10 // Each further try means that another process claimed in the same milliseconds.
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export interface CheckpointStoreOptions {
  /** Bytes of a part in one record. Default 900,000. */
  chunkBytesMax?: number
  logger?: Logger
}

interface Manifest {
  format: number
  version: number
  positions: readonly Position[]
  parts: Record<string, PartPlace>
}
interface PartPlace {
  slot: number
  /** Mark of the owner that wrote it; absent: nobody had claimed the name. */
  by?: string
  size: number
  chunks: { partition: number; offset: number; size: number }[]
}

/**
 * The store over one log. Saves of one name come one after another; a save with another `version` starts afresh
 * (parts of the old version are dropped, since formats must not mix).
 */
export function checkpointStore(log: Log, options: CheckpointStoreOptions = {}): CheckpointStore {
  const chunkBytesMax = options.chunkBytesMax ?? CHUNK_BYTES_MAX
  const manifests = checkpointManifests()
  const lastSave = new Map<string, Promise<void>>()
  /** Each name's manifest as it was saved here last, and its bytes in the log: the next save asks what it says. */
  const lastSaved = new Map<string, { value: Uint8Array; manifest: Manifest }>()
  let scanned = 0
  let reading: Promise<void> | undefined
  let queued: Promise<void> | undefined

  /** Reads what was written since the last look. Whoever asks while a read runs shares the next one: theirs must begin after they asked. */
  function refresh(): Promise<void> {
    if (reading === undefined) {
      reading = readOn().finally(() => {
        reading = undefined
      })
      return reading
    }
    queued ??= reading
      .catch(() => {})
      .then(() => {
        queued = undefined
        return refresh()
      })
    return queued
  }

  async function readOn(): Promise<void> {
    for (;;) {
      const records = await log.read({ topic: TOPIC, partition: MANIFEST_PARTITION, offset: scanned }, MANIFESTS_PER_READ)
      for (const record of records) manifests.apply(record)
      if (records.length === 0) return
      scanned = records.at(-1)!.offset + 1
    }
  }

  async function claim(claims: Parameters<CheckpointStore['claim']>[0], { force = false } = {}): ReturnType<CheckpointStore['claim']> {
    const owner = randomUUID().replaceAll('-', '').slice(0, MARK_LENGTH)
    const refused: string[] = []
    let open = [...claims]
    await refresh()
    for (let attempt = 1; ; attempt++) {
      open = open.filter(({ name, generation }) => {
        const isRefused = !force && manifests.isHeldLater(name, owner, generation)
        if (isRefused) refused.push(name)
        return !isRefused
      })
      if (open.length === 0) break
      if (attempt > CLAIMS_MAX)
        throw new AppError('log_unavailable', `${open.length} checkpoints could not be claimed: other processes claim them all the time`)
      await appendManifests(open.map(({ name, generation }) => manifests.claimRecord(name, owner, generation)))
      await refresh()
      open = open.filter(({ name }) => !manifests.isClaimed(name, owner))
    }
    await emptyLeft(claims.map(({ name }) => name).filter(name => manifests.owns(name, owner)))
    return { owner, refused }
  }

  async function appendManifests(records: readonly LogRecordInput[]): Promise<void> {
    for (const some of inAppends(records)) {
      await log.append(
        TOPIC,
        some.map(record => ({ ...record, partition: MANIFEST_PARTITION }))
      )
    }
  }

  async function saveNow(name: string, checkpoint: Checkpoint, owner: string): Promise<void> {
    await refresh()
    if (!manifests.owns(name, owner)) throw fenced(name)
    const value = manifests.value(name)
    const own = lastSaved.get(name)
    const last = own !== undefined && own.value === value ? own.manifest : readManifest(value)
    const base = last?.version === checkpoint.version ? last : undefined
    const parts: Record<string, PartPlace> = { ...base?.parts }
    const left: string[] = base === undefined ? Object.entries(last?.parts ?? {}).flatMap(([part, place]) => chunkKeys(name, part, place)) : []
    for (const [part, bytes] of checkpoint.parts) {
      const before = last?.parts[part]
      const isOwn = (before?.by ?? unclaimed) === owner
      parts[part] = { slot: before !== undefined && isOwn ? 1 - before.slot : 0, ...(owner !== unclaimed && { by: owner }), size: bytes.length, chunks: [] }
      if (before !== undefined && base !== undefined) left.push(...chunkKeys(name, part, before))
    }
    await writeParts(name, checkpoint.parts, parts)
    const manifest: Manifest = { format: MANIFEST_FORMAT, version: checkpoint.version, positions: checkpoint.positions, parts }
    // Since the first look others may have read on and seen a successor.
    const record = manifests.saveRecord(name, owner, encoder.encode(JSON.stringify(manifest)))
    const [at] = record === undefined ? [] : await log.append(TOPIC, [{ ...record, partition: MANIFEST_PARTITION }])
    await refresh()
    if (!manifests.owns(name, owner)) {
      // What nobody will ever read gives its space back.
      const isVoid = at === undefined || manifests.isVoid(name, at.offset)
      if (isVoid) await empty([...checkpoint.parts.keys()].flatMap(part => chunkKeys(name, part, parts[part]!)))
      throw fenced(name)
    }
    lastSaved.set(name, { value: manifests.value(name)!, manifest })
    if (left.length > 0) await empty(left)
    await emptyLeft([name])
  }

  /** Appends the chunks of the parts and notes where each went. */
  async function writeParts(name: string, bytesOf: Checkpoint['parts'], places: Readonly<Record<string, PartPlace>>): Promise<void> {
    let batch: { place: PartPlace; record: LogRecordInput; size: number }[] = []
    let batchBytes = 0
    const flush = async (): Promise<void> => {
      const positions = await log.append(
        TOPIC,
        batch.map(({ record }) => record)
      )
      for (const [index, { partition, offset }] of positions.entries()) batch[index]!.place.chunks.push({ partition, offset, size: batch[index]!.size })
      batch = []
      batchBytes = 0
    }
    for (const [part, bytes] of bytesOf) {
      const place = places[part]!
      for (let at = 0, index = 0; at < bytes.length; at += chunkBytesMax, index++) {
        const value = bytes.subarray(at, at + chunkBytesMax)
        if (batchBytes + value.length > APPEND_BYTES_MAX || batch.length === APPEND_RECORDS_MAX) await flush()
        batch.push({ place, record: { key: chunkKey(name, part, place, index), value, partition: partsPartition(log, name) }, size: value.length })
        batchBytes += value.length
      }
    }
    await flush()
  }

  /** Tombstones for chunks that no manifest names: compaction gives their space back. Losing them to a crash costs space only. */
  async function empty(keys: readonly string[]): Promise<void> {
    const partition = (key: string): number => (key.includes('/') ? partsPartition(log, key.slice(0, key.indexOf('/'))) : MANIFEST_PARTITION)
    try {
      for (const some of inAppends(keys.map(key => ({ key, value: null, partition: partition(key) })))) await log.append(TOPIC, some)
    } catch (error) {
      // The checkpoint stands. The next save into the same slot overwrites these keys as well.
      options.logger?.warn({ error, keys: keys.length }, 'old parts of a checkpoint could not be emptied')
    }
  }

  /** Manifests of former owners. */
  async function emptyLeft(names: readonly string[]): Promise<void> {
    const keys = names.flatMap(name => manifests.left(name))
    if (keys.length > 0) await empty(keys)
  }

  async function load(name: string): Promise<Checkpoint | undefined> {
    await lastSave.get(name)?.catch(() => {})
    await refresh()
    const manifest = readManifest(manifests.value(name))
    if (manifest === undefined) return undefined
    const parts = new Map<string, Uint8Array>()
    for (const [part, place] of Object.entries(manifest.parts)) {
      const bytes = await readPart(name, part, place)
      if (bytes === undefined) {
        options.logger?.error({ checkpoint: name, part }, 'a part of the checkpoint is gone, the state is rebuilt from the log')
        return undefined
      }
      parts.set(part, bytes)
    }
    return { version: manifest.version, positions: manifest.positions, parts }
  }

  /** The log checks the bytes themselves; key, offset and size must be those that the manifest names. */
  async function readPart(name: string, part: string, place: PartPlace): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(place.size)
    let at = 0
    for (let next = 0; next < place.chunks.length; ) {
      const { partition, offset } = place.chunks[next]!
      // Chunks of one part lie one behind the other unless someone else wrote in between.
      const records = await log.read({ topic: TOPIC, partition, offset }, Math.min(READ_RECORDS_MAX, place.chunks.length - next))
      const before = next
      for (const record of records) {
        const chunk = place.chunks[next]
        const key = chunkKey(name, part, place, next)
        if (chunk === undefined || record.offset !== chunk.offset || record.key !== key || record.value?.length !== chunk.size) break
        bytes.set(record.value, at)
        at += chunk.size
        next++
      }
      if (next === before) return undefined
    }
    return at === place.size ? bytes : undefined
  }

  return {
    claim,
    async owns(name, owner) {
      await refresh()
      return manifests.owns(name, owner)
    },
    save(name, checkpoint, owner = unclaimed) {
      if (/[/@]/.test(name)) throw new AppError('bug', `the checkpoint name ${name} contains a slash or an at sign`)
      const saved = (lastSave.get(name) ?? Promise.resolve()).catch(() => {}).then(() => saveNow(name, checkpoint, owner))
      lastSave.set(name, saved)
      return saved
    },
    load
  }
}

const fenced = (name: string): AppError =>
  new AppError('fenced', `the checkpoint ${name} has another owner by now: what was to be saved is left to it, from its last checkpoint on`)

/** A format of a later release is unreadable here: there is no checkpoint, and the state is rebuilt. */
function readManifest(value: Uint8Array | undefined): Manifest | undefined {
  if (value === undefined) return undefined
  const manifest = JSON.parse(decoder.decode(value)) as Manifest
  return manifest.format === MANIFEST_FORMAT ? manifest : undefined
}

/** Cuts what is to be appended into calls of bounded size. */
function* inAppends(records: readonly LogRecordInput[]): Generator<LogRecordInput[]> {
  let some: LogRecordInput[] = []
  let bytes = 0
  for (const record of records) {
    const size = record.value?.length ?? 0
    if (some.length === APPEND_RECORDS_MAX || (some.length > 0 && bytes + size > APPEND_BYTES_MAX)) {
      yield some
      some = []
      bytes = 0
    }
    some.push(record)
    bytes += size
  }
  if (some.length > 0) yield some
}

const chunkKey = (name: string, part: string, { by, slot }: Pick<PartPlace, 'by' | 'slot'>, index: number): string =>
  `${name}/${part}/${by === undefined ? '' : `${by}-`}${slot}/${index}`

function chunkKeys(name: string, part: string, place: PartPlace): string[] {
  return place.chunks.map((_, index) => chunkKey(name, part, place, index))
}

/** Parts keep off the manifests' partition where the topic has more than one. */
function partsPartition(log: Log, name: string): number {
  const partitions = log.partitions(TOPIC)
  if (partitions === 1) return MANIFEST_PARTITION
  return 1 + (encoder.encode(name).reduce((sum, byte) => sum + byte, 0) % (partitions - 1))
}
