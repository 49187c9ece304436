// `process` under contract, by what its verbs leave to count.
//
// start, restart, stop: a small service that witnesses each of its starts, with the key of the order behind it.
// freeze, thaw, snapshot: the states of the service and its child as the kernel tells them, and the files of snapshots.

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { processDriver } from '../../../actuators/drivers/process.ts'
import { snapshotFolder } from '../../../actuators/drivers/process-snapshot.ts'
import { commandLineOf, isAlive, isStopped, listProcesses } from '../../../actuators/drivers/process-table.ts'
import { readRunFile, writeRunFile } from '../../../actuators/drivers/run-file.ts'
import { spawnSupervised } from '../../../actuators/drivers/supervise.ts'
import { aFolder, anOrder, definition, definitions, endAll, NAME, never, starts, until } from '../../unit/actuators/drivers/process-world.ts'
import type { DriverSubject } from '../driver.ts'

const LIMITS = { lowered: { openFiles: 400, env: {} } }

export const supervised: DriverSubject = [
  'process',
  async () => {
    const folder = aFolder()
    const processes = { [NAME]: { ...definition(folder), limits: LIMITS } }
    const runDir = join(folder, 'run')
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => starts(folder).length === 1)
    /** The service, and whatever is about to become it. */
    const alive = () => listProcesses().filter(each => isAlive(each) && commandLineOf(each.pid)?.includes(folder))
    let stops = 0
    const options = { definitions: processes, runDir }
    const open = () => processDriver(options)
    return {
      open,
      source: { file: 'process.ts', factory: 'processDriver', options },
      async prepare(verb) {
        if (verb === 'start') await open().apply(anOrder('stop', `stop-${++stops}`), never)
      },
      order: (verb, key) => ({ ...anOrder(verb, key), args: verb === 'stop' ? {} : { limits: 'lowered' } }),
      async effects(key) {
        await until(() => alive().every(({ pid }) => starts(folder).some(line => line.split(' ').at(-1) === String(pid)))) // Whoever was started has said so.
        return starts(folder).filter(line => line.startsWith(`${key} `)).length
      },
      async crash(order, when) {
        const before = readRunFile(runDir, NAME)
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
    skip: [{ verb: 'stop', why: 'a stop starts nothing to count; tested in test/unit' }],
    refused: [
      { what: 'a process without definition', order: { target: 'other' } },
      { what: 'a path', order: { target: '../../etc/passwd' } },
      { what: 'a verb that it does not have', order: { verb: 'constructor' } },
      { what: 'any other argument', order: { args: { limits: 'lowered', argv: ['/bin/sh'] } } },
      { what: 'limits that its definition lacks', order: { args: { limits: 'none' } } },
      { what: 'limits by a name that every object has', order: { args: { limits: 'constructor' } } },
      { what: 'limits that are a list', order: { args: { limits: ['lowered'] } } },
      { what: 'an argument where a verb takes none', order: { verb: 'stop', args: { limits: 'lowered' } } }
    ],
    keepsFences: true
  }
]

// Neither of the two forks again: a shell that starts something is, for a moment, two with one command line.
const CHILD = `const wait = 'setInterval(() => {}, 1000)'
  require('node:child_process').spawn(process.execPath, ['-e', wait, process.argv[2]], { detached: true, stdio: 'ignore' })
  eval(wait)`

export const tree: DriverSubject = [
  'process-tree',
  async () => {
    const folder = aFolder()
    const processes = definitions(folder, CHILD)
    const runDir = join(folder, 'run')
    /** The service, and its child in a session of its own. */
    const members = () => listProcesses().filter(each => isAlive(each) && commandLineOf(each.pid)?.includes(folder))
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => members().length === 2)
    const options = { definitions: processes, runDir }
    const open = () => processDriver(options)
    const verbs = new Map<string, string>()
    const snapshots = (): string[] => {
      const kept = snapshotFolder(runDir, NAME)
      const names = existsSync(kept) ? readdirSync(kept).filter(name => name.endsWith('.json')) : []
      return names.map(name => JSON.parse(readFileSync(join(kept, name), 'utf8')).idempotencyKey)
    }
    return {
      open,
      source: { file: 'process.ts', factory: 'processDriver', options },
      async prepare(verb) {
        const isReady = () => members().every(each => isStopped(each) === (verb === 'thaw'))
        for (const { pid } of members()) process.kill(pid, verb === 'thaw' ? 'SIGSTOP' : 'SIGCONT')
        await until(isReady)
        rmSync(snapshotFolder(runDir, NAME), { recursive: true, force: true })
      },
      order(verb, key) {
        verbs.set(key, verb)
        return anOrder(verb, key)
      },
      async effects(key) {
        const now = members()
        expect(now).toHaveLength(2)
        if (verbs.get(key) === 'snapshot') return snapshots().filter(kept => kept === key).length
        return now.every(each => isStopped(each) === (verbs.get(key) === 'freeze')) ? 1 : 0
      },
      async crash(order, when) {
        const before = readRunFile(runDir, NAME)
        if (when === 'before') return
        await open().apply(order, never)
        writeRunFile(runDir, NAME, before) // It never heard of its own success.
      },
      async close() {
        await endAll(folder)
      }
    }
  },
  {
    verbs: ['snapshot', 'freeze', 'thaw'],
    refused: [
      { what: 'a process without definition', order: { target: 'other' } },
      { what: 'a pid', order: { target: '1' } },
      { what: 'any argument', order: { args: { signal: 'SIGKILL' } } },
      { what: 'limits, which only a start takes', order: { args: { limits: 'lowered' } } }
    ],
    keepsFences: true
  }
]
