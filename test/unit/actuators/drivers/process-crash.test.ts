// What a crash leaves of a start, and how it is resolved: marks, and kill -9 of a real actuator (test/contract has every step of it).

import { spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processDriver } from '../../../../actuators/drivers/process.ts'
import { decideStart, MARKING_LAUNCHER, nextMark } from '../../../../actuators/drivers/start-mark.ts'
import { spawnSupervised } from '../../../../actuators/drivers/supervise.ts'
import { aFolder, anOrder, definitions, NAME, never, starts, tidyUp, until } from './process-world.ts'

afterEach(tidyUp)

describe('a start and a crash', () => {
  let folder: string
  let runDir: string
  beforeEach(() => {
    folder = aFolder()
    runDir = join(folder, 'run')
  })
  const driverOf = (processes = definitions(folder)) => processDriver({ definitions: processes, runDir })

  it('kill -9 of the whole actuator at any instant of a restart starts the service once', async () => {
    const processes = definitions(folder)
    const program = `
      import { processDriver } from ${JSON.stringify(join(import.meta.dirname, '../../../../actuators/drivers/process.ts'))}
      const { definitions, runDir, order } = JSON.parse(process.argv[1])
      process.stdout.write('ready')
      await new Promise(resolve => process.stdin.once('data', resolve))
      await processDriver({ definitions, runDir }).apply(order, new AbortController().signal)
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
      actuator.stdin.on('error', () => {}) // It may be dead already.
      await until(() => output.includes('ready'))
      const begun = performance.now()
      // The first and the last may end; the second is killed before it begins, the others on their way, each a little later.
      if (round !== 1) actuator.stdin.write('go')
      if (round === 0 || round === rounds - 1) await until(() => output.includes('applied'))
      else await pause((wholeMs * 1.2 * (round - 1)) / rounds)
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
})
