import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processDriver } from '../../../../actuators/drivers/process.ts'
import { commandLineOf, listProcesses, readProcess, sameProcess } from '../../../../actuators/drivers/process-table.ts'
import { readRunFile, writeRunFile } from '../../../../actuators/drivers/run-file.ts'
import { decideStart, MARKING_LAUNCHER, nextMark } from '../../../../actuators/drivers/start-mark.ts'
import { endFamily, KEY_VARIABLE, spawnSupervised } from '../../../../actuators/drivers/supervise.ts'
import type { DriverOrder } from '../../../../schemas/ports.ts'
import { type ProcessDefinition, processDefinitionsSchema } from '../../../../schemas/process-definitions.ts'
import { driverContract } from '../../../contract/driver.ts'

const NAME = 'shop'
const never = new AbortController().signal
const uses: { folder: string }[] = []

function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-process-'))
  uses.push({ folder })
  return folder
}

/** A service that witnesses its own start, and its key, as its first act; `body` is what it does then. */
function definitions(folder: string, body = 'setInterval(() => {}, 1000)') {
  const script = join(folder, 'service.cjs')
  writeFileSync(
    script,
    `require('node:fs').appendFileSync(${JSON.stringify(join(folder, 'starts'))}, (process.env.${KEY_VARIABLE} ?? '') + ' ' + process.pid + '\\n')\n${body}\n`
  )
  return processDefinitionsSchema.parse({
    apiVersion: 'homeostat.io/v1',
    kind: 'ProcessDefinitions',
    processes: { [NAME]: { argv: [process.execPath, script, folder], entity: 'shop/orders@orders-1', grace: '300ms' } }
  }).processes
}
const definition = (folder: string): ProcessDefinition => definitions(folder)[NAME]!
const starts = (folder: string): string[] => (existsSync(join(folder, 'starts')) ? readFileSync(join(folder, 'starts'), 'utf8').trim().split('\n') : [])
const until = async (holds: () => boolean): Promise<void> => {
  for (let waitedMs = 0; !holds() && waitedMs < 10_000; waitedMs += 10) await pause(10)
  expect(holds()).toBe(true)
}
let fence = 0
const anOrder = (verb: string, key: string): DriverOrder => ({
  idempotencyKey: key,
  target: NAME,
  verb,
  args: {},
  fence: ++fence,
  deadlineMs: Date.now() + 10_000
})

/** Everything that was started in a test's folder, by what its command line names. */
async function endAll(folder: string): Promise<void> {
  for (const { pid, startTicks } of listProcesses()) if (commandLineOf(pid)?.includes(folder)) await endFamily({ pid, startTicks }, 0)
}
afterEach(async () => {
  for (const { folder } of uses.splice(0)) {
    await endAll(folder)
    rmSync(folder, { recursive: true, force: true })
  }
})

driverContract(
  'process',
  async () => {
    const folder = aFolder()
    const processes = definitions(folder)
    const runDir = join(folder, 'run')
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => starts(folder).length === 1)
    const open = () => processDriver({ definitions: processes, runDir })
    return {
      open,
      order: anOrder,
      async effects(key) {
        await pause(300) // A process that was started must have had the time to say so.
        return starts(folder).filter(line => line.startsWith(`${key} `)).length
      },
      async crash(order, when) {
        const before = readRunFile(runDir, NAME)
        if (order.verb === 'start') await open().apply(anOrder('stop', `stop-${order.idempotencyKey}`), never)
        if (when === 'before') return
        await open().apply(order, never)
        await until(() => starts(folder).some(line => line.startsWith(`${order.idempotencyKey} `)))
        // The pid never reached the disk.
        writeRunFile(runDir, NAME, before)
      },
      async close() {
        await endAll(folder)
      }
    }
  },
  {
    verbs: ['restart', 'start', 'stop'],
    skip: [
      { verb: 'start', why: 'the service runs already; tested below' },
      { verb: 'stop', why: 'a stop starts nothing to count; tested below' }
    ],
    refused: [
      { what: 'a process without definition', order: { target: 'other' } },
      { what: 'a path', order: { target: '../../etc/passwd' } },
      { what: 'a verb that it does not have', order: { verb: 'constructor' } },
      { what: 'any argument', order: { args: { argv: ['/bin/sh'] } } }
    ],
    keepsFences: true
  }
)

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
    expect(Math.abs(Date.now() - (facts.startedAtMs as number))).toBeLessThan(5_000)
    expect(readProcess(before)).toBeUndefined()
  })

  it('ends a stopped process and everything it started', async () => {
    const child = `const c = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', process.argv[2]], { detached: true, stdio: 'ignore' })
      require('node:fs').writeFileSync(process.argv[2] + '/child', String(c.pid)); process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`
    const processes = definitions(folder, child)
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => existsSync(join(folder, 'child')))
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
    const processes = definitions(folder, `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`)
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => starts(folder).length === 1)
    const begun = Date.now()
    await driverOf(processes).apply(anOrder('stop', 'k3'), never)
    expect(Date.now() - begun).toBeGreaterThanOrEqual(250)
  })

  it('leaves a process alone that has the pid of the old one', async () => {
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
    const { startTicks } = readProcess(stranger.pid!)!
    writeRunFile(runDir, NAME, { ...readRunFile(runDir, NAME), process: { pid: stranger.pid!, startTicks: startTicks - 1, startedAtMs: 0 } })
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

  it('kill -9 of the whole actuator at any instant of a restart starts the service once', async () => {
    const processes = definitions(folder)
    const program = `
      import { processDriver } from ${JSON.stringify(join(import.meta.dirname, '../../../../actuators/drivers/process.ts'))}
      const { definitions, runDir, order } = JSON.parse(process.argv[1])
      process.stdout.write('ready')
      await processDriver({ definitions, runDir }).apply({ ...order, deadlineMs: Date.now() + 10000 }, new AbortController().signal)
      process.stdout.write('applied')`
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    const rounds = 16
    const resolutions: string[] = []
    let wholeMs = 0
    for (let round = 0; round < rounds; round++) {
      const order = anOrder('restart', `kill-${round}`)
      const actuator = spawn(process.execPath, [
        '--disable-warning=ExperimentalWarning',
        '--input-type=module',
        '-e',
        program,
        JSON.stringify({ definitions: processes, runDir, order })
      ])
      const closed = new Promise(resolve => actuator.once('close', resolve))
      let output = ''
      for (const stream of [actuator.stdout, actuator.stderr]) {
        stream.on('data', chunk => {
          output += String(chunk)
        })
      }
      await until(() => output.includes('ready'))
      const begun = performance.now()
      // The first and the last may end; the others are killed on their way, each a little later.
      if (round === 0 || round === rounds - 1) await until(() => output.includes('applied'))
      else await pause((wholeMs * 1.2 * round) / rounds)
      if (round === 0) wholeMs = performance.now() - begun
      actuator.kill('SIGKILL')
      await closed
      const driver = driverOf(processes)
      const applied = await driver.wasApplied!(order)
      resolutions.push(applied)
      if (applied === 'no') await driver.apply(order, never)
      const count = () => starts(folder).filter(line => line.startsWith(`${order.idempotencyKey} `)).length
      await until(() => count() > 0)
      await pause(50)
      expect(count(), `round ${round} of ${wholeMs} ms: ${applied}`).toBe(1)
    }
    expect(resolutions).not.toContain('unknown')
    expect(resolutions).toContain('no')
    expect(resolutions.at(-1)).toBe('yes')
  })

  it('says failed when the process ended by itself, stopped when we ended it', async () => {
    const processes = definitions(folder, 'process.exit(1)')
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => starts(folder).length === 1)
    await pause(200)
    expect((await driverOf(processes).observe(NAME)).state).toBe('failed')
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

  it('knows a start whose process ended before its pid reached the disk', async () => {
    const processes = definitions(folder, 'process.exit(1)')
    const order = anOrder('restart', 'k9')
    await driverOf(processes).apply(order, never)
    await until(() => starts(folder).length === 1)
    rmSync(join(runDir, `${NAME}.json`))
    expect(await driverOf(processes).wasApplied!(order)).toBe('yes')
    expect(await driverOf(processes).wasApplied!(anOrder('restart', 'k10'))).toBe('no')
  })

  it('a start that is late finds its place taken once recovery has said no', async () => {
    const late = nextMark(runDir, 'k15')
    expect(decideStart(runDir, 'k15')).toBe('no')
    const witness = join(folder, 'late')
    const child = spawn(MARKING_LAUNCHER[0], [...MARKING_LAUNCHER.slice(1), late, '/usr/bin/touch', witness], { stdio: 'ignore' })
    expect(await new Promise(resolve => child.once('exit', resolve))).not.toBe(0)
    expect(existsSync(witness)).toBe(false)
    expect(nextMark(runDir, 'k15')).not.toBe(late)
    await driverOf().apply(anOrder('restart', 'k15'), never)
    await until(() => starts(folder).length === 1)
  })

  it('the launcher hands on arguments as they are', async () => {
    const odd = ['$(id)', '`id`', 'a b', "';", '"', '*', '-x', '', '\n']
    const child = spawn(MARKING_LAUNCHER[0], [
      ...MARKING_LAUNCHER.slice(1),
      nextMark(folder, 'odd'),
      process.execPath,
      '-p',
      'JSON.stringify(process.argv.slice(1))',
      '--',
      ...odd
    ])
    let output = ''
    child.stdout.on('data', chunk => {
      output += String(chunk)
    })
    await new Promise(resolve => child.once('close', resolve))
    expect(JSON.parse(output)).toEqual(odd)
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
