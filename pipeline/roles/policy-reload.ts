// Policies and runbooks while the process runs: a changed folder is taken over whole, or not at all.
//
//   read ─ as last time ─► nothing          changed, and the same at two looks ─► load ─┬─ good ─► in force, open incidents decided again
//                                                                                      └─ bad  ─► told, the last good one goes on
//
// It looks, instead of being told by the file system: that works on every volume. A file is taken only when two looks saw the
// same, so that half a file is not: a policy cut off in the middle may well be a policy.

import type { PolicyFile } from '../../actuators/decide/policy-documents.ts'
import type { PolicySet } from '../../actuators/decide/policy-file.ts'
import { AppError } from '../../schemas/errors.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Clock, Logger, Meter } from '../../schemas/ports.ts'
import { readPolicySet } from './policies.ts'

/** Between two looks; a change is in force after two to four seconds. */
export const POLICY_POLL_MS = 2_000

export interface PolicyReloadOptions {
  /** Every file as it is now. @throws AppError when a folder cannot be read */
  read(): PolicyFile[]
  /** What was loaded at the start, from `files`. */
  inForce: PolicySet
  files: readonly PolicyFile[]
  /** Decides by another set from now on. */
  use(set: PolicySet): Promise<void>
  /** Tells people what is wrong; undefined: nothing any more. */
  warn(problem: string | undefined): void
  clock: Clock
  logger: Logger
  meter: Meter
}

export interface PolicyReload {
  /** Rejects with the bug that stopped it. */
  finished: Promise<void>
  close(): Promise<void>
}

/** Looks every POLICY_POLL_MS until it is closed. */
export function reloadPolicies(options: PolicyReloadOptions): PolicyReload {
  const { read, use, warn, clock, logger, meter } = options
  const stop = new AbortController()
  let inForce = options.inForce
  /** Of the files that were judged last, good or bad. */
  let judged = fingerprint(options.files)
  let seen = judged

  async function look(): Promise<void> {
    const files = readFiles(read)
    const now = typeof files === 'string' ? files : fingerprint(files)
    const settled = now === seen
    seen = now
    if (now === judged || !settled) return
    judged = now
    const loaded = typeof files === 'string' ? { ok: false as const, problems: [files] } : readPolicySet(files)
    meter.gauge('homeostat.policies.problems', loaded.ok ? 0 : loaded.problems.length)
    if (!loaded.ok) return refuse(loaded.problems)
    warn(undefined)
    if (loaded.set.version === inForce.version) return // Comments and spacing, or back to what is in force.
    const changes = changesBetween(inForce, loaded.set)
    inForce = loaded.set
    await use(inForce)
    meter.count('homeostat.policies.reloads')
    logger.info({ version: inForce.version, policies: inForce.policies.length, runbooks: inForce.runbooks.size, changes }, 'changed policies are in force')
  }

  function refuse(problems: readonly string[]): void {
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more: homeostat policies lint)` : ''
    warn(`the changed files are not used, version ${inForce.version} goes on: ${problems[0]!.split('\n')[0]}${more}`)
    logger.error({ inForce: inForce.version, problems }, 'changed policies are not used: correct them; the last good ones go on')
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      await clock.sleep(POLICY_POLL_MS, stop.signal)
      if (!stop.signal.aborted) await look()
    }
  }

  const finished = run()
  finished.catch(() => undefined) // Whoever awaits `finished` is told.
  return {
    finished,
    async close() {
      stop.abort()
      await finished.catch(() => undefined)
    }
  }
}

/** The files, or why they cannot be read. */
function readFiles(read: () => PolicyFile[]): PolicyFile[] | string {
  try {
    return read()
  } catch (error) {
    // A file that goes away between listing and reading is one as well.
    if (error instanceof AppError || (error as NodeJS.ErrnoException).code !== undefined) return (error as Error).message
    throw error
  }
}

function fingerprint(files: readonly PolicyFile[]): string {
  return derivedId('files', ...files.flatMap(({ file, text }) => [file, text]))
}

/** `policy web changed`, `runbook restart new`, …: what differs, for the log. */
export function changesBetween(before: PolicySet, after: PolicySet): string[] {
  const versions = (set: PolicySet) =>
    new Map(
      [...set.policies.map(one => ({ ...one, kind: 'policy' })), ...[...set.runbooks.values()].map(one => ({ ...one, kind: 'runbook' }))].map(one => [
        `${one.kind} ${one.name}`,
        one.version
      ])
    )
  const [old, now] = [versions(before), versions(after)]
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap(name => {
    if (old.get(name) === now.get(name)) return []
    return [`${name} ${!old.has(name) ? 'new' : !now.has(name) ? 'gone' : 'changed'}`]
  })
}
