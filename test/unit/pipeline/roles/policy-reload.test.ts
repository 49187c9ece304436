// Changed policies while the process runs: whole or not at all, told when they are wrong, the last good ones go on.

import { expect, test } from 'vitest'
import type { PolicyFile } from '../../../../actuators/decide/policy-documents.ts'
import type { PolicySet } from '../../../../actuators/decide/policy-file.ts'
import { POLICY_POLL_MS, reloadPolicies } from '../../../../pipeline/roles/policy-reload.ts'
import { memoryMeter } from '../../../../pipeline/self/meter.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { Logger } from '../../../../schemas/ports.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'
import { policySet, policyYaml, runbookYaml } from '../../actuators/decide/builders.ts'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const GOOD = [policyYaml(), runbookYaml()]
const OTHER = [policyYaml('autonomy: approve'), runbookYaml()]
const BAD = [policyYaml('autonomy: atuo'), runbookYaml()]

function folder(...texts: string[]): PolicyFile[] {
  return texts.map((text, index) => ({ file: `file-${index}.yaml`, text }))
}

/** A folder that a test changes; `looks` lets the reload look so often. */
function aReload() {
  const clock = virtualClock(0)
  const meter = memoryMeter()
  let files: PolicyFile[] | Error = folder(...GOOD)
  let warning: string | undefined
  const used: PolicySet[] = []
  const reload = reloadPolicies({
    read() {
      if (files instanceof Error) throw files
      return files
    },
    files: folder(...GOOD),
    inForce: policySet(...GOOD),
    use: async set => void used.push(set),
    warn: problem => {
      warning = problem
    },
    clock,
    logger: silent,
    meter
  })
  return {
    ...reload,
    used,
    put: (...texts: string[]) => {
      files = folder(...texts)
    },
    fail: (error: Error) => {
      files = error
    },
    looks: (count: number) => clock.advance(count * POLICY_POLL_MS),
    warning: () => warning,
    problems: () => meter.readings().find(({ name }) => name === 'homeostat.policies.problems')?.value
  }
}

test('an unchanged folder is not taken again', async () => {
  const reload = aReload()
  await reload.looks(5)
  expect(reload.used).toEqual([])
  await reload.close()
})

test('a changed folder is in force after two looks that saw the same, and once', async () => {
  const reload = aReload()
  reload.put(...OTHER)
  await reload.looks(1)
  expect(reload.used).toEqual([])
  await reload.looks(3)
  expect(reload.used.map(set => set.policies[0]!.spec.autonomy)).toEqual(['approve'])
  expect(reload.problems()).toBe(0)
  await reload.close()
})

test('a file that is still being written is not taken half', async () => {
  const reload = aReload()
  for (const length of [80, 120, 160]) {
    reload.put(OTHER[0]!.slice(0, length), runbookYaml())
    await reload.looks(1)
  }
  reload.put(...OTHER)
  await reload.looks(2)
  expect(reload.used).toHaveLength(1)
  expect(reload.warning()).toBeUndefined()
  await reload.close()
})

test('a bad version is told with its place and the last good one goes on; the correction is taken', async () => {
  const reload = aReload()
  reload.put(...BAD)
  await reload.looks(3)
  expect(reload.used).toEqual([])
  expect(reload.warning()).toBe(
    `the changed files are not used, version ${policySet(...GOOD).version} goes on: file-0.yaml:7:13: spec.autonomy: one of observe, suggest, approve, auto is expected, not "atuo"`
  )
  expect(reload.problems()).toBe(1)
  reload.put(...OTHER)
  await reload.looks(2)
  expect(reload.used).toHaveLength(1)
  expect(reload.warning()).toBeUndefined()
  expect(reload.problems()).toBe(0)
  await reload.close()
})

test('going back to what is in force ends the warning and changes nothing', async () => {
  const reload = aReload()
  reload.put(...BAD)
  await reload.looks(2)
  reload.put(...GOOD)
  await reload.looks(2)
  expect(reload.warning()).toBeUndefined()
  expect(reload.used).toEqual([])
  await reload.close()
})

test('comments and spacing are no other version', async () => {
  const reload = aReload()
  reload.put(`# reviewed\n${GOOD[0]}`, GOOD[1]!)
  await reload.looks(3)
  expect(reload.used).toEqual([])
  await reload.close()
})

test('a folder that goes away is a problem, not the end of all policies', async () => {
  const reload = aReload()
  reload.fail(new AppError('config_invalid', 'decide.policiesDir: there is no folder policies'))
  await reload.looks(2)
  expect(reload.warning()).toContain('there is no folder policies')
  expect(reload.used).toEqual([])
  await reload.close()
})

test('an emptied folder is taken: nothing matches any more', async () => {
  const reload = aReload()
  reload.put()
  await reload.looks(2)
  expect(reload.used.map(({ policies }) => policies.length)).toEqual([0])
  await reload.close()
})

test('a bug in reading ends the reload, and whoever watches it is told', async () => {
  const reload = aReload()
  reload.fail(new TypeError('a bug'))
  await reload.looks(1)
  await expect(reload.finished).rejects.toThrow('a bug')
  await reload.close()
})
