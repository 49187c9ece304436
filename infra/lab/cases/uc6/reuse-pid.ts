// Gives a pid that has become free to an innocent process, as the kernel does by itself once it has counted round.
//
// Linux lets root say which pid was given away last (/proc/sys/kernel/ns_last_pid). Where that is not allowed, or somebody else was quicker each
// time, the start time in the run file is made that of an earlier process: the driver sees the same, a pid that another has.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ProcessStat, readProcess, sameProcess, signalProcess } from '../../../../actuators/drivers/process-table.ts'
import { readRunFile, writeRunFile } from '../../../../actuators/drivers/run-file.ts'
import { pause, runDirOf } from '../../fleet.ts'
import type { WorkerName } from './layout.ts'

const LAST_PID_FILE = '/proc/sys/kernel/ns_last_pid'
const TRIES_MAX = 300
const EXIT_POLL_MS = 5

export interface Reuse {
  /** Not the worker, and to be left alone. */
  innocent: ProcessStat
  /** forged: the pid is its own, and the run file says that it once was the worker's. */
  how: 'real' | 'forged'
  tries: number
}

/** @param gone the worker's process, reaped */
export async function reusePid(folder: string, worker: WorkerName, gone: ProcessStat): Promise<Reuse> {
  const hold = join(folder, 'innocent.hold')
  writeFileSync(hold, '')
  const startInnocent = (): ProcessStat => {
    const child = spawn('/usr/bin/tail', ['-f', `--pid=${process.pid}`, hold], { stdio: 'ignore', detached: true })
    child.unref()
    return readProcess(child.pid!)!
  }
  for (let tries = 1; tries <= TRIES_MAX; tries++) {
    try {
      writeFileSync(LAST_PID_FILE, String(gone.pid - 1))
    } catch {
      break
    }
    const innocent = startInnocent()
    if (innocent.pid === gone.pid) return { innocent, how: 'real', tries }
    signalProcess(innocent, 'SIGKILL')
    while (sameProcess(innocent)) await pause(EXIT_POLL_MS)
  }
  const innocent = startInnocent()
  const runDir = runDirOf(folder)
  const file = readRunFile(runDir, worker)
  writeRunFile(runDir, worker, { ...file, process: { ...file.process!, pid: innocent.pid, startTicks: innocent.startTicks - 1 } })
  return { innocent, how: 'forged', tries: TRIES_MAX }
}
