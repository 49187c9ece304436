// The table of requirements names tests: each of them has to exist, in the file that is named.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CASES } from '../../../infra/lab/cases/catalogue.ts'
import { MARKS } from '../../sim/marks.ts'

const ROOT = join(import.meta.dirname, '../../..')
const page = readFileSync(join(ROOT, 'infra/docs/requirements.md'), 'utf8')
const lines = page.split('\n')
const rows = lines.filter(line => /^\| P\d+ /.test(line))
/** mode | lab | simulator | unit tests | not held */
const modes = lines.slice(lines.findIndex(line => line.startsWith('| mode |')) + 2).filter(line => line.startsWith('|'))
const columnsOf = (row: string): string[] =>
  row
    .split('|')
    .map(cell => cell.trim())
    .slice(1, -1)

test('all 42 have a row that says what holds them, or what they wait for', () => {
  expect(rows.map(row => Number(/^\| P(\d+)/.exec(row)![1]))).toEqual(Array.from({ length: 42 }, (_, index) => index + 1))
  for (const row of rows) expect(row, row).toMatch(/\.ts|\*wait|no language model/)
})

test('every test that a row names is there', () => {
  const cited = [...rows, ...modes.map(row => columnsOf(row)[3]!)].flatMap(row =>
    [...row.matchAll(/([\w/.-]+\.ts)((?:(?:: |, )"[^"]+")*)/g)].map(([, file, titles]) => ({
      file: join(ROOT, 'test', file!),
      titles: [...titles!.matchAll(/"([^"]+)"/g)].map(([, title]) => title!)
    }))
  )
  expect(cited.length).toBeGreaterThan(55)
  for (const { file, titles } of cited) {
    expect(existsSync(file), file).toBe(true)
    const text = readFileSync(file, 'utf8')
    for (const title of titles) expect(text.includes(title), `${file}: ${title}`).toBe(true)
  }
})

test('every case of the lab and every mark of the simulator that a failure mode names is there', () => {
  expect(modes.length).toBeGreaterThanOrEqual(16)
  const names = CASES.map(({ name }) => name)
  for (const row of modes) {
    const [mode, lab, simulator, , notHeld] = columnsOf(row)
    expect(columnsOf(row), mode).toHaveLength(5)
    if (lab !== '–') expect(names, mode).toContain(lab)
    for (const [, mark] of simulator!.matchAll(/"([^"]+)"/g)) expect(MARKS as readonly string[], mode).toContain(mark)
    expect(lab !== '–' || notHeld !== '' || simulator !== '–', `${mode}: what is held nowhere says so`).toBe(true)
  }
})
