// What the tools of this repository answer to a wrong command line, and to --help.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const TOOLS = {
  lab: 'infra/lab/main.ts',
  'test:sim': 'test/sim/main.ts',
  'test:crash': 'test/crash/main.ts',
  'test:fuzz': 'test/fuzz/main.ts',
  bench: 'test/bench/main.ts'
}

function run(file: string, ...argv: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(ROOT, file), ...argv], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

describe.each(Object.entries(TOOLS))('%s', (name, file) => {
  test('says how it is called', () => {
    expect(run(file, '--help')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^usage: npm run/), stderr: '' })
  })

  test('refuses an option that it does not have in a line, with its usage', () => {
    const { status, stdout, stderr } = run(file, '--nonsense')
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(new RegExp(`^${name}: Unknown option '--nonsense'\nusage: npm run`))
  })
})

test('a number that is none is refused', () => {
  expect(run(TOOLS.lab, '--seed', 'many')).toMatchObject({ status: 2, stderr: expect.stringMatching(/^lab: --seed many: a whole number is expected\nusage/) })
})
