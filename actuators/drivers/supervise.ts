// Starting and ending one supervised process, so that it survives us and is found again.
//
// Who runs is kept in the run file; whether the start of an order took place is decided by its mark (start-mark.ts), so a
// kill at any instant leaves no doubt. Processes run detached in their own group, output in a file.

import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, closeSync, constants, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../schemas/errors.ts'
import type { ProcessDefinition } from '../../schemas/process-definitions.ts'
import {
  commandLineOf,
  environmentOf,
  familyOf,
  listProcesses,
  type ProcessIdentity,
  type ProcessStat,
  readProcess,
  sameProcess,
  signalProcess,
  userOf
} from './process-table.ts'
import { type RunFile, readRunFile, withKey, writeRunFile } from './run-file.ts'
import { MARKING_LAUNCHER, nextMark } from './start-mark.ts'

/** Variable in which a started process carries the idempotency key of the order that started it. */
export const KEY_VARIABLE = 'HOMEOSTAT_IDEMPOTENCY_KEY'
const PASSED_VARIABLES = ['PATH', 'HOME', 'USER', 'LANG', 'TZ', 'TMPDIR']
const POLL_MS = 20 // Between looks whether a process has ended.
const KILL_WAIT_MS = 5_000 // After SIGKILL; a process in uninterruptible sleep may outlast it.
const LOG_BYTES_MAX = 64 * 2 ** 20 // Then the output file becomes `.1` at the next start: at most two of them.

export interface SpawnOptions {
  runDir: string
  name: string
  definition: ProcessDefinition
  /** Default '': started by a person or the lab, not by an order. */
  idempotencyKey?: string
  fence?: number
}

/**
 * Starts the process and remembers it, durably. Does not look whether one runs already: `findRunning` tells.
 * @throws AppError `driver_failed` when the program cannot be started
 */
export async function spawnSupervised(options: SpawnOptions): Promise<ProcessStat> {
  const { runDir, name, definition, idempotencyKey = '', fence } = options
  const before = readRunFile(runDir, name)
  let child: ChildProcess
  try {
    child = await spawnDetached(options)
  } catch (cause) {
    throw new AppError('driver_failed', `${name}: ${definition.argv[0]} cannot be started: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause
    })
  }
  // It may have ended already; then it is remembered as one that ended.
  const started = readProcess(child.pid!) ?? { pid: child.pid!, startTicks: 0, startedAtMs: Date.now(), state: 'X', parent: 0, group: 0, rssBytes: 0 }
  const { pid, startTicks, startedAtMs } = started
  const keys = idempotencyKey === '' ? before.keys : withKey(before.keys, idempotencyKey)
  const restarts = before.restarts + (before.argv.length > 0 ? 1 : 0)
  const process = { pid, startTicks, startedAtMs }
  writeRunFile(runDir, name, { process, argv: definition.argv, keys, fence: Math.max(before.fence, fence ?? 0), restarts, stoppedAtMs: null })
  return started
}

export interface Found {
  running: ProcessStat | undefined
  file: RunFile
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
  if (remembered) return { running: remembered, file, strangers: 0 }
  const user = process.getuid?.()
  const twins = listProcesses().filter(({ pid, state }) => state !== 'Z' && userOf(pid) === user && sameArguments(commandLineOf(pid), definition.argv))
  const strangers = twins.filter(({ parent }) => !twins.some(({ pid }) => pid === parent)) // A child that is yet to exec looks like its parent.
  if (strangers.length !== 1) return { running: undefined, file, strangers: strangers.length }
  const [running] = strangers as [ProcessStat]
  const { pid, startTicks, startedAtMs } = running
  const key = environmentOf(pid, KEY_VARIABLE)
  const keys = key ? withKey(file.keys, key) : file.keys
  const adopted = { ...file, process: { pid, startTicks, startedAtMs }, argv: definition.argv, keys, stoppedAtMs: null }
  writeRunFile(runDir, name, adopted)
  return { running, file: adopted, strangers: 0 }
}

/**
 * Ends a process and all it started, also when the process itself is gone and left some behind: SIGTERM, `graceMs`,
 * SIGKILL. What is stopped (SIGSTOP) cannot heed a SIGTERM and gets SIGKILL at once.
 * @throws AppError `driver_unknown` when something is still there after SIGKILL
 */
export async function endFamily(root: ProcessIdentity, graceMs: number): Promise<void> {
  const family = familyOf(root)
  const alive = (): ProcessStat[] => family.flatMap(member => sameProcess(member) ?? [])
  for (const member of family) signalProcess(member, member.state === 'T' ? 'SIGKILL' : 'SIGTERM')
  await until(() => alive().length === 0, graceMs)
  // What was born meanwhile belongs to them as well.
  for (const member of familyOf(root)) if (!family.some(({ pid }) => pid === member.pid)) family.push(member)
  for (const member of alive()) signalProcess(member, 'SIGKILL')
  await until(() => alive().length === 0, KILL_WAIT_MS)
  const left = alive()
  if (left.length > 0) throw new AppError('driver_unknown', `process ${left.map(({ pid }) => pid).join(', ')} is still there after SIGKILL`)
}

/** A living process that was started by the order with this key. */
export function findByKey(key: string): ProcessStat | undefined {
  return key === '' ? undefined : listProcesses().find(({ pid, state }) => state !== 'Z' && environmentOf(pid, KEY_VARIABLE) === key)
}

async function spawnDetached({ runDir, name, definition, idempotencyKey = '' }: SpawnOptions): Promise<ChildProcess> {
  accessSync(definition.argv[0]!, constants.X_OK) // The launcher could only tell by an exit code.
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  const logFile = resolve(runDir, definition.logFile ?? `${name}.log`)
  mkdirSync(dirname(logFile), { recursive: true })
  if ((statSync(logFile, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(logFile, `${logFile}.1`)
  const passed = [...PASSED_VARIABLES, ...definition.passEnv].flatMap(variable =>
    process.env[variable] === undefined ? [] : [[variable, process.env[variable]]]
  )
  const env = { ...Object.fromEntries(passed), ...definition.env, ...(idempotencyKey === '' ? {} : { [KEY_VARIABLE]: idempotencyKey }) }
  const argv = idempotencyKey === '' ? definition.argv : [...MARKING_LAUNCHER, nextMark(runDir, idempotencyKey), ...definition.argv]
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

async function until(holds: () => boolean, msMax: number): Promise<void> {
  for (const endMs = performance.now() + msMax; !holds() && performance.now() < endMs; ) await pause(POLL_MS)
}

function sameArguments(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((argument, index) => argument === b[index])
}
