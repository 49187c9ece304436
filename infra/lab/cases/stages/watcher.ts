// The lab's own eyes on the instances: which process each of them is by the kernel's table, and whether it is well by what is known here.
//
// Well is more than an answer: what makes it sick must be gone. An instance without a bound goes on filling while customers leave
// without a word, and one with a bound fails those who come back to old sessions.

import { environmentOf, type ProcessStat } from '../../../../actuators/drivers/process-table.ts'
import { findProcesses } from '../../processes.ts'
import { recovery } from '../ground-truth.ts'
import { answers, type Rig } from '../rig.ts'
import { CALM, CUSTOMERS, type Demand, type Served, SESSIONS_MAX } from './layout.ts'

const BEAT_MS = 200
const FAILED_RATIO_MAX = 0.05

/** A process that an instance was: the kernel's identity of it. */
export interface Incarnation {
  pid: number
  startTicks: number
  isBounded: boolean
  firstSeenMs: number
  lastSeenMs: number
}

export interface MemberSight {
  member: string
  incarnations: Incarnation[]
  isWell: boolean
  /** When it became well and stayed so, each time after it was not. */
  recoveredAtMs: number[]
}

export interface MemberWatcher {
  /** One of each instance, since the last reset. */
  sights(): readonly MemberSight[]
  areWell(): boolean
  /** When the first of them was seen to keep too much; undefined: none has. */
  fullAtMs(): number | undefined
  /** From now on customers do so. */
  demand(next: Demand): void
  /** Forgets what was seen. */
  reset(): void
  close(): void
}

export function watchMembers(rig: Pick<Rig, 'folder' | 'ports'>, members: readonly string[]): MemberWatcher {
  let demand = CALM
  let watched = members.map(begin)
  let fullAtMs: number | undefined
  let isLooking = false

  function begin(member: string) {
    return { sight: { member, incarnations: [], isWell: false, recoveredAtMs: [] } as MemberSight, over: recovery() }
  }

  async function look(): Promise<void> {
    const round = watched
    const processes = Map.groupBy(findProcesses(rig.folder), ({ argv }) => argv.at(-2))
    const served = await servedBy(rig)
    const healthy = await Promise.all(round.map(({ sight }) => answers(rig, sight.member)))
    const atMs = Date.now()
    if (healthy.includes(false)) fullAtMs ??= atMs
    for (const [index, each] of round.entries()) {
      const { sight } = each
      const found = processes.get(sight.member) ?? []
      for (const process of found) note(sight, process, atMs)
      const isBounded = sight.incarnations.at(-1)?.isBounded === true
      const isCured = isBounded ? !demand.returns.includes(sight.member) : !demand.leaves
      sight.isWell = found.length === 1 && healthy[index]! && isServed(served[sight.member]) && isCured
      const recoveredAtMs = each.over(atMs, sight.isWell)
      if (recoveredAtMs === null) continue
      sight.recoveredAtMs.push(recoveredAtMs)
      each.over = recovery()
    }
  }

  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    void look().finally(() => {
      isLooking = false
    })
  }, BEAT_MS)

  return {
    sights: () => watched.map(({ sight }) => sight),
    areWell: () => watched.every(({ sight }) => sight.isWell),
    fullAtMs: () => fullAtMs,
    demand(next) {
      demand = next
    },
    reset() {
      watched = members.map(begin)
      fullAtMs = undefined
    },
    close: () => clearInterval(timer)
  }
}

function note({ incarnations }: MemberSight, { pid, startTicks }: ProcessStat, atMs: number): void {
  const known = incarnations.find(each => each.pid === pid && each.startTicks === startTicks)
  if (known !== undefined) known.lastSeenMs = atMs
  else incarnations.push({ pid, startTicks, isBounded: environmentOf(pid, SESSIONS_MAX) !== undefined, firstSeenMs: atMs, lastSeenMs: atMs })
}

const isServed = (served: Served | undefined): boolean => served !== undefined && served.requests > 0 && served.failed <= FAILED_RATIO_MAX * served.requests

async function servedBy({ ports }: Pick<Rig, 'ports'>): Promise<Record<string, Served>> {
  return fetch(`http://127.0.0.1:${ports[CUSTOMERS]}/served`, { signal: AbortSignal.timeout(1_000) }).then(
    async response => (await response.json()) as Record<string, Served>,
    () => ({})
  )
}
