// Runs a process that appends to a log until it is killed, and collects what was acknowledged to it.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Appender } from '../contract/log.ts'

/** @param script beside this file; prints `<partition> <offset> <name>` a line */
export function startAppenderProcess(script: string, args: readonly string[]): Appender {
  const file = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const acknowledged: { partition: number; offset: number; name: string }[] = []
  const lines = createInterface({ input: child.stdout! })
  lines.on('line', line => {
    const [partition, offset, name] = line.split(' ')
    // The kill may cut the last line short; an acknowledgement that was not read whole proves nothing.
    if (name?.match(/^\d+-\d+-[01]$/)) acknowledged.push({ partition: Number(partition), offset: Number(offset), name })
  })
  const ended = new Promise<void>(resolve => lines.once('close', () => resolve()))
  return {
    acknowledged: () => acknowledged,
    async kill() {
      child.kill('SIGKILL')
      await ended
    }
  }
}
