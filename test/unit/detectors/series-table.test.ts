import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { DescriptorTable } from '../../../detectors/score/descriptor.ts'
import { PAGE_RECORDS } from '../../../detectors/score/record.ts'
import { baseBudget, type SeriesBudget } from '../../../detectors/score/budget.ts'
import { SeriesTable } from '../../../detectors/score/series-table.ts'
import { StringTable } from '../../../detectors/score/string-table.ts'
import { POINT_KIND } from '../../../schemas/otlp.ts'

const SOURCE = { name: 'm', unit: '1', kind: POINT_KIND.gauge, temporality: 0, monotonic: false, stat: '', variant: '' }

function aTable(left = 1_000_000): { table: SeriesTable; budget: SeriesBudget; descriptor: number } {
  const budget = baseBudget(left)
  const descriptors = new DescriptorTable({ ignore: [], important: [], metrics: [], deviationMinRelative: 0.2 })
  return { table: new SeriesTable(budget, descriptors), budget, descriptor: descriptors.intern(SOURCE)!.id }
}

function saved(table: SeriesTable): Map<string, Uint8Array> {
  const parts = new Map<string, Uint8Array>()
  table.takeDirty(parts)
  return parts
}

describe('series table', () => {
  it('numbers series in the order of first sight and finds each by its key', () => {
    const { table, descriptor } = aTable()
    const keys = Array.from({ length: 20_000 }, (_, i) => i)
    expect(keys.map(i => table.add(Math.imul(i, 0x9e3779b1), i, 0, descriptor, {}))).toEqual(keys)
    expect(keys.map(i => table.find(Math.imul(i, 0x9e3779b1), i))).toEqual(keys)
    expect(table.find(1, 2)).toBe(-1)
  })

  it('tells keys apart that share one lane, negative lanes included', () => {
    const { table, descriptor } = aTable()
    const a = table.add(-5, 7, 0, descriptor, {})
    const b = table.add(-5, 8, 0, descriptor, {})
    const c = table.add(6, 7, 0, descriptor, {})
    expect([table.find(-5, 7), table.find(-5, 8), table.find(6, 7), table.find(6, 8)]).toEqual([a, b, c, -1])
  })

  it('refuses series beyond the budget, counts them, and keeps serving those it knows', () => {
    const { table, budget, descriptor } = aTable(2)
    table.add(1, 1, 0, descriptor, {})
    table.add(2, 2, 0, descriptor, {})
    expect(table.add(3, 3, 0, descriptor, {})).toBe(-1)
    expect(budget.refused).toBe(1)
    expect(table.find(2, 2)).toBe(1)
    expect(table.find(3, 3)).toBe(-1)
  })

  it('gives identity back as text after a restore', () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.string({ minLength: 1, maxLength: 12 }), fc.string({ maxLength: 40 }), { maxKeys: 6 }), { maxLength: 30 }),
        attributes => {
          const { table, descriptor } = aTable()
          for (const [index, set] of attributes.entries()) table.add(index, index, 0, descriptor, set)
          const restored = SeriesTable.restore(
            saved(table),
            baseBudget(1_000),
            new DescriptorTable({ ignore: [], important: [], metrics: [], deviationMinRelative: 0.2 })
          )
          for (const [index, set] of attributes.entries()) expect(restored.attributesOf(index)).toEqual({ ...set })
        }
      ),
      { numRuns: 30, examples: [[[JSON.parse('{"__proto__": ""}') as Record<string, string>]]] }
    )
  })

  it('restores bit for bit, writes only changed pages, and counts restored series against the budget', () => {
    const { table, descriptor } = aTable()
    for (let i = 0; i < PAGE_RECORDS + 10; i++) table.add(Math.imul(i, 0x85ebca6b), i, i % 7, descriptor, { host: `h${i % 13}`, shard: 'a' })
    const parts = saved(table)
    expect([...parts.keys()].filter(name => name.startsWith('page-'))).toEqual(['page-0', 'page-1'])
    expect(saved(table).size).toBe(0)

    const budget = baseBudget(10_000)
    const restored = SeriesTable.restore(parts, budget, new DescriptorTable({ ignore: [], important: [], metrics: [], deviationMinRelative: 0.2 }))
    expect(restored.count).toBe(PAGE_RECORDS + 10)
    expect(budget.left).toBe(10_000 - restored.count)
    expect(restored.find(Math.imul(4_100, 0x85ebca6b), 4_100)).toBe(4_100)
    expect(restored.attributesOf(4_100)).toEqual({ host: `h${4_100 % 13}`, shard: 'a' })
    expect(restored.descriptorOf(5).name).toBe('m')
    restored.page(PAGE_RECORDS + 1).dirty = true
    const again = saved(restored)
    expect([...again.keys()]).toEqual(['page-1'])
    expect(Buffer.compare(again.get('page-1')!, parts.get('page-1')!)).toBe(0)
  })

  it('refuses a checkpoint of another format', () => {
    const { table, descriptor } = aTable()
    table.add(1, 1, 0, descriptor, {})
    const parts = saved(table)
    parts.get('page-0')![4] = 99
    expect(() =>
      SeriesTable.restore(parts, baseBudget(10), new DescriptorTable({ ignore: [], important: [], metrics: [], deviationMinRelative: 0.2 }))
    ).toThrow(/format/)
    const short = saved(aTable().table)
    short.set('page-0', new Uint8Array(64))
    expect(() =>
      SeriesTable.restore(short, baseBudget(10), new DescriptorTable({ ignore: [], important: [], metrics: [], deviationMinRelative: 0.2 }))
    ).toThrow(/format/)
  })
})

describe('string table', () => {
  it('gives equal texts one id and different texts different ids, before and after a restore', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 60, unit: 'binary' }), { maxLength: 100 }), texts => {
        const table = new StringTable()
        const ids = texts.map(text => table.intern(text))
        const restored = StringTable.restore(table.takeDirty().map(([, bytes]) => bytes))
        const distinct = new Set(texts.map(text => new TextDecoder().decode(new TextEncoder().encode(text))))
        expect(new Set(ids).size).toBe(distinct.size)
        for (const [index, text] of texts.entries()) {
          const expected = new TextDecoder().decode(new TextEncoder().encode(text))
          expect(table.text(ids[index]!)).toBe(expected)
          expect(restored.text(ids[index]!)).toBe(expected)
          expect(restored.intern(text)).toBe(ids[index])
        }
      }),
      { numRuns: 40 }
    )
  })

  it('keeps a hundred thousand texts over many pages', () => {
    const table = new StringTable()
    const ids = Array.from({ length: 100_000 }, (_, i) => table.intern(`value-${i}`))
    expect(ids.every((id, i) => id === i)).toBe(true)
    for (let i = 0; i < 100_000; i += 997) expect(table.text(i)).toBe(`value-${i}`)
    expect(table.intern('value-5')).toBe(5)
  })
})
