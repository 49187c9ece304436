// Starting one supervised process, so that it survives us and is found again.
//
// Who runs is kept in the run file; whether the start of an order took place is decided by its mark (start-mark.ts), so a
// kill at any instant leaves no doubt. Processes run detached in their own session, output in a file. Limits of the kernel are
// set by prlimit(1), which then becomes the program: no shell, and numbers of the definition alone.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { accessSync, closeSync, constants, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { AppError } from '../../schemas/errors.ts'
import type { ProcessDefinition, ProcessLimits } from '../../schemas/process-definitions.ts'
import { commandLineOf, environmentOf, isAlive, listProcesses, type ProcessStat, readProcess, sameProcess, userOf } from './process-table.ts'
import { TREE_VARIABLE } from './process-tree.ts'
import { type RunFile, readRunFile, withKey, writeRunFile } from './run-file.ts'
import { MARKING_LAUNCHER, nextMark } from './start-mark.ts'

/** Variable in which a started process carries the idempotency key of the order that started it. */
export const KEY_VARIABLE = 'HOMEOSTAT_IDEMPOTENCY_KEY'
const PASSED_VARIABLES = ['PATH', 'HOME', 'USER', 'LANG', 'TZ', 'TMPDIR']
const PRLIMIT = '/usr/bin/prlimit' // Of util-linux, which every distribution has.
/** Limits of a start that names none. */
export const DEFAULT_LIMITS = 'default'
const LOG_BYTES_MAX = 64 * 2 ** 20 // Then the output file becomes `.1` at the next start: at most two of them.

export interface SpawnOptions {
  runDir: string
  name: string
  definition: ProcessDefinition
  /** Default '': started by a person or the lab, not by an order. */
  idempotencyKey?: string
  fence?: number
  /** Name of the definition's limits. */
  limits?: string
}

/**
 * Starts the process and remembers it, durably. Does not look whether one runs already: `findRunning` tells.
 * @throws AppError `driver_failed` when the program cannot be started
 */
export async function spawnSupervised(options: SpawnOptions): Promise<ProcessStat> {
  const { runDir, name, definition, idempotencyKey = '', fence, limits = DEFAULT_LIMITS } = options
  const before = readRunFile(runDir, name)
  const mark = randomUUID()
  let child: ChildProcess
  try {
    child = await spawnDetached(options, mark)
  } catch (cause) {
    throw new AppError('driver_failed', `${name}: ${definition.argv[0]} cannot be started: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause
    })
  }
  // It may have ended already; then it is remembered as one that ended.
  const nobody = { state: 'X', parent: 0, group: 0, session: 0, rssBytes: 0 }
  const started = readProcess(child.pid!) ?? { ...nobody, pid: child.pid!, startTicks: 0, startedAtMs: Date.now() }
  const { pid, startTicks, startedAtMs } = started
  const keys = idempotencyKey === '' ? before.keys : withKey(before.keys, idempotencyKey)
  const restarts = before.restarts + (before.argv.length > 0 ? 1 : 0)
  const process = { pid, startTicks, startedAtMs, mark, limits }
  writeRunFile(runDir, name, { process, argv: definition.argv, keys, fence: Math.max(before.fence, fence ?? 0), restarts, stoppedAtMs: null })
  return started
}

export interface Found {
  running: ProcessStat | undefined
  file: RunFile
  /** The process that has the remembered pid now, and is not ours. */
  usurper: ProcessStat | undefined
  /** Processes of this command line that are not known to be ours, when there are several. */
  strangers: number
}

/**
 * The running process of `name`: the remembered one, or one that someone else started with exactly this command line
 * under our user, which is then remembered. Of more than one such stranger none is taken: `strangers` counts them.
 */
export function findRunning(runDir: string, name: string, definition: ProcessDefinition): Found {
  const file = readRunFile(runDir, name)
  const remembered = file.process && sameProcess(file.process)
  if (remembered) return { running: remembered, file, strangers: 0, usurper: undefined }
  const holder = file.process ? readProcess(file.process.pid) : undefined
  const usurper = holder?.startTicks === file.process?.startTicks ? undefined : holder
  const user = process.getuid?.()
  const twins = listProcesses().filter(each => isAlive(each) && userOf(each.pid) === user && sameArguments(commandLineOf(each.pid), definition.argv))
  const strangers = twins.filter(({ parent }) => !twins.some(({ pid }) => pid === parent)) // A child that is yet to exec looks like its parent.
  if (strangers.length !== 1) return { running: undefined, file, strangers: strangers.length, usurper }
  const [running] = strangers as [ProcessStat]
  const key = environmentOf(running.pid, KEY_VARIABLE)
  const keys = key ? withKey(file.keys, key) : file.keys
  const adopted = { ...file, process: processEntryOf(running), argv: definition.argv, keys, stoppedAtMs: null }
  writeRunFile(runDir, name, adopted)
  return { running, file: adopted, strangers: 0, usurper: undefined }
}

/** What the run file keeps of a process that is found running. Which limits it was given is not known. */
export function processEntryOf({ pid, startTicks, startedAtMs }: ProcessStat): NonNullable<RunFile['process']> {
  return { pid, startTicks, startedAtMs, mark: environmentOf(pid, TREE_VARIABLE) ?? '', limits: '' }
}

/** The living process that was started by the order with this key: the oldest, for its children inherit the key. */
export function findByKey(key: string): ProcessStat | undefined {
  const found = key === '' ? [] : listProcesses().filter(each => isAlive(each) && environmentOf(each.pid, KEY_VARIABLE) === key)
  return found.sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid)[0]
}

async function spawnDetached({ runDir, name, definition, idempotencyKey = '', limits = DEFAULT_LIMITS }: SpawnOptions, mark: string): Promise<ChildProcess> {
  const chosen = Object.hasOwn(definition.limits, limits) ? definition.limits[limits] : undefined
  const program = [...limitArguments(chosen), ...definition.argv]
  for (const executed of [program[0]!, definition.argv[0]!]) accessSync(executed, constants.X_OK) // The launcher could only tell by an exit code.
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  const logFile = resolve(runDir, definition.logFile ?? `${name}.log`)
  mkdirSync(dirname(logFile), { recursive: true })
  if ((statSync(logFile, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(logFile, `${logFile}.1`)
  const passed = [...PASSED_VARIABLES, ...definition.passEnv].flatMap(variable =>
    process.env[variable] === undefined ? [] : [[variable, process.env[variable]]]
  )
  const key = idempotencyKey === '' ? {} : { [KEY_VARIABLE]: idempotencyKey }
  const env = { ...Object.fromEntries(passed), ...definition.env, ...chosen?.env, ...key, [TREE_VARIABLE]: mark }
  const argv = idempotencyKey === '' ? program : [...MARKING_LAUNCHER, nextMark(runDir, idempotencyKey), ...program]
  const output = openSync(logFile, 'a', 0o600)
  return new Promise((started, failed) => {
    const cwd = definition.cwd ?? runDir
    const child = spawn(argv[0]!, argv.slice(1), { cwd, env, detached: true, shell: false, stdio: ['ignore', output, output] })
    closeSync(output)
    child.once('error', failed)
    child.once('spawn', () => {
      child.unref()
      started(child)
    })
  })
}

/** What stands before the program so that the kernel limits it; empty when nothing is limited. */
function limitArguments(limits: ProcessLimits | undefined): string[] {
  const wanted = { data: limits?.memoryBytes, nofile: limits?.openFiles, nproc: limits?.userProcesses }
  const options = Object.entries(wanted).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}:${value}`]))
  return options.length === 0 ? [] : [PRLIMIT, ...options, '--']
}

function sameArguments(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((argument, index) => argument === b[index])
}
