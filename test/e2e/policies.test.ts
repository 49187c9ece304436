// Policies that change while Homeostat runs, as an operator meets it: files, the log, probes and metrics of the process.

import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { type HomeostatProcess, homeostat, startHomeostat } from '../support/homeostat-process.ts'
import { eventually } from '../support/log-tools.ts'

const FREE = { port: 0 }
const folder = mkdtempSync(join(tmpdir(), 'homeostat-policies-'))
const policiesDir = join(folder, 'policies')
let running: HomeostatProcess | undefined
afterAll(async () => {
  await running?.end('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

function writePolicy(autonomy: string): void {
  const runbook = `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: { name: restart }\nspec:\n  risk: low\n  signatures: [silent]\n  steps:\n    - { name: act, action: { driver: process, verb: restart }, verify: { checks: [{ name: up, type: http, url: "http://127.0.0.1/" }] } }\n`
  const policy = `apiVersion: homeostat.io/v1\nkind: Policy\nmetadata: { name: web }\nspec:\n  match: cause.service == "web"\n  runbooks: [restart]\n  autonomy: ${autonomy}\n`
  mkdirSync(policiesDir, { recursive: true })
  const file = join(policiesDir, 'web.yaml')
  writeFileSync(`${file}.new`, `${policy}---\n${runbook}`)
  renameSync(`${file}.new`, file) // Whole at any look, however long a write takes.
}

it('takes a good version over without a restart, tells of a bad one and goes on, and refuses a bad one at the start', { timeout: 300_000 }, async () => {
  writePolicy('observe')
  const doors = { intake: { grpc: FREE, http: FREE }, health: { listen: FREE }, console: { listen: FREE } }
  running = startHomeostat(folder, 'control', { roles: 'intake,detect,control', config: { ...doors, decide: { policiesDir }, self: { endpoint: 'off' } } })
  await running.ready()
  const { health } = running.addresses()
  const ask = async (path: string): Promise<string> => (await fetch(`${health}${path}`)).text()
  const problems = async (): Promise<string | undefined> => /^homeostat_policies_problems (\d+)/m.exec(await ask('/metrics'))?.[1]
  const inForce = () => running!.lines().filter(({ msg }) => msg === 'changed policies are in force')

  writePolicy('approve')
  await eventually('the change is in force', () => inForce().length === 1)
  expect(inForce()[0]).toMatchObject({ changes: ['policy web changed'], policies: 1, runbooks: 1 })

  writePolicy('atuo')
  await eventually('the bad version is told', async () => (await problems()) === '1')
  await expect.poll(async () => JSON.parse(await ask('/readyz'))).toMatchObject({ ready: true, warnings: ['policies'] })
  const refused = () => running!.lines().find(({ msg }) => String(msg).includes('changed policies are not used'))
  await eventually('it says so', () => refused() !== undefined)
  expect(refused()).toMatchObject({
    inForce: inForce()[0]!.version,
    problems: [expect.stringContaining('web.yaml:7:13: spec.autonomy')]
  })
  expect(await homeostat(running.configFile, ['policies', 'lint', '--offline'])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('web.yaml:7:13  error  load')
  })

  writePolicy('auto')
  await eventually('the correction is in force', async () => inForce().length === 2 && (await problems()) === '0')
  await expect.poll(async () => JSON.parse(await ask('/readyz'))).toMatchObject({ ready: true, warnings: [] })
  expect(await running.end()).toBe(0)

  writePolicy('atuo')
  expect(await homeostat(running.configFile, ['start', '--role', 'intake,detect,control'])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('Did you mean auto?')
  })
})
