// An instance of a service that is well: what its SDK sends, and what derive/ makes of its spans and logs.
//
// Requests arrive by chance (Poisson) at a rate that wanders; durations are lognormal with a few slow ones, a little longer under load;
// a share of 1 in 500 fails, and every few hours a few per cent for ten or twenty seconds (a pod that moves, a connection that was
// reset). Longer ones would be worth a word; so would a slow half minute.
// Memory is two sawteeth, one of the young generation and one of the old; processor time has a memory of a minute; the event loop's
// worst delay of an interval is heavy-tailed. None of it is an anomaly.

import type { PointView } from '../../../schemas/otlp.ts'
import { type Chance, wandering } from './chance.ts'
import { addTo, drawDurations, type Durations, newDurations, writeDelta } from './durations.ts'
import { type Instruments, instrumentsOf } from './points.ts'

export const STEP_MS = 10_000
const STEP_S = STEP_MS / 1_000
const MIB = 2 ** 20
const STEPS_PER_HOUR = 3_600_000 / STEP_MS

export interface ServiceKind {
  name: string
  /** Requests per second and instance when load is 1. */
  rate: number
  /** Shares of the requests, by route. */
  routes: Readonly<Record<string, number>>
  /** Median duration, seconds, and the spread of its logarithm. */
  median: number
  sigma: number
  /** Processor seconds of a request. */
  cost: number
  /** Live memory, bytes. */
  memory: number
  peers: readonly string[]
  /** Of its own metrics, ms. */
  intervalMs: number
  hasQueue: boolean
}

/** What a release changes. */
export interface Release {
  memory: number
  duration: number
  cost: number
}
export const FIRST_RELEASE: Release = { memory: 1, duration: 1, cost: 1 }

const ERROR_SHARE = 1 / 500
/** Small bursts of errors: every so many hours, a share of up to 4 %. */
const BURST_HOURS = 4
const BURST_SHARE_MAX = 0.04
/** Slow moments (a compaction, a neighbour): every so many hours, half as slow again up to three times. */
const HICCUP_HOURS = 8
/** Either lasts so many windows at most. */
const SPELL_STEPS_MAX = 2
const SEMI_SPACE = 16 * MIB
const YOUNG_PER_REQUEST = 60 * 2 ** 10
const OLD_PER_REQUEST = 2 * 2 ** 10
const WARN_PER_S = 0.02
const COLD_S = 60

export interface ServiceInstance {
  readonly entity: string
  /** Shows what ended with the step before (derived, late) and what is now. @param load 1 = usual */
  step(endMs: number, load: number, emit: (view: PointView) => void): void
}

interface Route {
  share: number
  durations: Durations
  server: PointView
  failed: PointView
  requests: PointView
  errors: PointView
  duration: PointView
}

/** @param startMs when it was started */
export function serviceInstance(kind: ServiceKind, instance: string, startMs: number, chance: Chance, release: Release = FIRST_RELEASE): ServiceInstance {
  const entity = `shop/${kind.name}@${instance}`
  const send = instrumentsOf(entity, startMs)
  const routes = Object.entries(kind.routes).map(([route, share]) => routeOf(send, route, share))
  const peers = kind.peers.map(peer => peerOf(send, peer))
  const machine = machineOf(send, kind, chance.fork('machine'), release)
  const logs = logsOf(send)
  const share = wandering(chance, 0.03, STEPS_PER_HOUR)
  const pace = wandering(chance, 0.05, 30)
  const burst = spell(chance, BURST_HOURS)
  const hiccup = spell(chance, HICCUP_HOURS)
  const phaseMs = Math.floor(chance.uniform() * STEP_MS)
  const failedDurations = newDurations()
  let hasWindow = false

  function work(endMs: number, load: number): { requests: number; busyS: number; errors: number } {
    const rate = kind.rate * load * Math.exp(share())
    const cold = 1 + Math.exp(-(endMs - startMs) / 1_000 / COLD_S)
    const slow = hiccup() > 0 ? 1.5 + 1.5 * chance.uniform() : 1
    const median = kind.median * release.duration * cold * slow * Math.exp(pace()) * (1 + 0.15 * load)
    const errorShare = ERROR_SHARE + BURST_SHARE_MAX * burst()
    let requests = 0
    let busyS = 0
    let errors = 0
    for (const route of routes) {
      const { durations } = route
      drawDurations(durations, chance, rate * STEP_S * route.share, median, kind.sigma)
      const failed = Math.min(durations.count, chance.poisson(durations.count * errorShare))
      addTo(route.server, durations)
      if (failed > 0) {
        drawDurations(failedDurations, chance, failed, median / 2, kind.sigma)
        addTo(route.failed, failedDurations)
      }
      writeWindow(route, endMs, durations, failed)
      requests += durations.count
      busyS += durations.sum
      errors += failed
    }
    for (const peer of peers) {
      drawDurations(peer.durations, chance, requests, median * 0.6, kind.sigma)
      writeWindow(peer, endMs, peer.durations, Math.min(peer.durations.count, chance.poisson(requests * ERROR_SHARE * 0.5)))
    }
    return { requests, busyS, errors }
  }

  return {
    entity,
    step(endMs, load, emit) {
      if (hasWindow) {
        for (const one of [...routes, ...peers]) {
          if (one.durations.count === 0) continue
          emit(one.requests)
          emit(one.errors)
          emit(one.duration)
        }
        for (const view of logs.views) if (view.value > 0) emit(view)
      }
      const done = work(endMs, load)
      hasWindow = true
      logs.write(endMs, done, chance)
      machine.step(done.requests, done.busyS, endMs - startMs)
      if (endMs % kind.intervalMs !== 0) return
      const timeMs = endMs - phaseMs
      if (timeMs <= startMs) return
      const tell = (view: PointView): void => {
        view.timeMs = timeMs
        emit(view)
      }
      for (const route of routes) {
        tell(route.server)
        if (route.failed.count > 0) tell(route.failed)
      }
      for (const view of machine.views) tell(view)
    }
  }
}

/** Something that comes now and then for a window or two. @returns how strongly now, 0..1 */
function spell(chance: Chance, everyHours: number): () => number {
  let left = 0
  let strength = 0
  return () => {
    if (left > 0) left--
    else {
      strength = 0
      if (chance.uniform() < 1 / (everyHours * STEPS_PER_HOUR)) {
        left = Math.floor(SPELL_STEPS_MAX * chance.uniform())
        strength = chance.uniform()
      }
    }
    return strength
  }
}

function routeOf(send: Instruments, route: string, share: number): Route {
  const attributes = { 'http.request.method': 'POST', 'http.route': route }
  const operation = { operation: `POST ${route}` }
  return {
    share,
    durations: newDurations(),
    server: send.histogram('http.server.request.duration', 's', { ...attributes, 'http.response.status_code': '200' }),
    failed: send.histogram('http.server.request.duration', 's', { ...attributes, 'http.response.status_code': '500' }),
    ...windowOf(send, 'span', operation)
  }
}

function peerOf(send: Instruments, peer: string) {
  return { durations: newDurations(), ...windowOf(send, 'edge', { peer }) }
}

function windowOf(send: Instruments, what: 'span' | 'edge', attributes: Record<string, string>) {
  return {
    requests: send.derivedSum(`homeostat.${what}.requests`, '{request}', attributes),
    errors: send.derivedSum(`homeostat.${what}.errors`, '{error}', attributes),
    duration: send.derivedHistogram(`homeostat.${what}.duration`, 's', attributes)
  }
}

function writeWindow(of: { requests: PointView; errors: PointView; duration: PointView }, endMs: number, durations: Durations, errors: number): void {
  for (const view of [of.requests, of.errors, of.duration]) {
    view.timeMs = endMs
    view.startMs = endMs - STEP_MS
  }
  of.requests.value = durations.count
  of.errors.value = errors
  writeDelta(of.duration, durations)
}

function logsOf(send: Instruments) {
  const records = (severity: string): PointView => send.derivedSum('homeostat.log.records', '{record}', { severity })
  const template = (severity: string, id: string, pattern: string): PointView =>
    send.derivedSum('homeostat.log.template', '{record}', { severity, template: id, pattern })
  const [info, warn, error] = [records('INFO'), records('WARN'), records('ERROR')]
  const [slow, failed] = [template('WARN', 'a1', 'slow request of <*> ms'), template('ERROR', 'b2', 'request <*> failed: status <*>')]
  const views = [info, warn, error, slow, failed]
  return {
    views,
    write(endMs: number, done: { requests: number; errors: number }, chance: Chance): void {
      for (const view of views) {
        view.timeMs = endMs
        view.startMs = endMs - STEP_MS
      }
      info.value = done.requests + chance.poisson(0.1)
      warn.value = chance.poisson(WARN_PER_S * STEP_S)
      slow.value = warn.value
      error.value = done.errors
      failed.value = done.errors
    }
  }
}

/** Process, runtime and resources of one instance. */
function machineOf(send: Instruments, kind: ServiceKind, chance: Chance, release: Release) {
  const cpuUser = send.counter('process.cpu.time', 's', { 'cpu.mode': 'user' })
  const cpuSystem = send.counter('process.cpu.time', 's', { 'cpu.mode': 'system' })
  const cpuShare = send.gauge('process.cpu.utilization', '1')
  const resident = send.level('process.memory.usage', 'By')
  const virtual = send.level('process.memory.virtual', 'By')
  const handles = send.level('process.open_file_descriptor.count', '{count}')
  const loop = send.gauge('nodejs.eventloop.utilization', '1')
  const delays = ['min', 'p50', 'mean', 'stddev', 'p90', 'p99', 'max'].map(stat => send.gauge(`nodejs.eventloop.delay.${stat}`, 's'))
  const [newSpace, oldSpace] = ['new_space', 'old_space'].map(name => send.gauge('v8js.memory.heap.used', 'By', { 'v8js.heap.space.name': name })) as [
    PointView,
    PointView
  ]
  const minor = send.histogram('v8js.gc.duration', 's', { 'v8js.gc.type': 'minor' })
  const major = send.histogram('v8js.gc.duration', 's', { 'v8js.gc.type': 'major' })
  const [used, idle] = ['used', 'idle'].map(state => send.level('db.client.connection.count', '{connection}', { 'db.client.connection.state': state })) as [
    PointView,
    PointView
  ]
  const active = send.level('http.server.active_requests', '{request}')
  const queue = send.gauge('queue.depth', '{job}')
  const wobble = wandering(chance, 0.1, 6)
  const live = wandering(chance, 0.04, 6 * STEPS_PER_HOUR)
  const pauses = newDurations()
  let young = chance.uniform() * SEMI_SPACE
  let old = 0
  let threshold = 0
  let highWater = 0

  const views = [cpuUser, cpuSystem, cpuShare, resident, virtual, handles, loop, ...delays, newSpace, oldSpace, minor, major, used, idle, active]
  if (kind.hasQueue) views.push(queue)
  return {
    views,
    step(requests: number, busyS: number, ageMs: number): void {
      const starting = 1 + 2 * Math.exp(-ageMs / 1_000 / COLD_S)
      const share = Math.min(0.98, (0.02 + (requests * kind.cost * release.cost) / STEP_S) * Math.exp(wobble()) * starting + 0.005 * chance.exponential())
      const system = 0.2 + 0.05 * chance.uniform()
      cpuUser.value += share * (1 - system) * STEP_S
      cpuSystem.value += share * system * STEP_S
      cpuShare.value = share
      loop.value = Math.min(0.99, share * 0.9)
      writeDelays(share)
      writeMemory(requests)
      const inFlight = busyS / STEP_S
      active.value = chance.poisson(inFlight)
      used.value = Math.min(20, 1 + chance.poisson(inFlight * 0.6))
      idle.value = 20 - used.value
      handles.value = 60 + chance.poisson(10 + inFlight)
      // What waits at a server that is busy for the share ρ of the time is geometric (M/M/1).
      const busy = Math.min(0.85, (0.4 * requests) / (kind.rate * STEP_S))
      queue.value = Math.floor(-chance.exponential() / Math.log(busy))
    }
  }

  function writeDelays(share: number): void {
    const body = 0.0002 + 0.001 * share
    const values = [0.009 + 0.001 * chance.uniform(), 0.0101 + body, 0.0103 + 2 * body, 0.001 + 4 * body, 0.011 + 3 * body, 0.012 + 10 * body, 0.02]
    for (const [at, view] of delays.entries()) view.value = values[at]! * chance.lognormal(0.02 + 0.06 * at)
  }

  function writeMemory(requests: number): void {
    const liveBytes = kind.memory * release.memory * Math.exp(live())
    const allocated = requests * YOUNG_PER_REQUEST
    const scavenges = Math.floor((young + allocated) / SEMI_SPACE)
    young = (young + allocated) % SEMI_SPACE
    old += requests * OLD_PER_REQUEST * chance.lognormal(0.3)
    if (scavenges > 0) {
      drawDurations(pauses, chance, scavenges, 0.0015, 0.5)
      addTo(minor, pauses)
    }
    if (old > threshold) {
      old = chance.uniform() * 4 * MIB
      threshold = liveBytes * (0.25 + 0.25 * chance.uniform())
      drawDurations(pauses, chance, 3, 0.006, 0.5)
      addTo(major, pauses)
    }
    newSpace.value = young
    oldSpace.value = liveBytes + old
    highWater = Math.max(liveBytes + old, highWater - 0.003 * (highWater - liveBytes - old))
    resident.value = Math.round(55 * MIB + highWater + 0.7 * young + MIB * chance.gaussian())
    virtual.value = resident.value + 600 * MIB
  }
}
