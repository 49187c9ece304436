// The table of requirements names tests: each of them has to exist, in the file that is named.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')
const page = readFileSync(join(ROOT, 'infra/docs/requirements.md'), 'utf8')
const rows = page.split('\n').filter(line => /^\| P\d+ /.test(line))

test('all 42 have a row that says what holds them, or what they wait for', () => {
  expect(rows.map(row => Number(/^\| P(\d+)/.exec(row)![1]))).toEqual(Array.from({ length: 42 }, (_, index) => index + 1))
  for (const row of rows) expect(row, row).toMatch(/\.ts|\*wait|no language model/)
})

test('every test that a row names is there', () => {
  const cited = rows.flatMap(row =>
    [...row.matchAll(/([\w/.-]+\.ts)((?:(?:: |, )"[^"]+")*)/g)].map(([, file, titles]) => ({
      file: join(ROOT, 'test', file!),
      titles: [...titles!.matchAll(/"([^"]+)"/g)].map(([, title]) => title!)
    }))
  )
  expect(cited.length).toBeGreaterThan(40)
  for (const { file, titles } of cited) {
    expect(existsSync(file), file).toBe(true)
    const text = readFileSync(file, 'utf8')
    for (const title of titles) expect(text.includes(title), `${file}: ${title}`).toBe(true)
  }
})
