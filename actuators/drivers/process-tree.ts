// A process and everything that it started, as one thing: found exactly, frozen, thawed, ended.
//
// A descendant is found by four traces, since each alone is lost easily: its parent, the process group and the session that
// the first process leads (both outlive it), and a mark in the environment that it was started with, which also those inherit
// who left group and session and whose parent has ended. What throws away its environment as well is out of reach: only a
// control group would hold that, and those are systemd's (driver `systemd`).
//
//   runs ──freeze: SIGSTOP, until two looks in a row find nothing that moves──► frozen ──thaw: SIGCONT──► runs
//   either ──end: SIGTERM (and SIGCONT to those that are stopped), grace, SIGSTOP and SIGKILL to the rest──► gone

import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../schemas/errors.ts'
import {
  environmentOf,
  isAlive,
  isStopped,
  isWaitingInKernel,
  listProcesses,
  type ProcessIdentity,
  type ProcessStat,
  readProcess,
  sameProcess,
  signalProcess
} from './process-table.ts'

/** Variable in which every process of a tree carries the tree's mark. */
export const TREE_VARIABLE = 'HOMEOSTAT_TREE'

const POLL_MS = 20 // Between looks whether a process has ended or stopped.
const FREEZE_WAIT_MS = 3_000 // Something that forks as fast as it can is stopped within a few looks; uninterruptible sleep may outlast it.
const KILL_WAIT_MS = 5_000 // After SIGKILL; a process in uninterruptible sleep may outlast it.

/** Where a tree begins. The first process may have ended. */
export interface TreeRoot extends ProcessIdentity {
  /** Value of TREE_VARIABLE in its processes; '' when it was started without one. */
  mark: string
}

/**
 * The living processes of the tree, the oldest first. When the pid of the first process belongs to another one now, neither that
 * one nor what it started is among them: the kernel gives a number away only when no group and no session has it any more.
 * @throws AppError `step_refused` when this very process is part of the tree
 */
export function treeOf({ pid: rootPid, startTicks: rootTicks, mark }: TreeRoot): ProcessStat[] {
  const all = listProcesses().filter(isAlive)
  const first = readProcess(rootPid)
  const isReused = first !== undefined && first.startTicks !== rootTicks
  const isTraced = (other: ProcessStat): boolean => {
    if (other.startTicks < rootTicks) return false
    if (!isReused && (other.pid === rootPid || other.group === rootPid || other.session === rootPid)) return true
    return mark !== '' && environmentOf(other.pid, TREE_VARIABLE) === mark
  }
  const tree = new Set(all.filter(isTraced).map(({ pid }) => pid))
  for (let before = -1; before < tree.size; ) {
    before = tree.size
    for (const { pid, parent } of all) if (tree.has(parent)) tree.add(pid)
  }
  if (tree.has(process.pid)) throw new AppError('step_refused', `process ${rootPid}: this actuator is part of its tree, and does not act on itself`)
  return all.filter(({ pid }) => tree.has(pid)).sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid)
}

/**
 * Stops every process of the tree, those too that are born meanwhile.
 * @returns the stopped processes; empty when there was none
 * @throws AppError `driver_unknown` when some do not stop within FREEZE_WAIT_MS
 */
export async function freezeTree(root: TreeRoot): Promise<ProcessStat[]> {
  const endMs = performance.now() + FREEZE_WAIT_MS
  // A look may miss who is born while it lasts; nothing is born when all were stopped at the look before.
  for (let calmLooks = 0; ; ) {
    const tree = treeOf(root)
    const moving = tree.filter(member => !isStopped(member))
    calmLooks = moving.length === 0 ? calmLooks + 1 : 0
    if (calmLooks === 2) return tree
    if (performance.now() >= endMs) throw new AppError('driver_unknown', `${moving.length} of ${tree.length} processes do not stop: ${pids(moving)}`)
    stopMoving(tree, moving)
    await pause(POLL_MS)
  }
}

/** Lets every process of the tree go on. @returns those that were stopped */
export function thawTree(root: TreeRoot): ProcessStat[] {
  const stopped = treeOf(root).filter(isStopped)
  // The children first: the first process finds them as it left them.
  signalAll(stopped.toReversed(), 'SIGCONT')
  return stopped
}

/**
 * Ends the tree, also when its first process is gone and left some behind. What is stopped is let go on once SIGTERM waits
 * for it: that is what it meets first, before any line of its own.
 * @returns how many processes there were
 * @throws AppError `driver_unknown` when something is still there after SIGKILL
 */
export async function endTree(root: TreeRoot, graceMs: number): Promise<number> {
  // By identity: who has lost every trace, since its parent ended first, is still known from the first look.
  const known = new Map<string, ProcessIdentity>()
  const asked = new Set<string>()
  const left = (): ProcessStat[] => {
    for (const { pid, startTicks } of treeOf(root)) known.set(nameOf({ pid, startTicks }), { pid, startTicks })
    return [...known.values()].flatMap(member => sameProcess(member) ?? [])
  }
  const ask = (): boolean => {
    const remaining = left()
    // Who is born meanwhile is asked as well, once.
    const unasked = remaining.filter(member => !asked.has(nameOf(member)))
    signalAll(unasked, 'SIGTERM')
    signalAll(unasked.filter(isStopped), 'SIGCONT')
    for (const member of unasked) asked.add(nameOf(member))
    return remaining.length === 0
  }
  if (!(await until(ask, graceMs))) {
    // Stopped first, so that nothing is born while others die.
    const stop = (): boolean => {
      const remaining = left()
      const moving = remaining.filter(member => !isStopped(member))
      stopMoving(remaining, moving)
      return moving.length === 0
    }
    await until(stop, FREEZE_WAIT_MS)
    await until(() => !signalAll(left(), 'SIGKILL'), KILL_WAIT_MS)
  }
  const remaining = left()
  if (remaining.length > 0) throw new AppError('driver_unknown', `process ${pids(remaining)} is still there after SIGKILL`)
  return known.size
}

/** What no two processes since boot share. */
const nameOf = ({ pid, startTicks }: ProcessIdentity): string => `${pid}/${startTicks}`

/**
 * Between vfork and exec a parent waits in the kernel for its child, and stops no sooner than the child goes on: were the child stopped
 * there, both would stand in each other's way for ever. So the stopped children of who waits like that go on until the next look.
 */
function stopMoving(tree: readonly ProcessStat[], moving: readonly ProcessStat[]): void {
  const waiting = new Set(moving.filter(isWaitingInKernel).map(({ pid }) => pid))
  signalAll(moving, 'SIGSTOP')
  signalAll(
    tree.filter(member => isStopped(member) && waiting.has(member.parent)),
    'SIGCONT'
  )
}

/** @returns whether there was anybody to signal */
function signalAll(processes: readonly ProcessStat[], signal: NodeJS.Signals): boolean {
  for (const each of processes) signalProcess(each, signal)
  return processes.length > 0
}

/** Looks until it holds or the time is over. @returns whether it holds */
async function until(holds: () => boolean, msMax: number): Promise<boolean> {
  for (const endMs = performance.now() + msMax; ; await pause(POLL_MS)) {
    if (holds()) return true
    if (performance.now() >= endMs) return false
  }
}

const PIDS_SHOWN = 10
const pids = (processes: readonly ProcessStat[]): string =>
  processes
    .slice(0, PIDS_SHOWN)
    .map(({ pid }) => pid)
    .join(', ') + (processes.length > PIDS_SHOWN ? ` and ${processes.length - PIDS_SHOWN} more` : '')
