// Local processes as the kernel shows them (/proc, Linux): identity, state, family.
//
// A pid alone names nobody, for it is used again. A process is (pid, start time in ticks since boot): nothing is ever
// signalled before both have been read again.

import { readdirSync, readFileSync, statSync } from 'node:fs'

const TICK_MS = 10 // USER_HZ is 100 in the kernel's ABI, whatever its own HZ.
const PAGE_BYTES = 4_096 // Of x86-64 and nearly every arm64 kernel; wrong elsewhere only in the rssBytes fact.

export interface ProcessIdentity {
  pid: number
  /** Field 22 of /proc/PID/stat. */
  startTicks: number
}

export interface ProcessStat extends ProcessIdentity {
  /** R, S, D, T (stopped), Z (dead, not yet reaped), … */
  state: string
  parent: number
  group: number
  session: number
  rssBytes: number
  /** Epoch ms, ± 20 ms. */
  startedAtMs: number
}

/** The process now, zombies included; undefined when there is none. */
export function readProcess(pid: number): ProcessStat | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The command name may hold spaces and brackets: fields are counted after its closing one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const startTicks = Number(fields[19])
  const startedAtMs = Math.round(Date.now() - uptimeMs() + startTicks * TICK_MS)
  const [parent, group, session, rssPages] = [fields[1], fields[2], fields[3], fields[21]].map(Number) as [number, number, number, number]
  return { pid, startTicks, state: fields[0]!, parent, group, session, rssBytes: rssPages * PAGE_BYTES, startedAtMs }
}

/** The same process, alive: undefined when it ended, is a zombie, or its pid belongs to another one now. */
export function sameProcess({ pid, startTicks }: ProcessIdentity): ProcessStat | undefined {
  const now = readProcess(pid)
  return now !== undefined && now.startTicks === startTicks && isAlive(now) ? now : undefined
}

/** All of the machine, zombies included. */
export function listProcesses(): ProcessStat[] {
  return readdirSync('/proc').flatMap(name => (/^\d+$/.test(name) ? (readProcess(Number(name)) ?? []) : []))
}

/** Neither gone nor waiting to be reaped: something that still runs, or could. */
export function isAlive({ state }: ProcessStat): boolean {
  return state !== 'Z' && state !== 'X'
}

/** Stopped by SIGSTOP or by a debugger. */
export function isStopped({ state }: ProcessStat): boolean {
  return state === 'T' || state === 't'
}

/** In uninterruptible sleep: for a disk, or for a child between vfork and exec. */
export function isWaitingInKernel({ state }: ProcessStat): boolean {
  return state === 'D'
}

/** The value of a variable in the environment that the process was started with; undefined when absent or not ours to read. */
export function environmentOf(pid: number, variable: string): string | undefined {
  const prefix = `${variable}=`
  return readNulls(`/proc/${pid}/environ`)
    ?.find(entry => entry.startsWith(prefix))
    ?.slice(prefix.length)
}

/** The argument vector; undefined when it cannot be read. */
export function commandLineOf(pid: number): string[] | undefined {
  return readNulls(`/proc/${pid}/cmdline`)
}

/** Open file descriptors, sockets included; undefined when they are not ours to count. */
export function openFilesOf(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return undefined
  }
}

/** The soft limits of the kernel by name, as /proc/PID/limits has them (`Max data size`, …); null: unlimited. Undefined when it cannot be read. */
export function limitsOf(pid: number): ReadonlyMap<string, number | null> | undefined {
  try {
    const lines = readFileSync(`/proc/${pid}/limits`, 'utf8').matchAll(/^(Max .+?) {2,}(\d+|unlimited)/gm)
    return new Map(Array.from(lines, ([, name, soft]) => [name!, soft === 'unlimited' ? null : Number(soft)]))
  } catch {
    return undefined
  }
}

/** User that the process runs as; undefined when it is gone. */
export function userOf(pid: number): number | undefined {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid
}

/** Sends the signal if it is still the same process. @returns whether it was sent */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!sameProcess(identity)) return false
  try {
    return process.kill(identity.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false // It ended between the look and the signal.
    throw error
  }
}

function readNulls(file: string): string[] | undefined {
  try {
    const text = readFileSync(file, 'utf8')
    return text === '' ? undefined : text.replace(/\0$/, '').split('\0')
  } catch {
    return undefined
  }
}

function uptimeMs(): number {
  return Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1_000
}
