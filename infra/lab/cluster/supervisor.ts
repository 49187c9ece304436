// Starts what dies again, as systemd would, and ends, kills, stops and continues what it started: the crash test's hands.
//
// A process is known by (pid, start time); signals go to its whole group, for a role may host others beside it. Lives in the lab's process:
// should that be killed, ClickHouse's process sees it and ends the run (clickhouse.ts), and the broker's watchdog ends the broker.

import { type ProcessStat, sameProcess, signalProcess, listProcesses } from '../../../actuators/drivers/process-table.ts'
import { spawnSupervised } from '../../../actuators/drivers/supervise.ts'
import { pause } from '../fleet.ts'
import { killGroup } from '../homeostat.ts'
import type { StageProcess } from '../stage.ts'

const LOOK_MS = 100
/** What ended is started again after this: soon, and no storm when it dies at its start. */
export const RESTART_DELAY_MS = 500

export interface SupervisedOptions {
  name: string
  role: string
  argv: readonly string[]
  logFile: string
}

export interface Supervised {
  name: string
  role: string
  pid(): number | undefined
  /** How often it was started again. */
  restarts(): number
  /** kill -9 of its group, gone when it resolves. Started again, unless held. */
  kill(): Promise<void>
  /** SIGSTOP of its group: connections stay open, nothing answers. */
  pause(): void
  resume(): void
  /** SIGTERM. @returns whom it went to, if it runs */
  end(): ProcessStat | undefined
}

export interface Supervisor {
  processes: ReadonlyMap<string, Supervised>
  list(): StageProcess[]
  /** Makes it known; `start` starts it. */
  add(options: SupervisedOptions): void
  /** Starts it and keeps it running from now on. Nothing to do when it runs. */
  start(name: string): Promise<void>
  /** Starts nothing again until `resume`. */
  hold(): void
  resume(): void
}

interface Entry {
  options: SupervisedOptions
  process: ProcessStat | undefined
  wanted: boolean
  starting: boolean
  restarts: number
}

/** @param runDir where it remembers whom it started */
export function openSupervisor(runDir: string): Supervisor {
  const entries = new Map<string, Entry>()
  const processes = new Map<string, Supervised>()
  let held = true
  const timer = setInterval(() => {
    if (held) return
    for (const entry of entries.values()) if (entry.wanted && !entry.starting && !alive(entry)) void again(entry)
  }, LOOK_MS)
  timer.unref()

  async function again(entry: Entry): Promise<void> {
    entry.starting = true
    await pause(RESTART_DELAY_MS)
    if (!held) {
      entry.restarts++
      await launch(entry)
    }
    entry.starting = false
  }

  async function launch(entry: Entry): Promise<void> {
    const { name, argv, logFile } = entry.options
    entry.process = await spawnSupervised({ runDir, name, definition: { argv: [...argv], env: {}, passEnv: [], limits: {}, logFile, grace: 0 } })
  }

  return {
    processes,
    list: () => [...processes.values()].map(({ name, role, pid }) => ({ name, role, pid: pid() })),
    add(options) {
      const entry: Entry = { options, process: undefined, wanted: false, starting: false, restarts: 0 }
      entries.set(options.name, entry)
      processes.set(options.name, supervised(entry))
    },
    async start(name) {
      const entry = entries.get(name)!
      if (alive(entry)) return
      entry.starting = true
      await launch(entry)
      entry.wanted = true
      entry.starting = false
    },
    hold() {
      held = true
    },
    resume() {
      held = false
    }
  }
}

function alive(entry: Entry): ProcessStat | undefined {
  return entry.process && sameProcess(entry.process)
}

function supervised(entry: Entry): Supervised {
  const signal = (name: NodeJS.Signals): void => {
    const leader = alive(entry)
    if (!leader) return
    for (const member of listProcesses().filter(({ group }) => group === leader.pid)) signalProcess(member, name)
  }
  return {
    name: entry.options.name,
    role: entry.options.role,
    pid: () => alive(entry)?.pid,
    restarts: () => entry.restarts,
    async kill() {
      const leader = alive(entry)
      if (leader) await killGroup(leader)
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    end() {
      const leader = alive(entry)
      if (leader) signalProcess(leader, 'SIGTERM')
      return leader
    }
  }
}
