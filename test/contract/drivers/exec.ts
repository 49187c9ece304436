// `exec` under contract: a program that witnesses its key and arguments in a file.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type ExecCommands, execDriver } from '../../../actuators/drivers/exec.ts'
import type { DriverSubject } from '../driver.ts'

const ORPHAN_MS = 150 // What the program of a killed driver needs to finish.
const never = new AbortController().signal

export const exec: DriverSubject = [
  'exec',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'homeostat-exec-'))
    const witness = join(folder, 'effects')
    const received = join(folder, 'arguments')
    const script = join(folder, 'act.sh')
    writeFileSync(script, `#!/bin/sh\necho "$HOMEOSTAT_IDEMPOTENCY_KEY" >> ${witness}\nprintf '%s\\0' "$@" > ${received}\n echo done\n`, { mode: 0o755 })
    const command = (driverClass: 'opaque' | 'convergent'): ExecCommands[string] => ({
      ...{ argv: [script, '{zone}', '{target}'], parameters: { zone: '[a-z]+-[0-9]' }, targets: ['orders', 'payments'] },
      ...{ class: driverClass, timeout: 60_000 }
    })
    const options = { commands: { drain: command('opaque'), fill: command('convergent') } }
    const open = () => execDriver(options)
    return {
      open,
      source: { file: 'exec.ts', factory: 'execDriver', options },
      order: (verb, key) => ({ idempotencyKey: key, target: 'orders', verb, args: { zone: 'eu-1' }, fence: 1, deadlineMs: Date.now() + 120_000 }),
      async effects(key) {
        await pause(ORPHAN_MS)
        const lines = existsSync(witness) ? readFileSync(witness, 'utf8').split('\n') : []
        return lines.filter(line => line === key).length
      },
      escapes({ target, args }) {
        const got = readFileSync(received, 'utf8').split('\0').slice(0, -1)
        rmSync(received)
        return got.length === 2 && got[0] === args.zone && got[1] === target ? [] : [`the program got ${JSON.stringify(got)}`]
      },
      async crash(order, when) {
        if (when === 'after') await open().apply(order, never)
      },
      async close() {
        rmSync(folder, { recursive: true, force: true })
      }
    }
  },
  {
    verbs: ['drain', 'fill'],
    refused: [
      { what: 'a command that is not listed', order: { verb: 'rm' } },
      { what: 'a name that every object has', order: { verb: 'constructor' } },
      { what: 'a target that is not listed', order: { target: 'gateway' } },
      { what: 'a missing argument', order: { args: {} } },
      { what: 'an argument that is not listed', order: { args: { zone: 'eu-1', user: 'root' } } },
      { what: 'an argument that does not fit its pattern from end to end', order: { args: { zone: 'eu-1; id' } } },
      { what: 'an argument that is a list', order: { args: { zone: ['eu-1'] } } }
    ],
    keepsFences: false
  }
]
