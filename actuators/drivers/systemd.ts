// Driver `systemd`: restarts, starts and stops units through systemctl, with fixed arguments, for listed units only.
//
// Classes. start, stop, reset-failed: convergent, systemd itself does nothing when the unit is there already.
// restart: detectable. systemd gives every activation an InvocationID, but knows nothing of our keys; so the driver notes
// key, fence and the ID it found, durably, before it calls systemctl. After a crash: no note = systemctl was never called;
// a note and another ID = restarted; the same ID and neither a job nor our systemctl left = not restarted. Someone else's
// restart in that gap counts as ours, which errs to the safe side: the unit is not restarted a second time.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverClass, DriverOrder, Observation } from '../../schemas/ports.ts'
import { checkKey } from './order-key.ts'
import { environmentOf, listProcesses } from './process-table.ts'
import { writeDurably } from './run-file.ts'
import { runProgram } from './run-program.ts'
import { KEY_VARIABLE } from './supervise.ts'

export type SystemdVerb = 'restart' | 'start' | 'stop' | 'reset-failed'
const CLASSES: Readonly<Record<SystemdVerb, DriverClass>> = { restart: 'detectable', start: 'convergent', stop: 'convergent', 'reset-failed': 'convergent' }

const SHOW_TIMEOUT_MS = 5_000
const ASK_POLL_MS = 100 // While a job of the unit is still queued or our systemctl still runs.
const UNIT_PATTERN = /^[A-Za-z0-9:_.\\@-]{1,255}$/ // systemd.unit(5): the characters a unit name may have.
const PROPERTIES = [
  'LoadState',
  'ActiveState',
  'SubState',
  'Result',
  'MainPID',
  'NRestarts',
  'InvocationID',
  'ActiveEnterTimestampMonotonic',
  'MemoryCurrent',
  'Job'
]

export interface SystemdDriverOptions {
  /** Units that may be touched. */
  units: readonly string[]
  verbs: readonly SystemdVerb[]
  /** Folder of the notes; made when missing. */
  stateDir: string
  /** Program and leading arguments that reach systemctl. */
  systemctl?: readonly string[]
}

interface Note {
  key: string
  fence: number
  /** InvocationID before the restart. */
  invocation: string
}

/** @throws AppError `config_invalid` for a unit name that systemd would not take */
export function systemdDriver({ units, verbs, stateDir, systemctl = ['/usr/bin/systemctl'] }: SystemdDriverOptions): Driver {
  const allowed = new Set(units)
  for (const unit of units) {
    if (!UNIT_PATTERN.test(unit) || unit.startsWith('-'))
      throw new AppError('config_invalid', `act.drivers.systemd.units: ${JSON.stringify(unit)} is no unit name`)
  }
  const classes: Record<string, DriverClass> = Object.fromEntries(verbs.map(verb => [verb, CLASSES[verb]]))

  function check({ target, verb, args }: Pick<DriverOrder, 'target' | 'verb' | 'args'>): void {
    if (!Object.hasOwn(classes, verb)) throw new AppError('step_refused', `systemd: verb ${shown(verb)} is not allowed (act.drivers.systemd.verbs)`)
    if (!allowed.has(target)) throw new AppError('step_refused', `systemd: unit ${shown(target)} is not allowed (act.drivers.systemd.units)`)
    if (Object.keys(args).length > 0) throw new AppError('step_refused', `systemd: takes no arguments, got ${shown(Object.keys(args).join(', '))}`)
  }

  const run = (argv: readonly string[], timeoutMs: number, signal?: AbortSignal, key = '') =>
    runProgram({ argv: [...systemctl, ...argv], env: programEnvironment(key), timeoutMs, ...(signal && { signal }) })

  /** @throws AppError `driver_failed` when systemd does not answer */
  async function show(unit: string): Promise<Record<string, string>> {
    const result = await run(['show', '--no-pager', `--property=${PROPERTIES.join(',')}`, '--', unit], SHOW_TIMEOUT_MS)
    if (result.kind !== 'ended' || result.exitCode !== 0) throw new AppError('driver_failed', `systemd: ${unit} cannot be read: ${summary(result)}`)
    return Object.fromEntries(result.output.split('\n').map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
  }

  async function apply(order: DriverOrder, signal: AbortSignal): Promise<{ detail: string }> {
    check(order)
    checkKey(order.idempotencyKey)
    const { target, verb, idempotencyKey: key, fence } = order
    const note = readNote(stateDir, target)
    if (note && fence < note.fence) throw new AppError('step_refused', `${target}: fence ${fence} is older than ${note.fence}`)
    const before = await show(target)
    if (note?.key === key && note.invocation !== before.InvocationID) return { detail: `${target}: was restarted already` }
    if (signal.aborted) throw new AppError('driver_failed', `${target}: too late to begin`)
    writeNote(stateDir, target, { key: verb === 'restart' ? key : '', fence, invocation: before.InvocationID ?? '' })
    const result = await run([verb, '--no-ask-password', '--', target], Math.max(1, order.deadlineMs - Date.now()), signal, key)
    if (result.kind === 'not_started') throw new AppError('driver_failed', `${target}: systemctl cannot be started: ${result.reason}`)
    if (result.kind === 'killed') throw new AppError('driver_unknown', `${target}: systemctl ${verb}: ${result.reason}`)
    if (result.exitCode === 0) return { detail: `${target}: ${verb} done` }
    // A restart whose start failed did end the old activation: that is an effect, and verification judges it.
    const after = await show(target)
    if (verb === 'restart' && after.InvocationID !== before.InvocationID) return { detail: `${target}: restarted, but ${summary(result)}` }
    throw new AppError('driver_failed', `${target}: systemctl ${verb}: ${summary(result)}`)
  }

  return {
    name: 'systemd',
    verbs: classes,
    check,
    apply,
    async observe(target) {
      if (!allowed.has(target)) throw new AppError('step_refused', `systemd: unit ${shown(target)} is not allowed (act.drivers.systemd.units)`)
      return observation(await show(target))
    },
    async wasApplied({ target, idempotencyKey: key, deadlineMs }) {
      const note = readNote(stateDir, target)
      if (note?.key !== key) return 'no'
      for (;;) {
        const now = await show(target)
        if (now.InvocationID !== note.invocation) return 'yes'
        // A systemctl that outlived us may be about to ask for it.
        if (!queued(now) && !systemctlRuns(key)) return 'no'
        if (Date.now() >= deadlineMs) return 'unknown'
        await new Promise(resolve => setTimeout(resolve, ASK_POLL_MS))
      }
    }
  }
}

function observation(unit: Readonly<Record<string, string>>): Observation {
  const { LoadState, ActiveState = '', SubState = '', Result = '', InvocationID = '' } = unit
  const number = (property: string): number => {
    const value = Number(unit[property])
    return Number.isSafeInteger(value) ? value : 0 // systemd prints "[not set]", or 2^64-1 for unlimited.
  }
  const facts = { pid: number('MainPID'), restarts: number('NRestarts'), rssBytes: number('MemoryCurrent'), invocation: InvocationID }
  const enteredUs = number('ActiveEnterTimestampMonotonic')
  // CLOCK_MONOTONIC, which hrtime reads as well.
  const startedAtMs = Math.round(Date.now() - (Number(process.hrtime.bigint() / 1_000n) - enteredUs) / 1_000)
  const shownFacts = { ...facts, activeState: ActiveState, subState: SubState, result: Result, ...(enteredUs > 0 ? { startedAtMs } : {}) }
  if (LoadState !== 'loaded') return { state: 'unknown', facts: { ...shownFacts, loadState: LoadState ?? '' } }
  const state = ActiveState === 'active' || ActiveState === 'reloading' ? 'running' : ActiveState === 'failed' ? 'failed' : 'stopped'
  return { state, facts: shownFacts }
}

/** `Job=` is empty or 0 when nothing is queued for the unit. */
const queued = ({ Job = '' }: Readonly<Record<string, string>>): boolean => Job !== '' && Job !== '0'

function systemctlRuns(key: string): boolean {
  return listProcesses().some(({ pid, state }) => state !== 'Z' && environmentOf(pid, KEY_VARIABLE) === key)
}

function programEnvironment(key: string): Record<string, string> {
  return { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '', ...(key === '' ? {} : { [KEY_VARIABLE]: key }) }
}

// A unit's name may hold characters that mean something in a path.
const noteFile = (unit: string): string => `${createHash('sha256').update(unit).digest('hex').slice(0, 32)}.json`

function readNote(stateDir: string, unit: string): Note | undefined {
  try {
    return JSON.parse(readFileSync(join(stateDir, noteFile(unit)), 'utf8')) as Note
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function writeNote(stateDir: string, unit: string, note: Note): void {
  writeDurably(stateDir, noteFile(unit), JSON.stringify({ ...note, unit }))
}

function summary(result: Awaited<ReturnType<typeof runProgram>>): string {
  if (result.kind === 'not_started') return result.reason
  return result.kind === 'killed' ? result.reason : `exit ${result.exitCode}: ${result.output.slice(0, 500)}`
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 200))
