// One Homeostat a data directory: the file `instance.json` names the process that holds it, by pid and start time.
//
// A killed process leaves the file behind; its pid with another start time (or none) does not hold anything.

import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../schemas/errors.ts'
import { makeFolder } from './make-folder.ts'
import { processStart } from './process-start.ts'

const INSTANCE_RANDOM_BYTES = 4 // Tells apart the few processes of one machine.

export interface Instance {
  pid: number
  /** As process-start.ts tells it: a killed holder's pid with another start is not the holder. */
  startTicks: string
}

/** The live holder of the directory, or undefined. */
export function readInstance(dataDir: string): Instance | undefined {
  try {
    const instance = JSON.parse(readFileSync(join(dataDir, 'instance.json'), 'utf8')) as Instance
    return processStart(instance.pid) === instance.startTicks ? instance : undefined
  } catch {
    return undefined
  }
}

/** Takes the directory. @returns a function that gives it back. @throws AppError `usage` when a live process holds it */
export function holdInstance(dataDir: string): () => void {
  const usable = <Result>(what: string, attempt: () => Result): Result => {
    try {
      return attempt()
    } catch (cause) {
      throw new AppError('usage', `dataDir ${dataDir} cannot be ${what} (${(cause as Error).message}): name a folder that this user may write`, { cause })
    }
  }
  usable('made', () => makeFolder(dataDir, 0o700))
  const holder = readInstance(dataDir)
  if (holder) throw new AppError('usage', `Homeostat runs on ${dataDir} already (pid ${holder.pid}): stop it first, or give this one another dataDir`)
  const file = join(dataDir, 'instance.json')
  usable('written', () => writeAtomically(file, JSON.stringify({ pid: process.pid, startTicks: processStart(process.pid) } satisfies Instance)))
  return () => {
    rmSync(file, { force: true })
    rmSync(join(dataDir, 'addresses.json'), { force: true })
  }
}

/** Names the process that works on this directory over its restarts: host name and a random part, since one machine may run several. */
export function instanceId(dataDir: string): string {
  const file = join(dataDir, 'instance-id')
  try {
    const id = readFileSync(file, 'utf8').trim()
    if (id !== '') return id
  } catch {
    // The directory is new.
  }
  const id = `${hostname()}-${randomBytes(INSTANCE_RANDOM_BYTES).toString('hex')}`
  writeAtomically(file, `${id}\n`)
  return id
}

/** Published when ready, so that the command line and tests find the ports. */
export function publishAddresses(dataDir: string, addresses: Readonly<Record<string, string>>): void {
  writeAtomically(join(dataDir, 'addresses.json'), JSON.stringify(addresses, null, 2))
}

/** Addresses by the name of the door, and `roles`, which is there whatever runs. Nothing before every part is open. */
export function readAddresses(dataDir: string): Readonly<Record<string, string | undefined>> {
  try {
    return JSON.parse(readFileSync(join(dataDir, 'addresses.json'), 'utf8')) as Record<string, string>
  } catch {
    return {}
  }
}

function writeAtomically(file: string, text: string): void {
  writeFileSync(`${file}.tmp`, text, { mode: 0o600 })
  renameSync(`${file}.tmp`, file)
}
