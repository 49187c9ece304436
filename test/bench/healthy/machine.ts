// Process, runtime and resources of one instance that is well: processor, event loop, memory, connections, a queue.

import type { PointView } from '../../../schemas/otlp.ts'
import { type Chance, wandering } from './chance.ts'
import { addTo, drawDurations, newDurations } from './durations.ts'
import { COLD_S, type Release, type ServiceKind, STEP_S, STEPS_PER_HOUR } from './kinds.ts'
import type { Instruments } from './points.ts'

const MIB = 2 ** 20
const SEMI_SPACE = 16 * MIB
const YOUNG_PER_REQUEST = 60 * 2 ** 10
const OLD_PER_REQUEST = 2 * 2 ** 10

/** Its own metrics: `step` moves them on, `views` are what is sent. */
export function machineOf(send: Instruments, kind: ServiceKind, chance: Chance, release: Release) {
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
