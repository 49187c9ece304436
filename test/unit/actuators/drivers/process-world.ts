// A small service for the process driver's tests: it witnesses its own start, with the key of the order behind it.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import { commandLineOf, listProcesses } from '../../../../actuators/drivers/process-table.ts'
import { endTree } from '../../../../actuators/drivers/process-tree.ts'
import { KEY_VARIABLE } from '../../../../actuators/drivers/supervise.ts'
import type { DriverOrder } from '../../../../schemas/ports.ts'
import { type ProcessDefinition, processDefinitionsSchema } from '../../../../schemas/process-definitions.ts'

export const NAME = 'shop'
/** No order of a test is late because the machine is busy. */
export const ORDER_MS = 120_000
const HANG_MS = 60_000
export const never = new AbortController().signal
const uses: { folder: string }[] = []

export function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-process-'))
  uses.push({ folder })
  return folder
}

/** A service that witnesses its own start, and its key, as its first act; `body` is what it does then. */
export function definitions(folder: string, body = 'setInterval(() => {}, 1000)') {
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
export const definition = (folder: string): ProcessDefinition => definitions(folder)[NAME]!
export const starts = (folder: string): string[] => (existsSync(join(folder, 'starts')) ? readFileSync(join(folder, 'starts'), 'utf8').trim().split('\n') : [])
export const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (const endMs = performance.now() + HANG_MS; performance.now() < endMs; await pause(10)) {
    if (await holds()) return // Asked once: what comes and goes need not hold again.
  }
  expect.fail(`not within ${HANG_MS} ms: ${holds}`)
}
let fence = 0
export const anOrder = (verb: string, key: string): DriverOrder => ({
  idempotencyKey: key,
  target: NAME,
  verb,
  args: {},
  fence: ++fence,
  deadlineMs: Date.now() + ORDER_MS
})

/** Everything that was started in a test's folder, by what its command line names. */
export async function endAll(folder: string): Promise<void> {
  for (const { pid, startTicks } of listProcesses()) if (commandLineOf(pid)?.includes(folder)) await endTree({ pid, startTicks, mark: '' }, 0)
}

/** Ends what the tests of a file started and removes their folders. */
export async function tidyUp(): Promise<void> {
  for (const { folder } of uses.splice(0)) {
    await endAll(folder)
    rmSync(folder, { recursive: true, force: true })
  }
}
