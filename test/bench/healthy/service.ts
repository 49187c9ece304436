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
import { COLD_S, FIRST_RELEASE, type Release, type ServiceKind, STEP_MS, STEP_S, STEPS_PER_HOUR } from './kinds.ts'
import { machineOf } from './machine.ts'
import { type Instruments, instrumentsOf } from './points.ts'

const ERROR_SHARE = 1 / 500
/** Small bursts of errors: every so many hours, a share of up to 4 %. */
const BURST_HOURS = 4
const BURST_SHARE_MAX = 0.04
/** Slow moments (a compaction, a neighbour): every so many hours, half as slow again up to three times. */
const HICCUP_HOURS = 8
/** Either lasts so many windows at most. */
const SPELL_STEPS_MAX = 2
const WARN_PER_S = 0.02

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
  const failing = failingOf(kind)
  const phaseMs = Math.floor(chance.uniform() * STEP_MS)
  const failedDurations = newDurations()
  let hasWindow = false

  function work(endMs: number, load: number): { requests: number; busyS: number; errors: number } {
    const rate = kind.rate * load * Math.exp(share())
    const cold = 1 + Math.exp(-(endMs - startMs) / 1_000 / COLD_S)
    const slow = hiccup() > 0 ? 1.5 + 1.5 * chance.uniform() : 1
    const median = kind.median * release.duration * cold * slow * Math.exp(pace()) * (1 + 0.15 * load)
    const errorShare = ERROR_SHARE + BURST_SHARE_MAX * burst() + failing(endMs)
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

function failingOf({ fault }: ServiceKind): (endMs: number) => number {
  return endMs => (fault !== undefined && endMs > fault.fromMs && endMs <= fault.toMs ? fault.errorShare : 0)
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
