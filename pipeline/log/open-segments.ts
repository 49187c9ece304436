// The segment files a writer appends to, one a topic, and those that wait for their last group before they are sealed.

import type { DatabaseSync } from 'node:sqlite'
import { AppError } from '../../schemas/errors.ts'
import { openSegment, type SegmentWriter, type Stretch } from './segment-writer.ts'
import type { AppendCall } from './writer-protocol.ts'

/** Values from here on go to segment files; below, one sync less is worth more than writing the bytes twice (decision 0001). */
export const SEGMENT_VALUE_BYTES_MIN = 32 * 2 ** 10

/** Where a value lies. */
export interface Place {
  segment: number
  position: number
  size: number
}
/** By call, then by index of the record. */
export type Places = readonly ReadonlyMap<number, Place>[]

/** The large values of one group of appends, with their places. They are filled in; then exactly one of `committed` and `failed` follows. */
export interface StagedValues {
  places: Places
  /** One a file. */
  stretches: readonly Stretch[]
  /** @throws AppError `log_unavailable` when an earlier group's sync has failed on one of the files */
  assertSound(): void
  committed(): void
  failed(cause: unknown): void
}

export interface OpenSegments {
  stage(calls: readonly AppendCall[]): StagedValues
  /** Seals everything. @throws when the index cannot be written */
  close(): void
}

export function openSegments(db: DatabaseSync, options: { dir: string; owner: string; bytesMax: number }): OpenSegments {
  const current = new Map<string, SegmentWriter>()
  const done: SegmentWriter[] = []
  const markSealed = db.prepare('UPDATE segment SET sealed = 1 WHERE id = ?')

  function segmentOf(topic: string): SegmentWriter {
    const segment = current.get(topic)
    if (segment !== undefined && !segment.isDone) return segment
    if (segment !== undefined) done.push(segment)
    current.delete(topic)
    const next = openSegment(db, { ...options, topic })
    current.set(topic, next)
    return next
  }

  /** A sealed file without records is removed, so it may be sealed only when nothing in it waits to become one. */
  function sealDone(): void {
    for (let index = done.length - 1; index >= 0; index--) {
      if (done[index]!.unsettled > 0) continue
      markSealed.run(done[index]!.id)
      done[index]!.close()
      done.splice(index, 1)
    }
  }

  function stage(calls: readonly AppendCall[]): StagedValues {
    sealDone()
    const places = calls.map(() => new Map<number, Place>())
    const stretches: Stretch[] = []
    const files: SegmentWriter[] = []
    const failed = (cause: unknown): void => {
      for (const stretch of stretches) stretch.failed(isSyncFailure(cause))
    }
    try {
      for (const [topic, large] of largeValues(calls)) {
        const segment = segmentOf(topic)
        const stretch = segment.reserve(large.map(({ value }) => value))
        files.push(segment)
        stretches.push(stretch)
        for (const [at, { call, index, value }] of large.entries()) {
          places[call]!.set(index, { segment: segment.id, position: stretch.positions[at]!, size: value.length })
        }
      }
    } catch (cause) {
      failed(cause)
      throw cause
    }
    return {
      places,
      stretches,
      assertSound() {
        if (files.some(segment => segment.isSuspect)) throw new AppError('log_unavailable', 'the disk refused a sync of this file')
      },
      committed() {
        for (const stretch of stretches) stretch.committed()
      },
      failed
    }
  }

  return {
    stage,
    close() {
      done.push(...current.values())
      current.clear()
      sealDone()
    }
  }
}

/** A file that refused a sync may have lost what it took, whatever a later sync says: it is never written again, only read. */
function isSyncFailure(cause: unknown): boolean {
  const { code, syscall } = cause as { code?: string; syscall?: string }
  return code === 'EIO' || syscall === 'fdatasync'
}

interface LargeValue {
  call: number
  index: number
  value: Uint8Array
}

function largeValues(calls: readonly AppendCall[]): Map<string, LargeValue[]> {
  const byTopic = new Map<string, LargeValue[]>()
  for (const [call, { topic, values }] of calls.entries()) {
    for (const [index, value] of values.entries()) {
      if (value === null || value.length < SEGMENT_VALUE_BYTES_MIN) continue
      const list = byTopic.get(topic)
      if (list === undefined) byTopic.set(topic, [{ call, index, value }])
      else list.push({ call, index, value })
    }
  }
  return byTopic
}
