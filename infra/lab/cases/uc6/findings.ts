// What this case asserts beside the six: of jobs, of the tree, of its limits, of those whom nobody may touch.

import type { ProcessSnapshot } from '../../../../actuators/drivers/process-snapshot.ts'
import { isStopped, limitsOf, type ProcessStat, readProcess, sameProcess } from '../../../../actuators/drivers/process-table.ts'
import { type Assertion, that } from '../assertions.ts'
import { type Rig, until } from '../rig.ts'
import { readJobs, type WorkerName } from './layout.ts'

const DRAIN_DEADLINE_MS = 10_000
/** What a process' start is known to, by the kernel's ticks. */
const SAME_START_MS = 100

/** None that was in the snapshot lives, and every helper there is was born after the end. */
export function treeEnded(snapshot: ProcessSnapshot | undefined, endedAtMs: number | undefined, helpers: readonly ProcessStat[]): Assertion {
  const members = snapshot?.members ?? []
  const left = members.filter(({ pid, startedAtMs }) => Math.abs((readProcess(pid)?.startedAtMs ?? 0) - startedAtMs) < SAME_START_MS)
  const older = helpers.filter(({ startedAtMs }) => startedAtMs < (endedAtMs ?? Number.POSITIVE_INFINITY))
  const detail = `${members.length} processes in the snapshot, ${left.length} of them left; ${helpers.length} helpers now, ${older.length} older than the end`
  return that('tree', members.length > 3 && left.length === 0 && older.length === 0, detail)
}

export function lowered(root: ProcessStat | undefined, memoryBytes: number): Assertion {
  const limit = root === undefined ? undefined : limitsOf(root.pid)?.get('Max data size')
  return that('lower limit', limit === memoryBytes, `data size ${limit ?? 'unlimited'} of ${memoryBytes}`)
}

/** Every job that was made was done, once; waits for those that are waiting or in hand. `close` lets the queue make no more. */
export async function jobsKept(rig: Rig, close = false): Promise<Assertion> {
  const undone = (): number[] => {
    const done = new Set(readJobs(rig.folder).flatMap(({ event, job }) => (event === 'done' ? [job] : [])))
    return [...new Set(readJobs(rig.folder).flatMap(({ event, job }) => (event === 'made' ? [job] : [])))].filter(job => !done.has(job))
  }
  if (close) await post(rig, 'queue', '/close')
  // While the queue is open new jobs come: those that there are now must get done.
  const newest = Math.max(0, ...readJobs(rig.folder).map(({ job }) => job))
  const lostSoFar = (): number[] => undone().filter(job => job <= newest)
  await until(rig, DRAIN_DEADLINE_MS, () => lostSoFar().length === 0)
  const lost = lostSoFar()
  const jobs = readJobs(rig.folder)
  const done = jobs.filter(({ event }) => event === 'done').map(({ job }) => job)
  const twice = done.filter((job, index) => done.indexOf(job) !== index)
  const count = (event: string): number => jobs.filter(each => each.event === event).length
  const detail = `${count('made')} made, ${done.length} done, ${lost.length} lost, ${twice.length} twice, ${count('returned')} given to another, ${count('late')} results too late`
  return that('jobs', lost.length === 0 && twice.length === 0 && done.length > 0, detail)
}

/** A worker and its two helpers, who were there before and whom nobody may signal. */
export function unharmed(tree: readonly ProcessStat[]): Assertion {
  const going = tree.filter(each => sameProcess(each) !== undefined && !isStopped(sameProcess(each)!))
  return that('neighbour', going.length === 3 && tree.length === 3, `${going.length} of ${tree.length} processes of the other worker go on`)
}

/** A twin in which nothing happens proves nothing unless Homeostat saw what it left alone. */
export async function toldChildren({ homeostat }: Rig, worker: WorkerName): Promise<number> {
  const [row] = await homeostat.sql<{ most: number }>(
    `SELECT max(Value) AS most FROM otel_metrics_gauge WHERE MetricName = 'process.children.count' AND ResourceAttributes['service.instance.id'] = '${worker}'`
  )
  return Number(row?.most ?? 0)
}

export async function post({ ports }: Rig, name: string, path: string): Promise<void> {
  await fetch(`http://127.0.0.1:${ports[name]}${path}`, { method: 'POST' })
}
