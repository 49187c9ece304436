// The policies that the lab writes for its fleet, as a user's would be held: linted against the lab's own configuration, and
// deciding what the cases beside them expect.

import { rmSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createLab } from '../../../infra/lab/fleet.ts'
import { prepareHomeostat } from '../../../infra/lab/homeostat.ts'
import { SERVICES } from '../../../infra/lab/layout.ts'
import { loadConfig } from '../../../pipeline/config/load.ts'
import { configuredPolicyFiles, lintFacts, lintPolicies, testPolicies } from '../../../pipeline/roles/policies.ts'

let folder: string
let loaded: ReturnType<typeof loadConfig>

beforeAll(async () => {
  const layout = await createLab(1)
  folder = layout.folder
  prepareHomeostat(layout)
  loaded = loadConfig('homeostat.yaml', folder, {})
})
afterAll(() => rmSync(folder, { recursive: true }))

test('lint finds no error and no overlap in them', () => {
  const { findings } = lintPolicies(configuredPolicyFiles(loaded.config.decide), lintFacts(loaded.config, true))
  expect(findings.filter(({ severity, rule }) => severity === 'error' || rule === 'overlap' || rule === 'shadowed')).toEqual([])
})

test('they decide what their cases expect, for every service', () => {
  const { results } = testPolicies(configuredPolicyFiles(loaded.config.decide), () => [])
  expect(results.filter(({ differences }) => differences.length > 0)).toEqual([])
  expect(new Set(results.map(one => one.test)).size).toBe(SERVICES.length)
})
