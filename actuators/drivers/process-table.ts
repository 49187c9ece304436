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
  return { pid, startTicks, state: fields[0]!, parent: Number(fields[1]), group: Number(fields[2]), rssBytes: Number(fields[21]) * PAGE_BYTES, startedAtMs }
}

/** The same process, alive: undefined when it ended, is a zombie, or its pid belongs to another one now. */
export function sameProcess({ pid, startTicks }: ProcessIdentity): ProcessStat | undefined {
  const now = readProcess(pid)
  return now !== undefined && now.startTicks === startTicks && now.state !== 'Z' && now.state !== 'X' ? now : undefined
}

export function listProcesses(): ProcessStat[] {
  return readdirSync('/proc').flatMap(name => (/^\d+$/.test(name) ? (readProcess(Number(name)) ?? []) : []))
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

/**
 * The process and everything below it: children of children, and its process group when it leads one. The group is
 * found, too, when its leader has ended: the kernel does not use the number again while the group lives.
 */
export function familyOf(root: ProcessIdentity): ProcessStat[] {
  const all = listProcesses().filter(({ state }) => state !== 'Z' && state !== 'X')
  const leader = readProcess(root.pid)
  // A pid that was used again: neither it nor its children are ours.
  if (leader && leader.startTicks !== root.startTicks) return []
  const family = new Set<number>([root.pid])
  for (let before = 0; before < family.size; ) {
    before = family.size
    for (const { pid, parent, group, startTicks } of all) {
      if (family.has(parent) || (group === root.pid && startTicks >= root.startTicks)) family.add(pid)
    }
  }
  return all.filter(({ pid }) => family.has(pid))
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
