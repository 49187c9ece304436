// What is remembered of a supervised process, one JSON file a process: who it is, and which orders it has seen.
//
// Replaced as a whole (temporary file, fsync, rename, fsync of the folder), so that it is the old or the new one after a
// crash. A start that was not written here yet is known by its mark (start-mark.ts).

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const KEYS_MAX = 32 // Orders remembered; only the newest is ever asked for, the rest covers people acting in between.

export interface RunFile {
  /** Null before the first start and after a stop. */
  process: {
    pid: number
    startTicks: number
    startedAtMs: number
    /** Of its tree (process-tree.ts); '' when it was started without one. */
    mark: string
    /** Name of the limits that it was started with; '' when they are not known. */
    limits: string
  } | null
  argv: readonly string[]
  /** Idempotency keys of applied orders, newest last. */
  keys: readonly string[]
  /** Newest fence seen. */
  fence: number
  restarts: number
  /** When we stopped it on purpose; null otherwise. */
  stoppedAtMs: number | null
}

const UNMARKED = { mark: '', limits: '' }
const EMPTY: RunFile = { process: null, argv: [], keys: [], fence: 0, restarts: 0, stoppedAtMs: null }

/** The file of `name`, or an empty one. @throws SyntaxError when it is damaged by someone else */
export function readRunFile(runDir: string, name: string): RunFile {
  try {
    const file = { ...EMPTY, ...(JSON.parse(readFileSync(join(runDir, `${name}.json`), 'utf8')) as Partial<RunFile>) }
    // Earlier releases knew neither mark nor limits.
    return { ...file, process: file.process && { ...UNMARKED, ...file.process } }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY
    throw error
  }
}

/** Durable when it returns. */
export function writeRunFile(runDir: string, name: string, file: RunFile): void {
  writeDurably(runDir, `${name}.json`, JSON.stringify(file))
}

/** `keys` with `key` as the newest. */
export function withKey(keys: readonly string[], key: string): string[] {
  return [...keys.filter(other => other !== key), key].slice(-KEYS_MAX)
}

/** Replaces `folder/name` by `text`, durably and as a whole; makes the folder when it is missing. */
export function writeDurably(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, name)
  const fresh = `${file}.new`
  const descriptor = openSync(fresh, 'w', 0o600)
  try {
    writeSync(descriptor, text)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(fresh, file)
  const directory = openSync(folder, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
