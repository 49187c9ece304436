// The broker goes away under load and comes back: senders are told to wait, nothing acknowledged is lost, the backlog is worked off
// many times as fast as it grows, and no process' memory grows with the outage.
//
// A Collector's queue is played by a sender that keeps everything until it is acknowledged, and does as it is told.

import { readProcess } from '../../actuators/drivers/process-table.ts'
import { type Cluster, openCluster } from '../../infra/lab/cluster.ts'
import type { KafkaClientName } from '../../infra/lab/cluster/configs.ts'
import { pause } from '../../infra/lab/fleet.ts'
import type { PipelineHealth } from '../../pipeline/self/health-routes.ts'
import { COUNTER_METRIC, COUNTER_SERVICE } from './counting-sender.ts'
import { storedNumbers } from './findings.ts'
import { POINTS_PER_S, type PatientSender, startPatientSender } from './patient-sender.ts'

const STEADY_MS = 20_000 // Before the outage, twice: memory, then lag, of a loaded, healthy cluster; longer than a checkpoint interval.
const AFTER_MS = 20_000
const DRAIN_DEADLINE_MS = 180_000
const LOOK_MS = 250
const LOOKS_PER_TELL = 8
const SETTLE_DEADLINE_MS = 60_000
const DRAIN_RATIO_MIN = 5
/** Memory may breathe: caches of V8 and the kernel's accounting; a leak of the outage's points would be far more. */
const GROWTH_MAX = 1.5
const GROWTH_SLACK_BYTES = 64 * 2 ** 20
const BEAT_MS = 10_000

type Phase = 'before' | 'during' | 'after'
type Memory = Record<string, Record<Phase, number>>

export interface OutageOptions {
  seed: number
  outageMs: number
  client: KafkaClientName
  keep: boolean
  say(text: string): void
  signal: AbortSignal
}

export interface OutageReport {
  pass: boolean
  seed: number
  outageS: number
  arrivalPerS: number
  answers: Record<string, number>
  permanentRefusals: number
  acknowledged: number
  lost: number
  storedTwice: number
  /** From the broker's return until the senders' queue is empty and no group lags. */
  drainS: number
  drainPerS: number
  drainRatio: number
  /** Largest resident set of each process, MB, before, during and after the outage. */
  memoryMb: Memory
  failures: string[]
}

export async function runOutage(options: OutageOptions): Promise<OutageReport> {
  const { seed, outageMs, say, signal } = options
  const cluster = await openCluster(seed, { environments: ['lab'], client: options.client })
  let sender: PatientSender | undefined
  let pass = false
  const memory: Memory = {}
  let phase: Phase = 'before'
  const watching = setInterval(() => watch(cluster, memory, phase), LOOK_MS)
  try {
    say(`run folder ${cluster.folder}; ready after ${await cluster.homeostat.start()} ms`)
    sender = startPatientSender(cluster.plan.otlp.http)
    const lagBefore = await settledLag(cluster, sender, signal)
    say(`${POINTS_PER_S} points/s flow, at most ${lagBefore} records are not committed; the broker goes away for ${outageMs / 1_000} s`)
    phase = 'during'
    await cluster.broker.kill()
    await wait(outageMs, signal, BEAT_MS, () => say(`  ${sender!.waiting()} points wait at the sender; answers ${shown(sender!)}`))
    await cluster.broker.restart()
    const returnedMs = performance.now()
    const waitingAtReturn = sender.waiting()
    const madeAtReturn = sender.made()
    say(`the broker is back, ${waitingAtReturn} points wait`)
    const drained = await untilDrained(cluster, sender, lagBefore, signal, say)
    const drainS = (performance.now() - returnedMs) / 1_000
    const drainPerS = (waitingAtReturn + sender.made() - madeAtReturn) / drainS
    say(
      `${drained ? 'worked off' : 'NOT worked off'} after ${drainS.toFixed(1)} s: ${Math.round(drainPerS)} points/s, ${(drainPerS / POINTS_PER_S).toFixed(1)} times the arrivals`
    )
    phase = 'after'
    await wait(AFTER_MS, signal)
    sender.pause()
    await untilDrained(cluster, sender, lagBefore, signal)
    await sender.stop()
    const { lost, storedTwice } = await compare(cluster, sender)
    const drainRatio = drainPerS / POINTS_PER_S
    const figures = { lost, drainRatio: drained ? drainRatio : 0, permanent: sender.permanent(), told: sender.answers.get('503') ?? 0 }
    const failures = [...failuresOf(figures), ...memoryFailures(memory)]
    pass = failures.length === 0
    return {
      ...{
        pass,
        seed,
        outageS: outageMs / 1_000,
        arrivalPerS: POINTS_PER_S,
        answers: Object.fromEntries(sender.answers),
        permanentRefusals: sender.permanent()
      },
      ...{ acknowledged: sender.acknowledged().length, lost, storedTwice, drainS: Math.round(drainS * 10) / 10, drainPerS: Math.round(drainPerS) },
      ...{ drainRatio: Math.round(drainRatio * 10) / 10, memoryMb: inMegabytes(memory), failures }
    }
  } finally {
    clearInterval(watching)
    await sender?.stop()
    await cluster.end(options.keep || !pass)
  }
}

function failuresOf({ lost, drainRatio, permanent, told }: { lost: number; drainRatio: number; permanent: number; told: number }): string[] {
  return [
    ...(lost > 0 ? [`${lost} acknowledged points are not in ClickHouse`] : []),
    ...(permanent > 0 ? [`${permanent} answers would have made a Collector drop its points`] : []),
    ...(told === 0 ? ['no sender was told to wait (503)'] : []),
    ...(drainRatio < DRAIN_RATIO_MIN ? [`the backlog was worked off at ${drainRatio.toFixed(1)} times the arrivals, ${DRAIN_RATIO_MIN} are wanted`] : [])
  ]
}

function memoryFailures(memory: Memory): string[] {
  return Object.entries(memory)
    .filter(([, { before, during }]) => before > 0 && during > before * GROWTH_MAX + GROWTH_SLACK_BYTES)
    .map(([name, { before, during }]) => `${name} grew from ${megabytes(before)} to ${megabytes(during)} MB during the outage`)
}

function watch(cluster: Cluster, memory: Memory, phase: Phase): void {
  for (const { name, pid } of cluster.processes()) {
    if (name === 'broker' || pid === undefined) continue
    const rss = readProcess(pid)?.rssBytes ?? 0
    memory[name] ??= { before: 0, during: 0, after: 0 }
    memory[name][phase] = Math.max(memory[name][phase], rss)
  }
}

/** Records that each group has not committed, or undefined while the console cannot tell. */
async function lagsOf({ homeostat }: Cluster): Promise<Record<string, number> | undefined> {
  try {
    const response = await fetch(`${homeostat.address()}/api/health`, { signal: AbortSignal.timeout(5_000) })
    return ((await response.json()) as PipelineHealth).lag
  } catch {
    return undefined
  }
}

const total = (lags: Record<string, number>): number => Object.values(lags).reduce((sum, records) => sum + records, 0)

/** The lag of a healthy cluster under this load: detectors commit with their checkpoints only. @returns the most seen, in records */
async function settledLag(cluster: Cluster, sender: PatientSender, signal: AbortSignal): Promise<number> {
  await wait(STEADY_MS, signal)
  const seen: number[] = []
  await wait(STEADY_MS, signal, LOOK_MS, async () => {
    const lags = await lagsOf(cluster)
    if (lags) seen.push(total(lags))
  })
  if (sender.waiting() > POINTS_PER_S || seen.length === 0) throw new Error('the cluster does not keep up with the load before the outage')
  return Math.max(...seen)
}

/** @param lagMax of all groups together, in records; a larger one is a backlog */
async function untilDrained(cluster: Cluster, sender: PatientSender, lagMax: number, signal: AbortSignal, say?: (text: string) => void): Promise<boolean> {
  const begunMs = performance.now()
  for (let look = 0; performance.now() < begunMs + DRAIN_DEADLINE_MS && !signal.aborted; look++) {
    const lags = await lagsOf(cluster)
    if (lags && sender.waiting() <= POINTS_PER_S && total(lags) <= lagMax) return true
    if (look % LOOKS_PER_TELL === 0) say?.(`  ${sender.waiting()} points wait at the sender; lag ${lags ? told(lags) : 'not to be had'}`)
    await pause(LOOK_MS)
  }
  return false
}

const told = (lags: Record<string, number>): string =>
  Object.entries(lags)
    .filter(([, records]) => records > 0)
    .map(([group, records]) => `${group} ${records}`)
    .join(', ') || 'none'

async function compare(cluster: Cluster, sender: PatientSender): Promise<{ lost: number; storedTwice: number }> {
  const deadlineMs = performance.now() + SETTLE_DEADLINE_MS
  for (;;) {
    const stored = await storedNumbers(
      cluster.homeostat,
      'toUInt64(Value)',
      `otel_metrics_gauge WHERE ServiceName = '${COUNTER_SERVICE}' AND MetricName = '${COUNTER_METRIC}'`
    )
    const lost = sender.acknowledged().filter(number => !stored.has(number)).length
    if (lost === 0 || performance.now() > deadlineMs) return { lost, storedTwice: [...stored.values()].filter(rows => rows > 1).length }
    await pause(1_000)
  }
}

async function wait(ms: number, signal: AbortSignal, everyMs = ms, beat?: () => void | Promise<void>): Promise<void> {
  const begunMs = performance.now()
  for (let nextMs = begunMs + everyMs; performance.now() < begunMs + ms && !signal.aborted; ) {
    await pause(LOOK_MS)
    if (performance.now() < nextMs) continue
    nextMs += everyMs
    await beat?.()
  }
}

const shown = (sender: PatientSender): string => [...sender.answers].map(([status, count]) => `${status}: ${count}`).join(', ')
const megabytes = (bytes: number): number => Math.round(bytes / 2 ** 20)
const inMegabytes = (memory: Memory): Memory =>
  Object.fromEntries(
    Object.entries(memory).map(([name, { before, during, after }]) => [name, { before: megabytes(before), during: megabytes(during), after: megabytes(after) }])
  )
