// Finds the lab's processes by what they are: a command line that names this run's folder, which no other process does.
//
// The lab does not trust run files for this: Homeostat restarts services behind its back. A pid is only ever signalled
// together with its start time (actuators/drivers/process-table.ts), so a reused pid is never hit. Linux only (/proc).

import { commandLineOf, listProcesses, type ProcessStat } from '../../actuators/drivers/process-table.ts'

/** Living processes with an argument that is `folder` or lies in it, except this one. */
export function findProcesses(folder: string): (ProcessStat & { argv: string[] })[] {
  return listProcesses()
    .filter(({ pid, state }) => pid !== process.pid && state !== 'Z')
    .map(stat => ({ ...stat, argv: commandLineOf(stat.pid) ?? [] }))
    .filter(({ argv }) => argv.some(argument => argument === folder || argument.startsWith(`${folder}/`)))
}

/** The process of `script` (the end of its path, e.g. `fleet/orders.ts`) in the run of `folder`. */
export function findScript(script: string, folder: string): ProcessStat | undefined {
  return findProcesses(folder).find(({ argv }) => argv.some(argument => argument.endsWith(script)))
}
