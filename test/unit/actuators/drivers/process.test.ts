import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processDriver } from '../../../../actuators/drivers/process.ts'
import { readProcess, sameProcess } from '../../../../actuators/drivers/process-table.ts'
import { readRunFile, writeRunFile } from '../../../../actuators/drivers/run-file.ts'
import { KEY_VARIABLE, spawnSupervised } from '../../../../actuators/drivers/supervise.ts'
import { aFolder, anOrder, definition, definitions, NAME, never, starts, tidyUp, until } from './process-world.ts'

afterEach(tidyUp)

describe('process driver', () => {
  let folder: string
  let runDir: string
  beforeEach(() => {
    folder = aFolder()
    runDir = join(folder, 'run')
  })
  const driverOf = (processes = definitions(folder)) => processDriver({ definitions: processes, runDir })
  const pidNow = async () => (await driverOf().observe(NAME)).facts.pid as number

  it('restarts by entity as well as by name, and tells what runs', async () => {
    await spawnSupervised({ runDir, name: NAME, definition: definition(folder) })
    await until(() => starts(folder).length === 1)
    const before = await pidNow()
    await driverOf().apply({ ...anOrder('restart', 'k1'), target: 'shop/orders@orders-1' }, never)
    await until(() => starts(folder).length === 2)
    const { state, facts } = await driverOf().observe(NAME)
    expect(state).toBe('running')
    expect(facts.pid).not.toBe(before)
    expect(facts.restarts).toBe(1)
    expect(facts.rssBytes).toBeGreaterThan(1_000_000)
    expect(Math.abs(Date.now() - (facts.startedAtMs as number))).toBeLessThan(60_000)
    await until(() => readProcess(before) === undefined)
  })

  it('ends a stopped process and everything it started', async () => {
    const child = `const c = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', process.argv[2]], { detached: true, stdio: 'ignore' })
      require('node:fs').writeFileSync(process.argv[2] + '/child', String(c.pid)); process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`
    const processes = definitions(folder, child)
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => existsSync(join(folder, 'child')) && readFileSync(join(folder, 'child'), 'utf8') !== '')
    const childPid = Number(readFileSync(join(folder, 'child'), 'utf8'))
    const pid = await pidNow()
    process.kill(pid, 'SIGSTOP')
    await until(() => readProcess(pid)?.state === 'T')
    expect((await driverOf(processes).observe(NAME)).facts.procState).toBe('T')
    await driverOf(processes).apply(anOrder('stop', 'k2'), never)
    expect([pid, childPid].map(each => readProcess(each)?.state).filter(state => state !== undefined && state !== 'Z')).toEqual([])
    expect((await driverOf(processes).observe(NAME)).state).toBe('stopped')
  })

  it('kills what ignores SIGTERM after its grace', async () => {
    const deaf = `process.on('SIGTERM', () => {}); require('node:fs').writeFileSync(process.argv[2] + '/deaf', ''); setInterval(() => {}, 1000)`
    const processes = definitions(folder, deaf)
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => existsSync(join(folder, 'deaf')))
    const begun = Date.now()
    await driverOf(processes).apply(anOrder('stop', 'k3'), never)
    expect(Date.now() - begun).toBeGreaterThanOrEqual(250)
  })

  it('leaves a process alone that has the pid of the old one', async () => {
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
    const { startTicks } = readProcess(stranger.pid!)!
    writeRunFile(runDir, NAME, {
      ...readRunFile(runDir, NAME),
      process: { pid: stranger.pid!, startTicks: startTicks - 1, startedAtMs: 0, mark: '', limits: '' }
    })
    await driverOf().apply(anOrder('restart', 'k4'), never)
    expect(sameProcess({ pid: stranger.pid!, startTicks })).toBeDefined()
    stranger.kill('SIGKILL')
  })

  it('finds the process that someone else started with the same command line, but not one of two', async () => {
    const { argv } = definition(folder)
    const first = spawn(argv[0]!, argv.slice(1), { stdio: 'ignore', detached: true })
    await until(() => starts(folder).length === 1)
    expect(await driverOf().observe(NAME)).toMatchObject({ state: 'running', facts: { pid: first.pid } })
    rmSync(runDir, { recursive: true })
    spawn(argv[0]!, argv.slice(1), { stdio: 'ignore', detached: true })
    await until(() => starts(folder).length === 2)
    expect(await driverOf().observe(NAME)).toMatchObject({ state: 'unknown', facts: { strangers: 2 } })
    await expect(driverOf().apply(anOrder('restart', 'k14'), never)).rejects.toMatchObject({ code: 'driver_failed' })
    expect(starts(folder)).toHaveLength(2)
  })

  it('says failed when the process ended by itself, stopped when we ended it', async () => {
    const processes = definitions(folder, 'process.exit(1)')
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => starts(folder).length === 1)
    await until(async () => (await driverOf(processes).observe(NAME)).state === 'failed')
    await driverOf(processes).apply(anOrder('stop', 'k5'), never)
    expect((await driverOf(processes).observe(NAME)).state).toBe('stopped')
  })

  it('start does nothing when it runs, and starts it when it does not', async () => {
    await driverOf().apply(anOrder('start', 'k6'), never)
    await driverOf().apply(anOrder('start', 'k7'), never)
    await until(() => starts(folder).length === 1)
    expect(starts(folder)[0]).toMatch(/^k6 /)
    expect(await driverOf().wasApplied!(anOrder('start', 'k7'))).toBe('yes')
    expect(await driverOf().wasApplied!(anOrder('start', 'k8'))).toBe('no')
  })

  it('fails without effect when the program cannot be started', async () => {
    const processes = { [NAME]: { ...definition(folder), argv: [join(folder, 'nothing-here')] } }
    await expect(driverOf(processes).apply(anOrder('restart', 'k11'), never)).rejects.toMatchObject({ code: 'driver_failed' })
    expect(await driverOf(processes).wasApplied!(anOrder('restart', 'k11'))).toBe('no')
  })

  it('gives the process its own variables and none of ours', async () => {
    process.env.HOMEOSTAT_TEST_SECRET = 'leak'
    const processes = definitions(
      folder,
      `require('node:fs').writeFileSync(process.argv[2] + '/env', JSON.stringify(process.env)); setInterval(() => {}, 1000)`
    )
    await spawnSupervised({ runDir, name: NAME, definition: { ...processes[NAME]!, env: { MODE: 'fast' } }, idempotencyKey: 'k12' })
    delete process.env.HOMEOSTAT_TEST_SECRET
    await until(() => existsSync(join(folder, 'env')) && readFileSync(join(folder, 'env'), 'utf8').endsWith('}'))
    const environment = JSON.parse(readFileSync(join(folder, 'env'), 'utf8')) as Record<string, string>
    expect(environment).toMatchObject({ MODE: 'fast', [KEY_VARIABLE]: 'k12' })
    expect(environment.HOMEOSTAT_TEST_SECRET).toBeUndefined()
  })

  it('appends the output to the log file and turns a large one over at the start', async () => {
    const processes = definitions(folder, `console.log('hello'); setInterval(() => {}, 1000)`)
    const logFile = join(runDir, `${NAME}.log`)
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => readFileSync(logFile, 'utf8').includes('hello'))
    appendFileSync(logFile, Buffer.alloc(64 * 2 ** 20 + 1))
    await driverOf(processes).apply(anOrder('restart', 'k13'), never)
    expect(existsSync(`${logFile}.1`)).toBe(true)
  })
})
