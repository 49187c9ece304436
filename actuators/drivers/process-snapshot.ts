// What a tree of processes looks like now, for people who read it after the fact: members, memory, files, limits, command lines.
//
// Taken from /proc, bounded in members and text, secrets out. The whole is kept as a file beside the run files, one an order and
// the newest SNAPSHOTS_MAX of a process; a summary goes into the outcome as what the step says of itself.

import { createHash } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { commandLineOf, limitsOf, openFilesOf, type ProcessStat } from './process-table.ts'
import { redactArguments } from './redact.ts'
import { writeDurably } from './run-file.ts'

const MEMBERS_MAX = 200 // The largest; a tree that is larger is described by its sums.
const COMMAND_LENGTH_MAX = 300
const SNAPSHOTS_MAX = 10 // Of one process.
const SUMMARY_LENGTH_MAX = 1_800 // The ledger keeps 2,000 characters of what a driver says.
const LIMITS_SHOWN = ['Max data size', 'Max address space', 'Max open files', 'Max processes'] as const
const MIB = 2 ** 20

export interface ProcessSnapshot {
  /** As the definitions file names it. */
  name: string
  idempotencyKey: string
  atMs: number
  processCount: number
  /** Resident, pages that several share counted for each. */
  rssBytes: number
  /** Soft limits of the first process; null: unlimited. */
  limits: Record<string, number | null>
  /** The largest first. */
  members: SnapshotMember[]
  /** Members that are not listed. */
  omitted: number
}

export interface SnapshotMember {
  pid: number
  parent: number
  startedAtMs: number
  /** As /proc/PID/stat: R, S, D, T. */
  state: string
  rssBytes: number
  /** Null when they are not ours to count. */
  openFiles: number | null
  /** Arguments that look like secrets taken out, cut. */
  command: string
}

/** Looks at the processes of `tree`, the first of it being the oldest. */
export function takeSnapshot(name: string, idempotencyKey: string, tree: readonly ProcessStat[]): ProcessSnapshot {
  const largest = tree.toSorted((a, b) => b.rssBytes - a.rssBytes)
  const members = largest.slice(0, MEMBERS_MAX).map(({ pid, parent, startedAtMs, state, rssBytes }) => {
    const command = redactArguments(commandLineOf(pid) ?? []).join(' ')
    return { pid, parent, startedAtMs, state, rssBytes, openFiles: openFilesOf(pid) ?? null, command: command.slice(0, COMMAND_LENGTH_MAX) }
  })
  const limits = tree[0] && limitsOf(tree[0].pid)
  return {
    name,
    idempotencyKey,
    atMs: Date.now(),
    processCount: tree.length,
    rssBytes: tree.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    limits: Object.fromEntries(LIMITS_SHOWN.flatMap(limit => (limits?.has(limit) ? [[limit, limits.get(limit)!]] : []))),
    members,
    omitted: tree.length - members.length
  }
}

/** Keeps it, durably, in place of an earlier one of the same order; the oldest of the process go. */
export function keepSnapshot(runDir: string, snapshot: ProcessSnapshot): void {
  const folder = snapshotFolder(runDir, snapshot.name)
  // Names in the order of time, so that the oldest are found without opening any.
  const key = createHash('sha256').update(snapshot.idempotencyKey).digest('hex').slice(0, 16)
  writeDurably(folder, `${new Date(snapshot.atMs).toISOString().replaceAll(':', '')}-${key}.json`, JSON.stringify(snapshot))
  const names = readdirSync(folder).sort()
  const again = names.filter(file => file.endsWith(`-${key}.json`)).slice(0, -1)
  const kept = names.filter(file => file.endsWith('.json') && !again.includes(file)).slice(-SNAPSHOTS_MAX)
  // Also what a crash left half written.
  for (const file of names) if (!kept.includes(file)) rmSync(join(folder, file), { force: true })
}

/** Where the snapshots of a process are, one JSON file each. */
export const snapshotFolder = (runDir: string, name: string): string => join(runDir, 'snapshots', name)

/** The snapshot in a few lines of text: sums, limits, and the largest members as far as there is room. */
export function summaryOf({ name, processCount, rssBytes, limits, members, omitted }: ProcessSnapshot): string {
  const limited = Object.entries(limits).map(([limit, value]) => `${limit.replace('Max ', '')} ${value ?? 'unlimited'}`)
  const head = `${name}: ${processCount} ${processCount === 1 ? 'process' : 'processes'}, ${mib(rssBytes)} resident; limits: ${limited.join(', ') || 'unknown'}`
  const lines = members.map(
    ({ pid, parent, state, rssBytes: bytes, openFiles, command }) =>
      `${pid} (parent ${parent}, ${state}) ${mib(bytes)}, ${openFiles ?? '?'} files: ${command.slice(0, 120)}`
  )
  let text = head
  let shown = 0
  while (shown < lines.length && text.length + lines[shown]!.length < SUMMARY_LENGTH_MAX) text += `\n${lines[shown++]}`
  const left = members.length + omitted - shown
  return left > 0 ? `${text}\n… and ${left} smaller ones` : text
}

const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`
