import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDatabase, segmentFile } from '../../../../pipeline/log/log-schema.ts'
import { type OpenSegments, openSegments, SEGMENT_VALUE_BYTES_MIN } from '../../../../pipeline/log/open-segments.ts'
import type { AppendCall } from '../../../../pipeline/log/writer-protocol.ts'

const SIZE = SEGMENT_VALUE_BYTES_MIN
let dir: string
let db: ReturnType<typeof openDatabase>
let segments: OpenSegments

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-segments-'))
  db = openDatabase(dir, 'write')
  segments = openSegments(db, { dir, owner: 'test', bytesMax: 4 * SIZE })
})
afterEach(() => {
  segments.close()
  db.close()
  rmSync(dir, { recursive: true })
})

function call(fill: number): AppendCall {
  return { topic: 'telemetry.metrics', partitionCount: 1, partitions: [0], keys: [null], headers: [null], values: [new Uint8Array(SIZE).fill(fill)] }
}
function stage(fill: number) {
  const staged = segments.stage([call(fill)])
  const place = staged.places[0]!.get(0)!
  return { ...staged, place, fill: () => Promise.all(staged.stretches.map(stretch => stretch.fill())) }
}
const sealed = (id: number): boolean => db.prepare('SELECT sealed FROM segment WHERE id = ?').get(id)!['sealed'] === 1

test('groups under way at the same time lie one behind the other', async () => {
  const [first, second] = [stage(1), stage(2)]
  await Promise.all([second.fill(), first.fill()])
  const bytes = readFileSync(segmentFile(dir, first.place.segment))
  expect(bytes.length).toBe(2 * SIZE)
  expect([bytes[first.place.position], bytes[second.place.position]]).toEqual([1, 2])
  first.committed()
  second.committed()
})

test('what a failed group wrote is cut off when it is the last', async () => {
  const first = stage(1)
  await first.fill()
  first.failed(new Error('the index said no'))
  expect(readFileSync(segmentFile(dir, first.place.segment)).length).toBe(0)
  expect(stage(2).place).toEqual({ ...first.place })
})

test('a failed group does not disturb the one behind it', async () => {
  const [first, second] = [stage(1), stage(2)]
  first.failed(Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'writev' }))
  await second.fill()
  second.assertSound()
  second.committed()
  expect(readFileSync(segmentFile(dir, second.place.segment))[second.place.position]).toBe(2)
  expect(stage(3).place.position).toBe(2 * SIZE)
})

test('a refused sync fails every unsettled group of its file, and nothing more goes there', async () => {
  const [first, second] = [stage(1), stage(2)]
  await second.fill()
  first.failed(Object.assign(new Error('disk'), { code: 'EIO', syscall: 'fdatasync' }))
  expect(() => second.assertSound()).toThrow(/refused a sync/)
  second.failed(new Error('not sound'))
  const third = stage(3)
  expect(third.place.segment).not.toBe(first.place.segment)
  await third.fill()
  third.committed()
})

test('a full file is sealed only after its last group settled: a sealed file without records would be removed', async () => {
  const groups = [1, 2, 3, 4].map(stage)
  const next = stage(5)
  const full = groups[0]!.place.segment
  expect(next.place.segment).not.toBe(full)
  for (const group of groups.slice(0, 3)) {
    await group.fill()
    group.committed()
  }
  stage(6).failed(new Error('no'))
  expect(sealed(full)).toBe(false)
  await groups[3]!.fill()
  groups[3]!.committed()
  stage(7).failed(new Error('no'))
  expect(sealed(full)).toBe(true)
  expect(existsSync(segmentFile(dir, full))).toBe(true)
})
