// A host that is well, as the Collector's hostmetrics receiver sees it, once a minute (or every ten seconds).
//
// Processor, memory, disks, network; a small job of cron every ten minutes. Asked for, heavy ones: two hundred times the usual reads
// for 40 s each hour, and a backup each night.

import type { PointView } from '../../../schemas/otlp.ts'
import { type Chance, wandering } from './chance.ts'
import { instrumentsOf } from './points.ts'
import { STEP_MS } from './kinds.ts'

const STEP_S = STEP_MS / 1_000
const MIB = 2 ** 20
const GIB = 2 ** 30
const CORES = 2
const MEMORY = 8 * GIB
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const STEPS_PER_HOUR = HOUR_MS / STEP_MS
const BACKUP_BEGINS_MS = 3.5 * HOUR_MS
const BACKUP_LASTS_MS = 15 * MINUTE_MS

export interface Host {
  readonly entity: string
  step(endMs: number, load: number, emit: (view: PointView) => void): void
}

export function host(name: string, startMs: number, intervalMs: number, hasHeavyJobs: boolean, chance: Chance): Host {
  const entity = `@${name}`
  const send = instrumentsOf(entity, startMs)
  const cpu = Array.from({ length: CORES }, (_, core) =>
    ['user', 'system', 'iowait', 'idle'].map(mode => send.counter('system.cpu.time', 's', { 'cpu.logical_number': String(core), 'cpu.mode': mode }))
  )
  const memory = ['used', 'cached', 'buffered', 'free'].map(state => send.level('system.memory.usage', 'By', { 'system.memory.state': state }))
  const memoryShare = ['used', 'cached', 'buffered', 'free'].map(state => send.gauge('system.memory.utilization', '1', { 'system.memory.state': state }))
  const averages = ['1m', '5m', '15m'].map(span => send.gauge(`system.cpu.load_average.${span}`, '{thread}'))
  const directions = ['read', 'write'] as const
  const disk = directions.map(direction => ({
    bytes: send.counter('system.disk.io', 'By', { 'disk.io.direction': direction, 'system.device': 'sda' }),
    operations: send.counter('system.disk.operations', '{operation}', { 'disk.io.direction': direction, 'system.device': 'sda' }),
    time: send.counter('system.disk.operation_time', 's', { 'disk.io.direction': direction, 'system.device': 'sda' })
  }))
  const busy = send.counter('system.disk.io_time', 's', { 'system.device': 'sda' })
  const pending = send.level('system.disk.pending_operations', '{operation}', { 'system.device': 'sda' })
  const network = ['receive', 'transmit'].map(direction => ({
    bytes: send.counter('system.network.io', 'By', { 'network.io.direction': direction, 'network.interface.name': 'eth0' }),
    packets: send.counter('system.network.packets', '{packet}', { 'network.io.direction': direction, 'network.interface.name': 'eth0' }),
    dropped: send.counter('system.network.dropped', '{packet}', { 'network.io.direction': direction, 'network.interface.name': 'eth0' }),
    errors: send.counter('system.network.errors', '{error}', { 'network.io.direction': direction, 'network.interface.name': 'eth0' })
  }))
  const connections = ['ESTABLISHED', 'TIME_WAIT'].map(state => send.level('system.network.connections', '{connection}', { 'network.connection.state': state }))
  const filesystem = ['used', 'free'].map(state => send.level('system.filesystem.usage', 'By', { 'system.filesystem.state': state }))
  const filesystemShare = send.gauge('system.filesystem.utilization', '1')
  const swapped = send.level('system.paging.usage', 'By', { 'system.paging.state': 'used' })
  const faults = send.counter('system.paging.operations', '{operation}', { 'system.paging.type': 'major' })
  const processes = ['running', 'sleeping'].map(status => send.level('system.processes.count', '{process}', { 'process.status': status }))
  const created = send.counter('system.processes.created', '{process}')
  const views = [
    ...cpu.flat(),
    ...memory,
    ...memoryShare,
    ...averages,
    ...disk.flatMap(({ bytes, operations, time }) => [bytes, operations, time]),
    ...[busy, pending],
    ...network.flatMap(({ bytes, packets, dropped, errors }) => [bytes, packets, dropped, errors]),
    ...[...connections, ...filesystem, filesystemShare, swapped, faults, ...processes, created]
  ]

  const wobble = wandering(chance, 0.12, 12)
  const usedLevel = wandering(chance, 0.03, 4 * STEPS_PER_HOUR)
  const cacheLevel = wandering(chance, 0.08, 3 * STEPS_PER_HOUR)
  const minuteOfJob = Math.floor(chance.uniform() * 10)
  const minuteOfHour = Math.floor(chance.uniform() * 60)
  const phaseMs = Math.floor(chance.uniform() * STEP_MS)
  const decays = [60, 300, 900].map(seconds => Math.exp(-STEP_S / seconds))
  let files = 40 * GIB
  let rotation = 0

  /** Share of a core that jobs take, and bytes a second they read and write. */
  function jobs(endMs: number): { cpu: number; read: number; write: number } {
    const minute = Math.floor(endMs / MINUTE_MS)
    const second = (endMs % MINUTE_MS) / 1_000
    let [cpuShare, read, write] = [0, 0, 0]
    if (minute % 10 === minuteOfJob && second < 20) cpuShare += 0.15 + 0.1 * chance.uniform()
    if (hasHeavyJobs && minute % 60 === minuteOfHour && second < 40) {
      cpuShare += 0.2
      read += 8 * MIB * chance.lognormal(0.3)
      write += 12 * MIB * chance.lognormal(0.3)
    }
    const sinceBackup = (endMs % DAY_MS) - BACKUP_BEGINS_MS
    if (hasHeavyJobs && sinceBackup >= 0 && sinceBackup < BACKUP_LASTS_MS) {
      cpuShare += 0.3
      read += 40 * MIB * chance.lognormal(0.15)
    }
    return { cpu: cpuShare, read, write }
  }

  function step(endMs: number, load: number): void {
    const job = jobs(endMs)
    let busyCores = 0
    for (const modes of cpu) {
      const user = Math.min(0.7, (0.04 + 0.2 * load) * Math.exp(wobble()) + job.cpu * chance.uniform())
      const system = user * (0.25 + 0.05 * chance.gaussian() ** 2)
      const waiting = 0.002 * chance.exponential() + (job.read + job.write > 0 ? 0.05 * chance.uniform() : 0)
      const shares = [user, system, waiting, Math.max(0, 1 - user - system - waiting)]
      for (const [at, view] of modes.entries()) view.value += shares[at]! * STEP_S
      busyCores += user + system
    }
    for (const [at, view] of averages.entries()) view.value += (1 - decays[at]!) * (busyCores + 0.3 * chance.exponential() - view.value)
    const used = 3.2 * GIB * Math.exp(usedLevel()) * (1 + 0.05 * load)
    const cached = Math.min(MEMORY - used - GIB, 2.5 * GIB * Math.exp(cacheLevel()))
    const buffered = 0.15 * GIB
    for (const [at, bytes] of [used, cached, buffered, MEMORY - used - cached - buffered].entries()) {
      memory[at]!.value = Math.round(bytes)
      memoryShare[at]!.value = bytes / MEMORY
    }
    let operations = 0
    for (const [at, { bytes, operations: count, time }] of disk.entries()) {
      const flushed = at === 0 ? 30e3 * chance.lognormal(1) : (200e3 + 400e3 * load) * chance.lognormal(0.6)
      const total = (flushed + (at === 0 ? job.read : job.write)) * STEP_S
      const done = chance.poisson(total / 16_384)
      bytes.value += Math.round(total)
      count.value += done
      time.value += done * 0.0008 * chance.lognormal(0.4)
      operations += done
    }
    busy.value += Math.min(STEP_S, operations * 0.0005)
    pending.value = chance.poisson(0.2 + (job.read + job.write > 0 ? 3 : 0))
    for (const [at, { bytes, packets, dropped, errors }] of network.entries()) {
      const volume = (at === 0 ? 300e3 : 450e3) * (0.1 + load) * Math.exp(wobble() / 2) * STEP_S
      bytes.value += Math.round(volume)
      packets.value += chance.poisson(volume / 700)
      dropped.value += chance.uniform() < 0.002 ? 1 + chance.poisson(2) : 0
      errors.value += 0
    }
    connections[0]!.value = 40 + chance.poisson(30 * (0.2 + load))
    connections[1]!.value = chance.poisson(60 * load)
    files += 2_000 * STEP_S * chance.lognormal(0.5)
    rotation += STEP_S
    if (rotation > 6 * 3_600) {
      rotation = 0
      files -= 40e6
    }
    filesystem[0]!.value = Math.round(files)
    filesystem[1]!.value = Math.round(100 * GIB - files)
    filesystemShare.value = files / (100 * GIB)
    faults.value += chance.uniform() < 0.01 ? chance.poisson(3) : 0
    processes[0]!.value = 1 + chance.poisson(busyCores)
    processes[1]!.value = 150 + chance.poisson(4)
    created.value += chance.poisson(2 * STEP_S) + (job.cpu > 0 ? chance.poisson(40) : 0)
  }

  return {
    entity,
    step(endMs, load, emit) {
      step(endMs, load)
      if (endMs % intervalMs !== 0) return
      for (const view of views) {
        view.timeMs = endMs - phaseMs
        emit(view)
      }
    }
  }
}
