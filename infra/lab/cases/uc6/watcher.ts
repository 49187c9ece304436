// The case's own eyes on a worker's tree: sees by the kernel's process table when it was frozen and when it was ended.
//
// A signal carries no idempotency key and leaves no line at its target. So what is seen is joined with the orders by time: an effect
// belongs to the step in whose own time it fell, and one outside any step's time belongs to nobody, which fails the case.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessSnapshot } from '../../../../actuators/drivers/process-snapshot.ts'
import { isStopped } from '../../../../actuators/drivers/process-table.ts'
import type { StepResult } from '../../../../schemas/outcome.ts'
import { runDirOf } from '../../fleet.ts'
import type { Effect } from '../effects.ts'
import { processesOf, type WorkerName } from './layout.ts'

const BEAT_MS = 50
/** The driver answers a moment after its signal took effect. */
const SLACK_MS = 500
const NOBODY = 'nobody'

export interface TreeEvent {
  atMs: number
  what: 'freeze' | 'stop'
  /** Processes of the tree then. */
  count: number
}

export interface TreeWatcher {
  events(): readonly TreeEvent[]
  /** Most processes seen at once, the worker included. */
  countMax(): number
  /** Since when the tree has had this size, and the size. */
  stable(): { sinceMs: number; count: number }
  close(): void
}

export function watchTree(folder: string, worker: WorkerName): TreeWatcher {
  const events: TreeEvent[] = []
  let isFrozen = false
  let countMax = 0
  let stable = { sinceMs: Date.now(), count: -1 }
  const timer = setInterval(() => {
    const { root, helpers } = processesOf(folder, worker)
    const tree = [...(root ? [root] : []), ...helpers]
    countMax = Math.max(countMax, tree.length)
    const frozen = tree.length > 0 && tree.every(isStopped)
    if (frozen && !isFrozen) events.push({ atMs: Date.now(), what: 'freeze', count: tree.length })
    if (tree.length === 0 && stable.count > 0) events.push({ atMs: Date.now(), what: 'stop', count: stable.count })
    isFrozen = frozen
    if (tree.length !== stable.count) stable = { sinceMs: Date.now(), count: tree.length }
  }, BEAT_MS)
  return { events: () => events, countMax: () => countMax, stable: () => stable, close: () => clearInterval(timer) }
}

/** What the watcher saw, and the snapshots that were kept, as effects of the steps that they belong to. */
export function treeEffects(folder: string, worker: WorkerName, events: readonly TreeEvent[], steps: readonly StepResult[]): Effect[] {
  const during =
    (atMs: number) =>
    ({ begunAtMs, appliedAtMs }: StepResult) =>
      begunAtMs !== null && begunAtMs <= atMs && atMs <= (appliedAtMs ?? begunAtMs) + SLACK_MS
  const seen = events.flatMap(({ atMs, what, count }): Effect[] => {
    const meanwhile = steps.filter(during(atMs))
    // Also a stop freezes, before it kills what has outlived its grace: that is no effect of its own.
    if (what === 'freeze' && meanwhile.some(({ verb }) => verb === 'stop')) return []
    const step = meanwhile.find(({ verb }) => verb === what)
    return [{ atMs, target: worker, what, key: step?.idempotencyKey ?? NOBODY, detail: `${count} processes` }]
  })
  const snapshots = readSnapshots(folder, worker).map(({ atMs, idempotencyKey, processCount }): Effect => {
    return { atMs, target: worker, what: 'snapshot', key: idempotencyKey, detail: `${processCount} processes` }
  })
  return [...seen, ...snapshots]
}

export function readSnapshots(folder: string, worker: WorkerName): ProcessSnapshot[] {
  const kept = join(runDirOf(folder), 'snapshots', worker)
  try {
    const names = readdirSync(kept).filter(name => name.endsWith('.json'))
    return names.map(name => JSON.parse(readFileSync(join(kept, name), 'utf8')) as ProcessSnapshot)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
