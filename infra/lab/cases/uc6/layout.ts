// Names that the processes of this case share.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLineOf, isAlive, listProcesses, type ProcessStat } from '../../../../actuators/drivers/process-table.ts'
import { NAMESPACE } from '../../layout.ts'

export const WORKERS = ['worker-1', 'worker-2'] as const
export type WorkerName = (typeof WORKERS)[number]

export const entityOf = (worker: WorkerName): string => `${NAMESPACE}/worker@${worker}`
/** `lab/worker@worker-1` → `worker-1`. */
export const nameOf = (entity: string): string => entity.slice(entity.indexOf('@') + 1)

/** What helpers of a worker hold open: it names whose they are, to whoever reads their command lines. */
export const holdFile = (folder: string, worker: string): string => join(folder, `${worker}.hold`)

export interface JobEvent {
  atMs: number
  event: 'made' | 'taken' | 'returned' | 'done' | 'late'
  job: number
  worker: string
}

export function readJobs(folder: string): JobEvent[] {
  return readLines<JobEvent>(join(folder, 'jobs.jsonl'))
}

/** Each time that a worker was refused a helper or memory. */
export interface LimitEvent {
  atMs: number
  worker: string
  what: string
}

export function readLimitEvents(folder: string): LimitEvent[] {
  return readLines<LimitEvent>(limitFile(folder))
}

export const limitFile = (folder: string): string => join(folder, 'limit-events.jsonl')

/** The living processes of a worker by their command lines, and not by who started whom: the worker itself, if it lives, and its helpers. */
export function processesOf(folder: string, worker: string): { root: ProcessStat | undefined; helpers: ProcessStat[] } {
  const hold = holdFile(folder, worker)
  const found = listProcesses()
    .filter(isAlive)
    .map(stat => ({ stat, argv: commandLineOf(stat.pid) ?? [] }))
  const root = found.find(({ argv }) => argv.at(-1) === folder && argv.at(-2) === worker)?.stat
  return { root, helpers: found.filter(({ argv }) => argv.includes(hold)).map(({ stat }) => stat) }
}

function readLines<Line>(file: string): Line[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter(line => line !== '').map(line => JSON.parse(line) as Line)
}
