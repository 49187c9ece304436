// Boots a real systemd in private namespaces and gives the arguments that reach its systemctl from outside.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { commandLineOf, listProcesses } from '../../actuators/drivers/process-table.ts'

const BOOT_MS_MAX = 120_000 // 1-2 s on an idle machine.
const CALL_MS_MAX = 60_000

export interface SystemdWorld {
  /** Program and leading arguments for the driver's `systemctl`. */
  systemctl: string[]
  /** Runs systemctl in the world; returns its output. */
  run(...argv: string[]): string
  close(): Promise<void>
}

/** Why a systemd cannot be booted here, or undefined. */
export function systemdMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root: private namespaces need it'
  for (const file of ['/lib/systemd/systemd', '/usr/bin/systemctl', '/usr/bin/unshare', '/usr/bin/nsenter']) if (!existsSync(file)) return `${file} is missing`
  try {
    execFileSync('/usr/bin/unshare', ['--fork', '--pid', '--mount', '--uts', '--ipc', '--cgroup', '/bin/true'], { stdio: 'pipe', timeout: CALL_MS_MAX })
  } catch (error) {
    return `namespaces are not allowed: ${(error as Error).message.split('\n')[0]}`
  }
  return undefined
}

/** Boots into the one unit. @throws Error with systemd's output when it does not come up */
export async function bootSystemd(name: string, unit: string): Promise<SystemdWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-systemd-'))
  writeFileSync(join(folder, name), unit)
  const namespaces = ['--fork', '--pid', '--mount', '--uts', '--ipc', '--cgroup', '--kill-child']
  const child = spawn('/usr/bin/unshare', [...namespaces, join(import.meta.dirname, 'systemd-world.sh'), join(folder, name)], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output = (output + String(chunk)).slice(-4_000)))
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGKILL') // --kill-child takes systemd with it, and the namespace everything in it.
      await gone
    }
    rmSync(folder, { recursive: true, force: true })
  }
  for (const endMs = Date.now() + BOOT_MS_MAX; Date.now() < endMs && child.exitCode === null; await pause(100)) {
    const pid = listProcesses().find(({ parent }) => parent === child.pid)?.pid
    if (pid === undefined || commandLineOf(pid)?.[0] !== '/lib/systemd/systemd') continue
    const systemctl = ['/usr/bin/nsenter', '-t', String(pid), '-m', '-p', '-u', '-i', '-C', '/usr/bin/systemctl']
    const run = (...argv: string[]): string =>
      execFileSync(systemctl[0]!, [...systemctl.slice(1), ...argv], { encoding: 'utf8', stdio: 'pipe', timeout: CALL_MS_MAX }).trim()
    try {
      if (run('is-active', name) === 'active') return { systemctl, run, close }
    } catch {
      // Not yet: the manager's socket or the unit is still coming.
    }
  }
  await close()
  throw new Error(`systemd did not come up within ${BOOT_MS_MAX} ms:\n${output}`)
}
