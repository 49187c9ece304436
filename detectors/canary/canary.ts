// The canary reducer: (book, event, now) → effects. Orders of people and counts of versions become verdicts, and what is to be
// undone becomes an anomaly, which then goes the way of every other: incident → policy → guards → runbook → verification.
//
//   start ─► running ⇄ paused        running ─ pass ─► passed        abort: from every state, also paused
//     │         └──── fail ────► failed (quarantined)                fail: from every live state, also paused
//     └ quarantined: refused    running ─ deadline ─► inconclusive | no_data (people are asked; resume goes on, abort ends it)
//
// A quarantined version may not start again until a person releases it; seen to serve meanwhile, it is an anomaly anew.
// Pure but for changing the book in place. Counts may come in any order and again: what was counted is known by its source.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Canary, CanaryState } from '../../schemas/canary.ts'
import type { CanaryOrder } from '../../schemas/control.ts'
import type { VersionWindow } from '../../schemas/version-window.ts'
import { compare, type Finding } from './analysis.ts'
import { alarmRecord } from './alarm.ts'
import type { Interval } from './intervals.ts'
import { lookOf } from './looks.ts'
import { addArm, addWindow, type ArmName, type CanaryBook, emptyArms, isLive, makeRoom, SOURCES_MAX, type TrackedCanary, tracked } from './state.ts'

export type CanaryEvent = { kind: 'order'; record: CanaryOrder } | { kind: 'window'; record: VersionWindow } | { kind: 'tick' }

export type CanaryEffect =
  | { kind: 'publish'; record: Canary }
  | { kind: 'anomaly'; record: Anomaly }
  /** News that changed nothing, and why. */
  | { kind: 'ignored'; reason: 'repeated' | 'early' | 'not_compared' | 'sources_max' | 'unknown_canary' | 'no_change' }

/** A window is looked at when both arms are this many windows past it: else the arm that speaks first would be judged by a fault that hits both. */
const SETTLE_WINDOWS = 1
/** An arm that is behind the other by more is not waited for: it is seldom asked, or gone. */
const BEHIND_WINDOWS_MAX = 10
/** Windows without a request after which a version no longer serves. */
const QUIET_WINDOWS = 3
const QUIET_MS_MIN = 5_000
/** The same while no window told how long windows are. */
const QUIET_UNKNOWN_MS = 60_000
const OURS = 'homeostat'

/** Takes one event in. O(canaries of the service) for a window, O(canaries) else. */
export function reduceCanary(book: CanaryBook, event: CanaryEvent, nowMs: number): CanaryEffect[] {
  switch (event.kind) {
    case 'order':
      return onOrder(book, event.record, nowMs)
    case 'window':
      return onWindow(book, event.record, nowMs)
    case 'tick':
      return [...book.canaries.values()].flatMap(entry => onTick(entry, nowMs))
  }
}

function onOrder(book: CanaryBook, order: CanaryOrder, nowMs: number): CanaryEffect[] {
  if (order.order === 'start') return start(book, order, nowMs)
  const entry = book.canaries.get(order.id)
  if (entry === undefined) return order.order === 'release' ? [{ kind: 'ignored', reason: 'unknown_canary' }] : startLate(book, order, nowMs)
  const { state } = entry.record
  switch (order.order) {
    case 'pause':
      return state === 'running' ? [move(entry, 'paused', 'held by a person; a failure ends it all the same', order.by, nowMs)] : unchanged()
    case 'resume':
      if (state !== 'paused' && state !== 'inconclusive' && state !== 'no_data') return unchanged()
      entry.deadlineMs = order.atMs + entry.decideWithinMs
      return [move(entry, 'running', 'goes on', order.by, nowMs), ...closeAlarm(entry, nowMs)]
    case 'abort':
      return state === 'failed' || state === 'aborted'
        ? unchanged()
        : rollBack(entry, 'aborted', `stopped by ${order.by}: a person's decision, whatever its figures say`, order.by, nowMs)
    case 'release':
      return release(book, entry, order.by, nowMs)
  }
}

function start(book: CanaryBook, order: CanaryOrder, nowMs: number): CanaryEffect[] {
  const known = book.canaries.get(order.id)
  if (known !== undefined && order.atMs <= known.record.startedAtMs) return [{ kind: 'ignored', reason: 'repeated' }]
  const record = newRecord(order, known?.record.version ?? 0)
  const refusal = refusalOf(book, order)
  if (refusal !== undefined) {
    // What is quarantined under this very id stays so.
    if (known !== undefined) return [move(known, known.record.state, `start refused: ${refusal}`, known.record.by, nowMs)]
    record.state = 'refused'
    record.reason = refusal
  }
  const entry = tracked(record, order)
  const closed = known === undefined ? [] : closeAlarm(known, nowMs)
  book.canaries.delete(order.id) // Set again at the end: order of the start.
  if (makeRoom(book)) book.canaries.set(order.id, entry)
  return [...closed, { kind: 'publish', record: structuredClone(record) }]
}

/** The topic keeps the last order of a canary: its start may be gone before anybody read it. What is unknown to us is not unknown to its users. */
function startLate(book: CanaryBook, order: CanaryOrder, nowMs: number): CanaryEffect[] {
  const started = start(book, { ...order, order: 'start' }, nowMs)
  return book.canaries.has(order.id) ? [...started, ...onOrder(book, order, nowMs)] : started
}

function newRecord({ id, environment, service, canary, baseline, samplesMin, by, atMs }: CanaryOrder, version: number): Canary {
  const arm = (name: string) => ({ version: name, requests: 0, errors: 0 })
  return {
    ...{ id, environment, service, state: 'running', reason: `compared from now on; ${samplesMin} requests an arm come before any verdict`, by },
    ...{ startedAtMs: atMs, updatedAtMs: atMs, canary: arm(canary), baseline: arm(baseline), samplesMin },
    ...{ errorDifference: null, latencyRatio: null, looks: 0, quarantined: false, version: version + 1 }
  }
}

function refusalOf(book: CanaryBook, order: CanaryOrder): string | undefined {
  if (order.canary === order.baseline) return `canary and baseline are both ${order.canary}: nothing can tell them apart`
  const others = [...book.canaries.values()].filter(({ record }) => record.environment === order.environment && record.service === order.service)
  const quarantine = others.find(({ record }) => record.quarantined && record.canary.version === order.canary)
  if (quarantine !== undefined)
    return `${order.canary} is quarantined since canary ${quarantine.record.id} ${quarantine.record.state}: a person releases it by \`homeostat canary release ${quarantine.record.id}\``
  const running = others.find(entry => isLive(entry) && entry.record.id !== order.id)
  if (running !== undefined) return `canary ${running.record.id} of ${order.service} is still ${running.record.state}: one at a time`
  return book.canaries.has(order.id) || makeRoom(book) ? undefined : 'too many canaries run or are quarantined: release some'
}

/** Lifts the quarantine of the version; of a canary without one, ends the comparison without a verdict. */
function release(book: CanaryBook, entry: TrackedCanary, by: string, nowMs: number): CanaryEffect[] {
  const { environment, service, canary } = entry.record
  const held = [...book.canaries.values()].filter(
    ({ record }) => record.quarantined && record.environment === environment && record.service === service && record.canary.version === canary.version
  )
  if (held.length > 0) {
    return held.flatMap(each => {
      each.record.quarantined = false
      return [move(each, 'released', `${canary.version} may start again`, by, nowMs), ...closeAlarm(each, nowMs)]
    })
  }
  return isLive(entry) ? [move(entry, 'released', 'no longer compared', by, nowMs), ...closeAlarm(entry, nowMs)] : unchanged()
}

function onWindow(book: CanaryBook, window: VersionWindow, nowMs: number): CanaryEffect[] {
  const effects: CanaryEffect[] = []
  for (const entry of book.canaries.values()) {
    const { environment, service, canary, baseline } = entry.record
    if (environment !== window.environment || service !== window.service) continue
    const arm = window.version === canary.version ? 'canary' : window.version === baseline.version ? 'baseline' : undefined
    if (arm !== undefined) effects.push(...takeWindow(entry, arm, window, nowMs))
  }
  return effects.length > 0 ? effects : [{ kind: 'ignored', reason: 'not_compared' }]
}

function takeWindow(entry: TrackedCanary, arm: ArmName, window: VersionWindow, nowMs: number): CanaryEffect[] {
  if (window.startMs < entry.record.startedAtMs) return [{ kind: 'ignored', reason: 'early' }]
  entry.windowMs = window.windowMs
  if (!isLive(entry)) return arm === 'canary' ? serves(entry, window, nowMs) : []
  const source = `${window.shard}|${window.entity}|${window.version}`
  const before = entry.seen.get(source)
  if (before !== undefined && window.startMs <= before) return [{ kind: 'ignored', reason: 'repeated' }]
  if (before === undefined && entry.seen.size >= SOURCES_MAX) return [{ kind: 'ignored', reason: 'sources_max' }]
  entry.seen.set(source, window.startMs)
  count(entry, arm, window)
  return look(entry, nowMs)
}

/** Adds the window to those that are open, or to the counts when it comes late, and closes what both arms have passed. */
function count(entry: TrackedCanary, arm: ArmName, window: VersionWindow): void {
  const { newestMs } = entry
  newestMs[arm] = Math.max(newestMs[arm], window.startMs + window.windowMs)
  let arms = entry.open.get(window.startMs)
  if (arms === undefined) {
    arms = emptyArms()
    entry.open.set(window.startMs, arms)
  }
  addWindow(arms[arm], window)
  const slowestMs = Math.min(newestMs.canary, newestMs.baseline)
  const fastestMs = Math.max(newestMs.canary, newestMs.baseline)
  closeWindows(entry, Math.max(slowestMs - SETTLE_WINDOWS * window.windowMs, fastestMs - BEHIND_WINDOWS_MAX * window.windowMs))
}

/** Moves windows that end at or before `throughMs` into the counts that looks see. */
function closeWindows(entry: TrackedCanary, throughMs: number): void {
  for (const [startMs, counted] of entry.open) {
    if (startMs + entry.windowMs > throughMs) continue
    entry.open.delete(startMs)
    addArm(entry.arms.canary, counted.canary)
    addArm(entry.arms.baseline, counted.baseline)
  }
}

function look(entry: TrackedCanary, nowMs: number): CanaryEffect[] {
  const { canary, baseline } = entry.arms
  const due = lookOf(Math.min(canary.requests, baseline.requests), entry.record.samplesMin)
  if (due <= entry.look) return []
  entry.look = due
  entry.record.looks++
  const finding = compare(canary, baseline, due, entry.tolerance)
  tell(entry, finding)
  if (finding.verdict === 'fail') return rollBack(entry, 'failed', finding.reason, OURS, nowMs)
  if (finding.verdict === 'pass' && entry.record.state === 'running') return [move(entry, 'passed', finding.reason, OURS, nowMs)]
  return [move(entry, entry.record.state, finding.reason, entry.record.by, nowMs)]
}

function tell({ record }: TrackedCanary, { errorDifference, latencyRatio }: Finding): void {
  record.errorDifference = finite(errorDifference)
  record.latencyRatio = finite(latencyRatio)
}

/** JSON has no infinity. */
function finite({ estimate, lower, upper }: Interval): NonNullable<Canary['errorDifference']> {
  const told = (value: number): number | null => (Number.isFinite(value) ? value : null)
  return { estimate: told(estimate), lower: told(lower), upper: told(upper) }
}

/** The version is quarantined and an anomaly asks for its end. */
function rollBack(entry: TrackedCanary, state: 'failed' | 'aborted', reason: string, by: string, nowMs: number): CanaryEffect[] {
  entry.record.quarantined = true
  entry.servedAtMs = nowMs
  const closed = closeAlarm(entry, nowMs) // The question is answered.
  return [...closed, move(entry, state, reason, by, nowMs), raise(entry, 'failed', entry.record.startedAtMs, nowMs)]
}

/** The version of a canary that is over answered requests. Quarantined, it may not: whoever gave it traffic again did not ask. */
function serves(entry: TrackedCanary, { startMs }: VersionWindow, nowMs: number): CanaryEffect[] {
  const quietSinceMs = entry.servedAtMs
  entry.servedAtMs = nowMs
  if (!entry.record.quarantined || entry.alarm === null || entry.alarm.isOpen || startMs <= quietSinceMs) return []
  const { version } = entry.record.canary
  const whose = entry.record.state === 'aborted' ? `, since ${entry.record.by} stopped it,` : ''
  return [move(entry, entry.record.state, `${version} is quarantined${whose} and serves again`, entry.record.by, nowMs), raise(entry, 'failed', startMs, nowMs)]
}

function onTick(entry: TrackedCanary, nowMs: number): CanaryEffect[] {
  const quietMs = entry.windowMs === 0 ? QUIET_UNKNOWN_MS : Math.max(QUIET_WINDOWS * entry.windowMs, QUIET_MS_MIN)
  if (entry.alarm?.kind === 'failed' && entry.alarm.isOpen && nowMs - entry.servedAtMs >= quietMs) return closeAlarm(entry, nowMs)
  if (entry.record.state !== 'running' || nowMs < entry.deadlineMs) return []
  // Who is seldom asked has no later windows by which the last ones close.
  closeWindows(entry, nowMs)
  const { canary, baseline } = entry.arms
  const { samplesMin } = entry.record
  const silent = canary.requests === 0 ? 'canary' : baseline.requests === 0 ? 'baseline' : undefined
  const seconds = Math.round(entry.decideWithinMs / 1_000)
  const reason =
    silent !== undefined
      ? `the ${silent} ${entry.record[silent].version} served nothing in ${seconds} s: does its telemetry carry service.version?`
      : Math.min(canary.requests, baseline.requests) < samplesMin
        ? `${canary.requests} and ${baseline.requests} requests in ${seconds} s, ${samplesMin} an arm are needed: too little traffic to judge`
        : `not decided in ${seconds} s: ${entry.record.reason}`
  const moved = move(entry, silent === undefined ? 'inconclusive' : 'no_data', reason, OURS, nowMs)
  return [moved, raise(entry, 'undecided', entry.record.startedAtMs, nowMs)]
}

function raise(entry: TrackedCanary, kind: 'failed' | 'undecided', sinceMs: number, nowMs: number): CanaryEffect {
  entry.alarm = { kind, sinceMs, isOpen: true }
  return { kind: 'anomaly', record: alarmRecord(entry, entry.alarm, 'open', nowMs) }
}

function closeAlarm(entry: TrackedCanary, nowMs: number): CanaryEffect[] {
  if (!entry.alarm?.isOpen) return []
  entry.alarm.isOpen = false
  return [{ kind: 'anomaly', record: alarmRecord(entry, entry.alarm, 'close', nowMs) }]
}

function move(entry: TrackedCanary, state: CanaryState, reason: string, by: string, nowMs: number): CanaryEffect {
  const { record, arms } = entry
  Object.assign(record, { state, reason, by, updatedAtMs: nowMs, version: record.version + 1 })
  if (!isLive(entry)) {
    // What is over compares nothing more: only its figures are kept.
    entry.open.clear()
    entry.seen.clear()
  }
  for (const name of ['canary', 'baseline'] as const) {
    record[name].requests = arms[name].requests
    record[name].errors = arms[name].errors
  }
  return { kind: 'publish', record: structuredClone(record) }
}

function unchanged(): CanaryEffect[] {
  return [{ kind: 'ignored', reason: 'no_change' }]
}
