// Record batches as Kafka keeps them: what is written is read, and what cannot be read is a hole and no end.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeRecords } from '../../../../pipeline/log/kafka/record-batch.ts'
import { encodeRecordBatch } from '../../../../pipeline/log/kafka/record-batch-writer.ts'
import { bytes, textOf } from '../../../support/log-tools.ts'

interface Written {
  key: string | null
  value: Uint8Array | null
  headers: Record<string, string>
}
const context = { producerId: 7n, producerEpoch: 1, sequence: 0, atMs: 1_700_000_000_000, compression: 0, compress: (data: Buffer) => data }
const at = { topic: 't', partition: 2, offset: 0 }
const batchOf = (records: readonly Written[], more: Partial<typeof context> = {}) => encodeRecordBatch(records, { ...context, ...more })
const texts = (...list: string[]): Written[] => list.map(text => ({ key: 'k', value: bytes(text), headers: {} }))

/** As a broker keeps it: with its first offset. */
function placed(batch: Buffer, baseOffset: number): Buffer {
  const copy = Buffer.from(batch)
  copy.writeBigInt64BE(BigInt(baseOffset), 0)
  return copy
}
function withAttributes(batch: Buffer, bits: number): Buffer {
  const copy = Buffer.from(batch)
  copy.writeInt16BE(copy.readInt16BE(21) | bits, 21)
  return copy
}

const anyRecord = fc.record({
  key: fc.option(fc.string({ unit: 'grapheme', maxLength: 20 })),
  value: fc.option(fc.uint8Array({ maxLength: 300 })),
  headers: fc.dictionary(fc.string({ maxLength: 10 }), fc.string({ unit: 'grapheme', maxLength: 20 }), { maxKeys: 4, noNullPrototype: true })
})

describe('a record batch', () => {
  test('brings back keys, values, headers, offsets and times, from any offset on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 150 }), fc.nat(2 ** 40), fc.nat(200), async (records, base, skip) => {
        const batch = placed(await batchOf(records), base)
        const { records: read, next, broken } = await decodeRecords(batch, { ...at, offset: base + skip }, {})
        expect(broken).toEqual([])
        expect(next).toBe(Math.max(base + records.length, base + skip))
        expect(read.map(one => one.offset)).toEqual(records.map((_, i) => base + i).filter(offset => offset >= base + skip))
        for (const one of read) {
          const written = records[one.offset - base]!
          expect([one.topic, one.partition, one.key, one.appendedAtMs]).toEqual(['t', 2, written.key, context.atMs])
          expect(one.value === null ? null : Buffer.from(one.value)).toEqual(written.value === null ? null : Buffer.from(written.value))
          expect(Object.entries(one.headers).sort()).toEqual(Object.entries(written.headers).sort())
        }
      })
    )
  })

  test('a compressed one is decompressed by the number that it names', async () => {
    const invert = (data: Buffer): Buffer => Buffer.from(data.map(byte => byte ^ 0xff))
    const batch = await batchOf(texts('a', 'b'), { compression: 4, compress: invert })
    expect((await decodeRecords(batch, at, { 4: async data => invert(data) })).records.map(textOf)).toEqual(['a', 'b'])
  })

  test('several are read one after another, one that is cut short is left for the next answer', async () => {
    const [one, two] = [placed(await batchOf(texts('a', 'b')), 0), placed(await batchOf(texts('c')), 2)]
    const both = Buffer.concat([one, two])
    expect((await decodeRecords(both, at, {})).records.map(textOf)).toEqual(['a', 'b', 'c'])
    for (const length of [both.length - 1, one.length + 5, one.length]) {
      const { records, next } = await decodeRecords(both.subarray(0, length), at, {})
      expect([records.map(textOf), next]).toEqual([['a', 'b'], 2])
    }
  })

  test('a marker and an emptied batch bring nothing and move the position on', async () => {
    const marker = placed(withAttributes(await batchOf(texts('marker')), 0x20), 0)
    const emptied = placed(await batchOf(texts('x', 'y', 'z')), 1).subarray(0, 61)
    const empty = Buffer.from(emptied)
    empty.writeInt32BE(49, 8)
    empty.writeInt32BE(0, 57)
    expect(await decodeRecords(Buffer.concat([marker, empty]), at, {})).toEqual({ records: [], next: 4, broken: [] })
  })

  test('what a transaction aborted is left out up to its marker, others of the same time stay', async () => {
    const transactional = 0x10
    const aborted = placed(withAttributes(await batchOf(texts('aborted')), transactional), 0)
    const other = placed(withAttributes(await batchOf(texts('committed'), { producerId: 8n }), transactional), 1)
    const marker = placed(withAttributes(await batchOf(texts('marker')), 0x30), 2)
    const later = placed(withAttributes(await batchOf(texts('later')), transactional), 3)
    const { records, next } = await decodeRecords(Buffer.concat([aborted, other, marker, later]), at, {}, [{ producerId: 7n, firstOffset: 0n }])
    expect([records.map(textOf), next]).toEqual([['committed', 'later'], 4])
  })

  test('one that cannot be read is told and left out, and reading goes on behind it', async () => {
    const good = placed(await batchOf(texts('good')), 3)
    const torn = placed(await batchOf(texts('one', 'two', 'three')), 0)
    torn[61] = 0x7e // A length that is not its own.
    const unknown = placed(await batchOf(texts('one', 'two', 'three'), { compression: 4 }), 0)
    for (const bad of [torn, unknown]) {
      const { records, next, broken } = await decodeRecords(Buffer.concat([bad, good]), at, { 4: () => Promise.reject(new Error('not zstd')) })
      expect([records.map(textOf), next, broken.map(one => one.offset)]).toEqual([['good'], 4, [0]])
    }
  })

  test('bytes of any kind never throw and never move the position back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.nat(1000), async (data, offset) => {
        const { next } = await decodeRecords(Buffer.from(data), { ...at, offset }, {})
        expect(next).toBeGreaterThanOrEqual(offset)
      })
    )
  })

  test('the time of the log counts where the topic has it', async () => {
    const batch = withAttributes(await batchOf(texts('a')), 0x08)
    batch.writeBigInt64BE(1_800_000_000_000n, 35)
    expect((await decodeRecords(batch, at, {})).records[0]!.appendedAtMs).toBe(1_800_000_000_000)
  })
})
