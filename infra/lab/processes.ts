// Finds the lab's processes by what they are: a command line that names this run's folder, which no other process does.
//
// The lab does not trust pid files for this: Homeostat restarts services behind its back, and after a kill -9 a file may
// be stale. A pid is only ever signalled together with its start time, so a reused pid is never hit. Linux only (/proc).

import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessIdentity {
  pid: number
  /** Clock ticks after boot (field 22 of /proc/PID/stat). */
  startTicks: string
  argv: string[]
}

/** Processes with an argument that is `folder` or lies in it, except this one. */
export function findProcesses(folder: string): ProcessIdentity[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap(name => readProcess(Number(name)) ?? [])
    .filter(({ argv }) => argv.some(argument => argument === folder || argument.startsWith(`${folder}/`)))
}

/** The process of `script` (a path's end, e.g. `fleet/orders.ts`) in the run of `folder`. */
export function findScript(script: string, folder: string): ProcessIdentity | undefined {
  return findProcesses(folder).find(({ argv }) => argv.some(argument => argument.endsWith(script)))
}

/** Undefined when it is gone or a zombie. */
export function readProcess(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command name may hold spaces and brackets: fields are counted after its closing one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z') return undefined
    return { pid, startTicks: fields[19] ?? '', argv: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean) }
  } catch {
    return undefined
  }
}

/** Sends the signal if the process is still the same one. @returns whether it was */
export function signalProcess({ pid, startTicks }: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (readProcess(pid)?.startTicks !== startTicks) return false
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Resident set in bytes; undefined when the process is gone. */
export function residentBytes(pid: number): number | undefined {
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]
    return Number(pages) * PAGE_BYTES
  } catch {
    return undefined
  }
}

/** CPU seconds used so far, user and system. */
export function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S
  } catch {
    return 0
  }
}

const PAGE_BYTES = 4_096 // x86-64 and almost every arm64 Linux.
const TICKS_PER_S = 100 // USER_HZ, fixed by the kernel's ABI.
