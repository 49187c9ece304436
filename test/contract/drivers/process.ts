// `process` under contract: a small service that witnesses each of its starts, with the key of the order behind it.

import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { processDriver } from '../../../actuators/drivers/process.ts'
import { readRunFile, writeRunFile } from '../../../actuators/drivers/run-file.ts'
import { spawnSupervised } from '../../../actuators/drivers/supervise.ts'
import { aFolder, anOrder, definitions, endAll, NAME, never, starts, until } from '../../unit/actuators/drivers/process-world.ts'
import type { DriverSubject } from '../driver.ts'

export const supervised: DriverSubject = [
  'process',
  async () => {
    const folder = aFolder()
    const processes = definitions(folder)
    const runDir = join(folder, 'run')
    await spawnSupervised({ runDir, name: NAME, definition: processes[NAME]! })
    await until(() => starts(folder).length === 1)
    let stops = 0
    const options = { definitions: processes, runDir }
    const open = () => processDriver(options)
    return {
      open,
      source: { file: 'process.ts', factory: 'processDriver', options },
      async prepare(verb) {
        if (verb === 'start') await open().apply(anOrder('stop', `stop-${++stops}`), never)
      },
      order: anOrder,
      async effects(key) {
        await pause(300) // A process that was started must have had the time to say so.
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
      { what: 'any argument', order: { args: { argv: ['/bin/sh'] } } }
    ],
    keepsFences: true
  }
]
