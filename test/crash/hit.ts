// One hit: the process is killed or stopped, and the run looks how soon its work is done again and how soon it is ready.

import type { Admin } from 'kafkajs'
import type { Cluster } from '../../infra/lab/cluster.ts'
import { withAdmin } from '../../infra/lab/cluster/ownership.ts'
import { RESTART_DELAY_MS, type Supervised } from '../../infra/lab/cluster/supervisor.ts'
import { pause } from '../../infra/lab/fleet.ts'
import { whyNotReady } from '../../infra/lab/stage.ts'
import type { CountingSender } from './counting-sender.ts'
import type { Instant } from './instants.ts'
import { holdingsOf, takenOverMs, untilMs } from './takeover.ts'

export interface HitResult {
  /** Null: nobody did its work again while the run looked. */
  takenOverMs: number | null
  /** From the end of the hit until it is ready; null when it never was. */
  readyMs: number | null
  /** Partitions that it owned. */
  owned: number
}

/** Groups that a role reads in. Of a role that stands by, none is owned. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  detect: ['homeostat-detect'],
  control: ['homeostat-diagnose', 'homeostat-decide', 'homeostat-canary'],
  store: ['homeostat-store']
}

export function hit(cluster: Cluster, sender: CountingSender, instant: Instant): Promise<HitResult> {
  return instant.victim === 'broker' ? hitBroker(cluster, sender, instant) : hitProcess(cluster, sender, instant)
}

/** The broker's work is done again when a detector has settled new records, which needs intake, broker and group. */
async function hitBroker(cluster: Cluster, sender: CountingSender, { kind, pauseMs }: Instant): Promise<HitResult> {
  const { broker } = cluster
  const holdings = await withAdmin(broker.brokers, admin => allDetectHoldings(cluster, admin))
  let fromMs = Date.now()
  if (kind === 'kill') {
    await broker.kill()
    await pause(RESTART_DELAY_MS)
    await broker.restart()
  } else {
    broker.pause()
    await pause(pauseMs)
    broker.resume()
    // Nobody can stand in for the only broker: counted from its return.
    fromMs = Date.now()
  }
  const acknowledged = sender.requests.acknowledged
  const answered = await untilMs(async () => sender.requests.acknowledged > acknowledged, fromMs)
  const worked = await withAdmin(broker.brokers, admin => takenOverMs(admin, holdings, fromMs, '', async () => true))
  const readyMs = await untilMs(async () => (await Promise.all([...cluster.supervised.keys()].map(name => cluster.unready(name)))).every(isUndefined), fromMs)
  return { takenOverMs: answered === null ? null : worked, readyMs, owned: holdings.reduce((sum, { committed }) => sum + committed.size, 0) }
}

async function allDetectHoldings(cluster: Cluster, admin: Admin) {
  const names = [...cluster.supervised.values()].filter(({ role }) => role === 'detect').map(({ name }) => name)
  return (await Promise.all(names.map(name => holdingsOf(admin, GROUPS.detect!, name)))).flat()
}

async function hitProcess(cluster: Cluster, sender: CountingSender, { victim, kind, pauseMs }: Instant): Promise<HitResult> {
  const process = cluster.supervised.get(victim)!
  const groups = process.role === 'act' ? [`homeostat-${victim}`] : (GROUPS[process.role] ?? [])
  const isDoor = process.role === 'intake' || process.role === 'console'
  const hasSuccessor = process.role === 'detect' || process.role === 'control'
  return withAdmin(cluster.broker.brokers, async admin => {
    const holdings = await holdingsOf(admin, groups, victim)
    const hitAtMs = Date.now()
    if (kind === 'kill') await process.kill()
    else if (kind === 'restart') await gone(process)
    else process.pause()
    const resumed = kind === 'pause' ? resumeLater(process, pauseMs) : Promise.resolve(hitAtMs)
    // Where nobody can stand in, a stopped process is waited for, and counted from its return.
    const fromMs = hasSuccessor ? hitAtMs : await resumed
    // The broker takes a victim for the owner until its session ends: it counts once it is back. Stopped, where another can stand in, never.
    const alive = async (): Promise<boolean> => (kind !== 'pause' || !hasSuccessor) && (await cluster.unready(victim)) === undefined
    const acknowledged = sender.requests.acknowledged
    const answers = async (): Promise<boolean> =>
      process.role === 'intake' ? sender.requests.acknowledged > acknowledged : (await whyNotReady(cluster.homeostat.address())) === undefined
    const taken = isDoor ? await untilMs(answers, fromMs) : await takenOverMs(admin, holdings, fromMs, victim, alive)
    const backMs = await resumed
    const readyMs = await untilMs(async () => (await cluster.unready(victim)) === undefined, backMs)
    return { takenOverMs: taken, readyMs, owned: holdings.reduce((sum, { committed }) => sum + committed.size, 0) }
  })
}

/** SIGTERM, until it has ended by itself. */
async function gone(process: Supervised): Promise<void> {
  const pid = process.end()?.pid
  await untilMs(async () => process.pid() !== pid, Date.now())
}

/** @returns when it was continued */
async function resumeLater(process: { resume(): void }, pauseMs: number): Promise<number> {
  await pause(pauseMs)
  process.resume()
  return Date.now()
}

function isUndefined(reason: string | undefined): boolean {
  return reason === undefined
}
