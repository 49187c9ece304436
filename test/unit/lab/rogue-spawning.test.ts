// The parts of the case of rogue spawning that judge: how effects without a key find their step, and that its rules load.

import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadPolicySet } from '../../../actuators/decide/policy-file.ts'
import { treeEffects } from '../../../infra/lab/cases/uc6/watcher.ts'
import type { StepResult } from '../../../schemas/outcome.ts'

const RULES = join(import.meta.dirname, '../../../infra/lab/cases/uc6/rules')
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-uc6-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const aStep = (verb: string, begunAtMs: number, appliedAtMs: number): StepResult => ({
  ...{
    idempotencyKey: `key-${verb}`,
    name: verb,
    driver: 'process',
    verb,
    target: 'lab/worker@worker-1',
    result: 'applied',
    detail: '',
    checks: [],
    waited: null
  },
  ...{ begunAtMs, appliedAtMs, verdict: 'ineffective', undo: 'none' }
})
const effects = (events: Parameters<typeof treeEffects>[2], steps: StepResult[]) =>
  treeEffects(folder, 'worker-1', events, steps).map(({ what, key }) => `${what} ${key}`)

test('what was seen belongs to the step in whose time it fell, else to nobody', () => {
  const steps = [aStep('freeze', 1_000, 1_200), aStep('stop', 1_500, 1_900)]
  const frozen = { atMs: 1_150, what: 'freeze', count: 9 } as const
  const ended = { atMs: 1_850, what: 'stop', count: 9 } as const
  expect(effects([frozen, ended], steps)).toEqual(['freeze key-freeze', 'stop key-stop'])
  expect(effects([{ ...frozen, atMs: 900 }, ended], steps)).toEqual(['freeze nobody', 'stop key-stop'])
  expect(effects([frozen, ended], [])).toEqual(['freeze nobody', 'stop nobody'])
})

test('that a stop freezes what outlives its grace is no effect of its own', () => {
  expect(effects([{ atMs: 1_700, what: 'freeze', count: 1 }], [aStep('stop', 1_500, 1_900)])).toEqual([])
})

test('its policy and runbook load, and belong together', () => {
  const files = globSync(join(RULES, '*', '*.yaml')).map(file => ({ file, text: readFileSync(file, 'utf8').replaceAll(/\$\{port_\w+\}/g, '1') }))
  const loaded = loadPolicySet(files)
  expect(loaded.ok ? [] : loaded.problems).toEqual([])
  expect(loaded.ok && loaded.set.policies.flatMap(({ spec }) => spec.runbooks)).toEqual(['quarantine-worker'])
})
