// The rules of the guard cases load as a user's would, and each policy names the runbook that its case is about.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadPolicySet } from '../../../actuators/decide/policy-file.ts'
import { CASES } from '../../../infra/lab/cases/catalogue.ts'

const RULES = join(import.meta.dirname, '../../../infra/lab/cases/guards/rules')
const files = globSync(join(RULES, '*', '*.yaml')).map(file => ({ file, text: readFileSync(file, 'utf8').replaceAll(/\$\{port_\w+\}/g, '1') }))

test('policies and runbooks of the guard cases load, and no runbook is left over', () => {
  const loaded = loadPolicySet(files)
  expect(loaded.ok ? [] : loaded.problems).toEqual([])
  if (!loaded.ok) return
  const used = loaded.set.policies.flatMap(({ spec }) => spec.runbooks)
  expect([...loaded.set.runbooks.keys()].sort()).toEqual([...new Set(used)].sort())
})

test('every case of the lab has a name of its own and says what must come of it', () => {
  const names = CASES.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  for (const { name, title } of CASES) {
    expect(name).toMatch(/^[A-Z0-9]+$/)
    expect(title.length, name).toBeGreaterThan(20)
  }
})
