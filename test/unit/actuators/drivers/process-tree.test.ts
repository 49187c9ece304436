// A process and all that it started: nobody is missed, nobody else is touched.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processDriver } from '../../../../actuators/drivers/process.ts'
import { type ProcessSnapshot, snapshotFolder } from '../../../../actuators/drivers/process-snapshot.ts'
import {
  commandLineOf,
  isAlive,
  isStopped,
  limitsOf,
  listProcesses,
  type ProcessStat,
  readProcess,
  sameProcess
} from '../../../../actuators/drivers/process-table.ts'
import { treeOf } from '../../../../actuators/drivers/process-tree.ts'
import { readRunFile, writeRunFile } from '../../../../actuators/drivers/run-file.ts'
import { spawnSupervised } from '../../../../actuators/drivers/supervise.ts'
import type { Driver } from '../../../../schemas/ports.ts'
import type { ProcessDefinition } from '../../../../schemas/process-definitions.ts'
import { aFolder, anOrder, definitions, NAME, never, tidyUp, until } from './process-world.ts'

afterEach(tidyUp)

/** Starts three kinds of helpers: a child, one with a session of its own, and one whose parent has ended beside that. */
const HELPERS = `const { spawn } = require('node:child_process')
  const helper = ['/bin/sh', '-c', 'sleep 600; :', process.argv[2]]
  const start = (argv, detached) => spawn(argv[0], argv.slice(1), { detached, stdio: 'ignore' })
  start(helper, false); start(helper, true); start(['/usr/bin/setsid', '-f', ...helper], false); setInterval(() => {}, 1000)`
/** Starts one helper with a secret among its arguments. */
const SECRETIVE = `require('node:child_process').spawn('/bin/sh', ['-c', 'sleep 600; :', process.argv[2], '--password=hunter22'], { stdio: 'ignore' })
  setInterval(() => {}, 1000)`
/** Four processes a step, faster than anyone looks, up to a limit that keeps the machine well. */
const FORKS = `const { spawn } = require('node:child_process')
  let left = 60
  setInterval(() => { for (let i = 0; i < 4 && left > 0; i++, left--) spawn('/bin/sh', ['-c', 'sleep 600; :', process.argv[2]], { detached: i % 2 === 0, stdio: 'ignore' }) }, 5)`

describe('the tree of a process', () => {
  let folder: string
  let runDir: string
  beforeEach(() => {
    folder = aFolder()
    runDir = join(folder, 'run')
  })
  const definitionOf = (body: string, more: Partial<ProcessDefinition> = {}) => ({ [NAME]: { ...definitions(folder, body)[NAME]!, ...more } })
  const driverOf = (processes: Record<string, ProcessDefinition>) => processDriver({ definitions: processes, runDir })
  /** Found by what their command lines say, not as the driver finds them. */
  const helpers = (): ProcessStat[] =>
    listProcesses().filter(each => isAlive(each) && commandLineOf(each.pid)?.[2] === 'sleep 600; :' && commandLineOf(each.pid)?.includes(folder))
  /** Every helper has started its sleep, and nobody on the way there is left. */
  const whole = (driver: Driver, count: number) =>
    until(async () => helpers().length === (count - 1) / 2 && (await driver.observe(NAME)).facts.processes === count)
  const open = async (body: string, more: Partial<ProcessDefinition> = {}) => {
    const processes = definitionOf(body, more)
    const started = await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    return { driver: driverOf(processes), started }
  }

  it('freezes and thaws all of it, also who left session and parent', async () => {
    const { driver, started } = await open(HELPERS)
    await whole(driver, 7) // Each helper is a shell with its sleep.
    expect(helpers().filter(({ session, parent }) => session !== started.session && parent !== started.pid)).not.toEqual([])
    expect((await driver.apply(anOrder('freeze', 'f1'), never)).detail).toMatch(/: 7 processes frozen$/)
    expect([...helpers(), readProcess(started.pid)!].every(isStopped)).toBe(true)
    expect(await driver.observe(NAME)).toMatchObject({ state: 'running', facts: { processes: 7, frozen: true } })
    expect((await driver.apply(anOrder('thaw', 'f2'), never)).detail).toMatch(/: 7 processes thawed$/)
    await until(() => !helpers().some(isStopped) && !isStopped(readProcess(started.pid)!))
    expect(await driver.observe(NAME)).toMatchObject({ facts: { frozen: false } })
  })

  it('freezes what forks meanwhile: nothing moves and nothing is born afterwards', async () => {
    const { driver } = await open(FORKS)
    await until(() => helpers().length > 4)
    await driver.apply(anOrder('freeze', 'f3'), never)
    const { processes } = (await driver.observe(NAME)).facts
    expect(helpers().every(isStopped)).toBe(true)
    for (let look = 0; look < 10; look++) expect((await driver.observe(NAME)).facts).toMatchObject({ processes, frozen: true })
  })

  it('ends all of it, when it is frozen and when its first process is gone', async () => {
    const frozen = await open(HELPERS)
    await whole(frozen.driver, 7)
    await frozen.driver.apply(anOrder('freeze', 'e1'), never)
    expect((await frozen.driver.apply(anOrder('stop', 'e2'), never)).detail).toMatch(/: 7 processes ended$/)
    expect(helpers()).toEqual([])
    const orphaned = await open(HELPERS)
    await whole(orphaned.driver, 7)
    process.kill(orphaned.started.pid, 'SIGKILL')
    await until(() => sameProcess(orphaned.started) === undefined)
    expect(await orphaned.driver.observe(NAME)).toMatchObject({ state: 'failed', facts: { processes: 6 } })
    await orphaned.driver.apply(anOrder('stop', 'e3'), never)
    expect(helpers()).toEqual([])
  })

  it('asks those too that are born while it ends, and does not wait for its whole grace', async () => {
    // Forks until it is asked to end, and once more then.
    const body = `const { spawn } = require('node:child_process')
      const fork = () => spawn('/bin/sh', ['-c', 'sleep 600; :', process.argv[2]], { detached: true, stdio: 'ignore' })
      process.once('SIGTERM', () => { fork(); setTimeout(() => process.exit(0), 50) }); fork(); setInterval(() => {}, 1000)`
    const { driver } = await open(body, { grace: 60_000 })
    await until(() => helpers().length === 1)
    await driver.apply(anOrder('stop', 'e4'), never)
    expect(helpers()).toEqual([])
  })

  it('lets a frozen process end in its own way', async () => {
    const { driver } = await open(
      `process.on('SIGTERM', () => { require('node:fs').writeFileSync(process.argv[2] + '/said', 'goodbye'); process.exit(0) }); require('node:fs').writeFileSync(process.argv[2] + '/listens', ''); setInterval(() => {}, 1000)`,
      { grace: 60_000 }
    )
    await until(() => existsSync(join(folder, 'listens')))
    await driver.apply(anOrder('freeze', 'g1'), never)
    await driver.apply(anOrder('stop', 'g2'), never)
    expect(existsSync(join(folder, 'said'))).toBe(true)
  })

  it('refuses when the pid belongs to another process now, and says so; a restart leaves that one alone', async () => {
    const { driver, started } = await open('process.exit(0)')
    await until(() => sameProcess(started) === undefined)
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
    const identity = readProcess(stranger.pid!)!
    const file = readRunFile(runDir, NAME)
    writeRunFile(runDir, NAME, { ...file, process: { ...file.process!, pid: identity.pid, startTicks: identity.startTicks - 1 } })
    expect(await driver.observe(NAME)).toMatchObject({ state: 'failed', facts: { pidReused: true, processes: 0 } })
    for (const verb of ['freeze', 'thaw', 'snapshot', 'stop']) {
      const refused = { code: 'step_refused', message: expect.stringContaining(`pid ${identity.pid} belongs to another process now`) }
      await expect(driver.apply(anOrder(verb, `r-${verb}`), never)).rejects.toMatchObject(refused)
    }
    expect((await driver.apply(anOrder('restart', 'r-restart'), never)).detail).toContain(
      `pid ${identity.pid} belongs to another process now and was left alone`
    )
    expect(sameProcess(identity)?.state).toMatch(/[SRD]/)
    stranger.kill('SIGKILL')
  })

  it('does not act on a tree that it is part of', () => {
    const parent = readProcess(process.ppid)!
    expect(() => treeOf({ ...parent, mark: '' })).toThrow(expect.objectContaining({ code: 'step_refused' }))
  })

  it('says that there is nothing to freeze, thaw or look at', async () => {
    const driver = driverOf(definitionOf('process.exit(0)'))
    for (const verb of ['freeze', 'thaw', 'snapshot'])
      await expect(driver.apply(anOrder(verb, `n-${verb}`), never)).rejects.toMatchObject({ code: 'driver_failed' })
  })

  it('keeps snapshots of the newest orders: members, limits, command lines without secrets', async () => {
    const { driver, started } = await open(SECRETIVE, { limits: { default: { openFiles: 500, env: {} } } })
    await whole(driver, 3)
    const { detail } = await driver.apply(anOrder('snapshot', 's0'), never)
    expect(detail).toMatch(/^shop: 3 processes, \d+ MiB resident; limits: data size unlimited, address space unlimited, open files 500, processes /)
    expect(detail).not.toContain('hunter22')
    const read = (): ProcessSnapshot[] =>
      readdirSync(snapshotFolder(runDir, NAME)).map(name => JSON.parse(readFileSync(join(snapshotFolder(runDir, NAME), name), 'utf8')) as ProcessSnapshot)
    const [snapshot] = read()
    expect(snapshot).toMatchObject({ idempotencyKey: 's0', processCount: 3, omitted: 0, limits: { 'Max open files': 500 } })
    const member = (pid: number) => snapshot!.members.find(each => each.pid === pid)
    expect(member(started.pid)).toMatchObject({ state: expect.stringMatching(/[SRD]/), openFiles: expect.any(Number) })
    expect(member(helpers()[0]!.pid)).toMatchObject({ parent: started.pid, command: expect.stringMatching(/ --password=\[redacted\]$/) })
    for (let order = 1; order <= 12; order++) await driver.apply(anOrder('snapshot', `s${order}`), never)
    expect(read().map(each => each.idempotencyKey)).toEqual(Array.from({ length: 10 }, (_, index) => `s${index + 3}`))
  })

  it('starts with the limits that the order names, and with the default ones again', async () => {
    const limits = { default: { openFiles: 400, env: { ROOM: 'wide' } }, lowered: { openFiles: 300, memoryBytes: 2 ** 31, env: { ROOM: 'narrow' } } }
    const { driver } = await open(`require('node:fs').appendFileSync(process.argv[2] + '/room', process.env.ROOM + ' '); setInterval(() => {}, 1000)`, {
      limits
    })
    const runsWith = async () => {
      const { pid, limits } = (await driver.observe(NAME)).facts
      const kernel = limitsOf(pid as number)!
      return [limits, kernel.get('Max open files'), kernel.get('Max data size')]
    }
    const room = () => (existsSync(join(folder, 'room')) ? readFileSync(join(folder, 'room'), 'utf8') : '')
    await until(() => room() === 'wide ')
    expect(await runsWith()).toEqual(['default', 400, null])
    expect((await driver.apply({ ...anOrder('restart', 'l1'), args: { limits: 'lowered' } }, never)).detail).toMatch(/started with limits lowered$/)
    await until(() => room() === 'wide narrow ')
    expect(await runsWith()).toEqual(['lowered', 300, 2 ** 31])
    await driver.apply(anOrder('restart', 'l2'), never)
    await until(() => room() === 'wide narrow wide ')
    expect(await runsWith()).toEqual(['default', 400, null])
  })

  it('the kernel keeps a limit of memory: who asks for more does not get it', async () => {
    const dd = ['/bin/dd', 'if=/dev/zero', 'of=/dev/null', 'bs=64M', 'count=1']
    const logFile = join(folder, 'dd.log')
    const definition = { ...definitions(folder)[NAME]!, argv: dd, logFile, limits: { lowered: { memoryBytes: 32 * 2 ** 20, env: {} } } }
    await driverOf({ [NAME]: definition }).apply({ ...anOrder('start', 'm1'), args: { limits: 'lowered' } }, never)
    await until(() => readFileSync(logFile, 'utf8').includes('memory exhausted'))
  })
})
