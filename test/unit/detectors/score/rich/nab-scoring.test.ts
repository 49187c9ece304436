import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Corpus, readCorpus } from '../../../../bench/nab/corpus.ts'
import { bestOf, scoreOfTallies, talliesAt } from '../../../../bench/nab/scoring.ts'

const ROWS = 100
let folder: string
let corpus: Corpus

/** One file of 100 five-minute rows; its window is rows 40 to 59. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-nab-'))
  mkdirSync(join(folder, 'data/realTest'), { recursive: true })
  const stamp = (row: number): string => new Date(Date.UTC(2026, 0, 1) + row * 300_000).toISOString().slice(0, 19).replace('T', ' ')
  const rows = Array.from({ length: ROWS }, (_, row) => `${stamp(row)},${row % 7}`)
  writeFileSync(join(folder, 'data/realTest/one.csv'), `timestamp,value\n${rows.join('\n')}\n`)
  writeFileSync(join(folder, 'combined_windows.json'), JSON.stringify({ 'realTest/one.csv': [[`${stamp(40)}.000000`, `${stamp(59)}.000000`]] }))
  corpus = readCorpus(folder)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function scored(rows: Readonly<Record<number, number>>): Float64Array[] {
  const scores = new Float64Array(ROWS)
  for (const [row, score] of Object.entries(rows)) scores[Number(row)] = score
  return [scores]
}

const standard = (rows: Readonly<Record<number, number>>, threshold = 0.5): number => scoreOfTallies(talliesAt(corpus, scored(rows), threshold), 'standard')

describe('our NAB scorer', () => {
  it('gives 100 for the window’s first row, 0 for silence, less the later the row', () => {
    expect(standard({ 40: 1 })).toBeCloseTo(100, 10)
    expect(standard({})).toBe(0)
    // Middle: sigmoid(-0.5) / sigmoid(-1) = 0.85977; (0.85977 + 1) / 2.
    expect(standard({ 50: 1 })).toBeCloseTo(92.988, 2)
    expect(standard({ 59: 1 })).toBeCloseTo(50 + 50 * ((2 / (1 + Math.exp(-0.25)) - 1) / (2 / (1 + Math.exp(-5)) - 1)), 10)
  })

  it('counts the earliest row of a window once, and every false row by its distance', () => {
    expect(standard({ 40: 1, 45: 1, 59: 1 })).toBeCloseTo(100, 10)
    expect(standard({ 40: 1, 20: 1, 21: 1 })).toBeCloseTo(100 - 2 * 5.5, 10)
    // One row behind the window: 1/19 of its width less one, nearly free.
    expect(standard({ 40: 1, 60: 1 })).toBeCloseTo(100 + 5.5 * (2 / (1 + Math.exp(5 / 19)) - 1), 10)
  })

  it('never scores the first 15 % of the rows', () => {
    expect(standard({ 14: 1 })).toBe(0)
    expect(standard({ 15: 1 })).toBeCloseTo(-5.5, 10)
  })

  it('finds the best threshold among the scores', () => {
    const best = bestOf(corpus, scored({ 20: 0.3, 30: 0.9, 40: 0.7 }), 'standard')
    expect([best.threshold, best.falseRows, best.found]).toEqual([0.7, 1, 1])
    expect(best.score).toBeCloseTo(94.5, 10)
  })
})
