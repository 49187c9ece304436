// Checkpoints in the log: named state with the input positions it reflects, replaced as one.
//
//   parts topic partitions 1…   key `name/part/slot/chunk`   value: bytes of a part, cut to what a record may hold
//   manifest    partition  0    key `name`                   value: JSON: version, positions, and for each part where its chunks are
//
// Chunks first, then the manifest: the manifest is the checkpoint. It names exact offsets, and a part that is written again goes
// to its other slot (another key), so that neither a crash in between nor compaction touches what the last manifest names.
// The slot that was left is emptied after the manifest. Works on any Log; runs on its owner's thread. An owner that was replaced
// and saves once more leaves an older checkpoint, whole in itself: it costs a longer replay.

import { AppError } from '../../schemas/errors.ts'
import type { Checkpoint, CheckpointStore, Log, Logger, LogRecord, LogRecordInput, Position } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

const TOPIC = TOPICS.checkpoints.name
const MANIFEST_PARTITION = 0
const MANIFEST_FORMAT = 1
const CHUNK_BYTES_MAX = 900_000 // Below 1 MB, what a Kafka broker takes by default.
const APPEND_BYTES_MAX = 8 * 2 ** 20 // One append: memory and time are bounded however large the state is.
const APPEND_RECORDS_MAX = 2_000
const READ_RECORDS_MAX = 256
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
  size: number
  chunks: { partition: number; offset: number; size: number }[]
}

/**
 * The store over one log. Saves of one name come one after another; a save with another `version` starts afresh
 * (parts of the old version are dropped, since formats must not mix).
 */
export function checkpointStore(log: Log, options: CheckpointStoreOptions = {}): CheckpointStore {
  const chunkBytesMax = options.chunkBytesMax ?? CHUNK_BYTES_MAX
  const manifests = new Map<string, Manifest>()
  const lastSave = new Map<string, Promise<void>>()
  let scanned = 0

  /** Reads what other owners wrote since the last look; manifests are small and compacted, so this is short. */
  async function refresh(): Promise<void> {
    for (;;) {
      const records = await log.read({ topic: TOPIC, partition: MANIFEST_PARTITION, offset: scanned }, READ_RECORDS_MAX)
      for (const record of records) remember(manifests, record)
      if (records.length === 0) return
      scanned = records.at(-1)!.offset + 1
    }
  }

  async function saveNow(name: string, checkpoint: Checkpoint): Promise<void> {
    await refresh()
    const last = manifests.get(name)
    const base = last?.version === checkpoint.version ? last : undefined
    const parts: Record<string, PartPlace> = { ...base?.parts }
    const left: string[] = base === undefined ? Object.entries(last?.parts ?? {}).flatMap(([part, place]) => chunkKeys(name, part, place)) : []
    for (const [part, bytes] of checkpoint.parts) {
      const before = last?.parts[part]
      parts[part] = { slot: before === undefined ? 0 : 1 - before.slot, size: bytes.length, chunks: [] }
      if (before !== undefined && base !== undefined) left.push(...chunkKeys(name, part, before))
    }
    await writeParts(name, checkpoint.parts, parts)
    const manifest: Manifest = { format: MANIFEST_FORMAT, version: checkpoint.version, positions: checkpoint.positions, parts }
    await log.append(TOPIC, [{ key: name, value: encoder.encode(JSON.stringify(manifest)), partition: MANIFEST_PARTITION }])
    manifests.set(name, manifest)
    if (left.length > 0) await empty(left)
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
        batch.push({ place, record: { key: chunkKey(name, part, place.slot, index), value, partition: partsPartition(log, name) }, size: value.length })
        batchBytes += value.length
      }
    }
    await flush()
  }

  /** Tombstones for chunks that no manifest names: compaction gives their space back. Losing them to a crash costs space only. */
  async function empty(keys: readonly string[]): Promise<void> {
    const partition = (key: string): number => partsPartition(log, key.slice(0, key.indexOf('/')))
    try {
      await log.append(
        TOPIC,
        keys.map(key => ({ key, value: null, partition: partition(key) }))
      )
    } catch (error) {
      // The checkpoint stands. The next save into the same slot overwrites these keys as well.
      options.logger?.warn({ error, keys: keys.length }, 'old parts of a checkpoint could not be emptied')
    }
  }

  async function load(name: string): Promise<Checkpoint | undefined> {
    await lastSave.get(name)?.catch(() => {})
    await refresh()
    const manifest = manifests.get(name)
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
        const key = chunkKey(name, part, place.slot, next)
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
    save(name, checkpoint) {
      if (name.includes('/')) throw new AppError('bug', `the checkpoint name ${name} contains a slash`)
      const saved = (lastSave.get(name) ?? Promise.resolve()).catch(() => {}).then(() => saveNow(name, checkpoint))
      lastSave.set(name, saved)
      return saved
    },
    load
  }
}

function remember(manifests: Map<string, Manifest>, record: LogRecord): void {
  if (record.key!.includes('/')) return // A chunk: parts share the partition where the topic has only one.
  if (record.value === null) return void manifests.delete(record.key!)
  const manifest = JSON.parse(decoder.decode(record.value)) as Manifest
  // A format of a later release: unreadable here, so there is no checkpoint, and the state is rebuilt.
  if (manifest.format === MANIFEST_FORMAT) manifests.set(record.key!, manifest)
  else manifests.delete(record.key!)
}

const chunkKey = (name: string, part: string, slot: number, index: number): string => `${name}/${part}/${slot}/${index}`

function chunkKeys(name: string, part: string, { slot, chunks }: PartPlace): string[] {
  return chunks.map((_, index) => chunkKey(name, part, slot, index))
}

/** Parts keep off the manifests' partition where the topic has more than one. */
function partsPartition(log: Log, name: string): number {
  const partitions = log.partitions(TOPIC)
  if (partitions === 1) return MANIFEST_PARTITION
  return 1 + (encoder.encode(name).reduce((sum, byte) => sum + byte, 0) % (partitions - 1))
}
