// Starts one process of the lab, detached, its output in a file: a restart by Homeostat must not depend on the lab's life.

import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

export function spawnDetached(argv: readonly string[], logFile: string, environment: Readonly<Record<string, string>> = {}): number {
  const output = openSync(logFile, 'a')
  const child = spawn(argv[0]!, argv.slice(1), { detached: true, stdio: ['ignore', output, output], env: { ...process.env, ...environment } })
  closeSync(output)
  child.unref()
  if (child.pid === undefined) throw new Error(`cannot start ${argv[0]}`)
  return child.pid
}
