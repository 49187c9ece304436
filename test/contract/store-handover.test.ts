// Several store processes share the partitions of one log, come and go, die and freeze: every record is in ClickHouse exactly once.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { storeWorker, type StoreWorker } from '../../pipeline/store/store-worker.ts'
import { systemClock } from '../../pipeline/system.ts'
import type { Clock, Log, Store } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { countingMeter, eventually, quietLogger } from '../support/log-tools.ts'
import { type MemoryLog, memoryLog } from '../support/memory-log.ts'
import { encodeOtlp } from '../support/otlp.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const NOW_MS = Date.now()
const GROUP = 'homeostat-store'
const METRICS = TOPICS.metrics.name
const SERVICES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] // Enough to have records on every partition.

let opened: TestStore
let logs = 0

beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())

/** A place in a worker's life where it can be stopped: what it is about to do. */
type Place = (typeof PLACES)[number]

const PLACES = ['intent', 'confirm', 'confirmed', 'first insert', 'second insert', 'commit'] as const

interface World {
  log: MemoryLog
  run: string
  members: Process[]
  appended: number
}
/** A store process that can be frozen at a place, and killed by never being thawed. */
interface Process {
  worker: StoreWorker
  /** Resolves when it stands still there. */
  freezeAt(place: Place): Promise<void>
  thaw(): void
  /** How much longer than the others its clock says it slept. */
  sleptMs: number
}

function aWorld(): World {
  const atMs = NOW_MS + ++logs
  return { log: memoryLog({ nowMs: () => atMs }), run: `run-${logs}`, members: [], appended: 0 }
}

/** Records of one gauge point and one log line; the point's value numbers the record. */
async function append(world: World, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const value = world.appended++
    const service = SERVICES[value % SERVICES.length]!
    const resource = { attributes: [{ key: 'service.name', value: { stringValue: service } }] }
    const point = { asDouble: value, timeUnixNano: `${NOW_MS}000000` }
    const line = { timeUnixNano: `${NOW_MS}000000`, body: { stringValue: `${world.run} ${value}` } }
    const metrics = { resourceMetrics: [{ resource, scopeMetrics: [{ metrics: [{ name: world.run, gauge: { dataPoints: [point] } }] }] }] }
    await world.log.append(METRICS, [{ key: service, value: encodeOtlp('metrics', metrics) }])
    await world.log.append(TOPICS.logs.name, [
      { key: service, value: encodeOtlp('logs', { resourceLogs: [{ resource, scopeLogs: [{ logRecords: [line] }] }] }) }
    ])
  }
}

async function stored(world: World): Promise<{ points: number[]; lines: number }> {
  const points = await opened.store.query<{ Value: number }>('SELECT Value FROM otel_metrics_gauge WHERE MetricName = {run:String} ORDER BY Value', {
    run: world.run
  })
  const [lines] = await opened.store.query<{ lines: number }>('SELECT count() AS lines FROM otel_logs WHERE startsWith(Body, {run:String})', {
    run: `${world.run} `
  })
  return { points: points.map(({ Value }) => Value), lines: lines!.lines }
}

async function expectEachOnce(world: World): Promise<void> {
  await eventually('every record', async () => (await stored(world)).points.length >= world.appended && (await stored(world)).lines >= world.appended)
  expect(await stored(world)).toEqual({ points: Array.from({ length: world.appended }, (_, value) => value), lines: world.appended })
}

async function join(world: World): Promise<Process> {
  let frozenAt: Place | undefined
  let arrived: () => void = () => {}
  let released: Promise<void> = Promise.resolve()
  let release: () => void = () => {}
  let inserts = 0
  let confirmed = false
  const pass = async (place: Place): Promise<void> => {
    if (place !== frozenAt) return
    arrived()
    await released
  }
  const store: Store = {
    query: (sql, parameters) => opened.store.query(sql, parameters),
    close: async () => {},
    async insert(table, rows, options) {
      if (table === 'homeostat_flushes' && options.token.endsWith('/intent')) {
        inserts = 0
        confirmed = false
        await pass('intent')
      } else if (table.startsWith('otel_')) await pass(++inserts === 1 ? 'first insert' : 'second insert')
      await opened.store.insert(table, rows, options)
    }
  }
  const log: Log = {
    ...world.log,
    async subscribe(options) {
      const subscription = await world.log.subscribe(options)
      return {
        ...subscription,
        async commit(positions) {
          await pass(confirmed ? 'commit' : 'confirm')
          const first = !confirmed
          confirmed = true
          const accepted = await subscription.commit(positions)
          if (first) await pass('confirmed')
          return accepted
        }
      }
    }
  }
  const clock: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + process.sleptMs }
  const config = { batchRowsMax: 40, batchInterval: 5 }
  const worker = storeWorker({ log, store, config, clock, logger: quietLogger, meter: countingMeter(), environments: ['lab'] })
  const process: Process = {
    worker,
    sleptMs: 0,
    freezeAt(place) {
      const there = Promise.withResolvers<void>()
      arrived = there.resolve
      released = new Promise(resolve => {
        release = resolve
      })
      frozenAt = place
      return there.promise
    },
    thaw() {
      frozenAt = undefined
      release()
    }
  }
  await worker.start()
  world.members.push(process)
  return process
}

/** The others take its partitions; it is not told. @returns its coming back */
async function expel(world: World, process: Process): Promise<() => Promise<void>> {
  const index = world.members.indexOf(process)
  world.members.splice(index, 1)
  const back = await world.log.expel(GROUP, index)
  return async () => {
    await back()
    world.members.push(process)
  }
}

async function leave(world: World, process: Process): Promise<void> {
  world.members.splice(world.members.indexOf(process), 1)
  await process.worker.close()
}

async function end(world: World): Promise<void> {
  for (const process of [...world.members]) await leave(world, process)
}

describe('two store processes on one log', () => {
  test('share the partitions and store each record once, while they come and go', async () => {
    const world = aWorld()
    const first = await join(world)
    await append(world, 60)
    const second = await join(world)
    await append(world, 60)
    await leave(world, first)
    await append(world, 60)
    await join(world)
    await append(world, 60)
    await expectEachOnce(world)
    await leave(world, second)
    await append(world, 20)
    await expectEachOnce(world)
    await end(world)
  })

  test.each(PLACES)('one is killed at its %s: the other finishes what it began, or never learns of it', async place => {
    const world = aWorld()
    const victim = await join(world)
    await join(world)
    await append(world, 40)
    await expectEachOnce(world)
    const there = victim.freezeAt(place)
    await append(world, 40)
    await there
    await expel(world, victim) // It is never heard of again.
    await append(world, 40)
    await expectEachOnce(world)
    await end(world)
  })

  test.each(PLACES)('one freezes at its %s, loses its partitions, wakes up and goes on: nothing twice, nothing missing', async place => {
    const world = aWorld()
    const frozen = await join(world)
    await join(world)
    await append(world, 40)
    await expectEachOnce(world)
    const there = frozen.freezeAt(place)
    await append(world, 40)
    await there
    const back = await expel(world, frozen)
    await append(world, 40)
    await expectEachOnce(world)
    frozen.sleptMs = 60_000
    frozen.thaw()
    await back()
    await append(world, 40)
    await expectEachOnce(world)
    await end(world)
  })

  test('a process that was frozen longer than ClickHouse remembers tokens does not insert what another has stored', async () => {
    const world = aWorld()
    const frozen = await join(world)
    await join(world)
    const there = frozen.freezeAt('confirmed')
    await append(world, 40)
    await there
    const back = await expel(world, frozen)
    await expectEachOnce(world)
    // What others insert pushes its tokens out of the table's memory of 1,000 blocks: here a block for each day.
    const days = Array.from({ length: 1_001 }, (_, day) => ({ Body: 'filler', Timestamp: `${Math.floor(NOW_MS / 1_000) - day * 86_400}` }))
    await opened.store.insert('otel_logs', days, { token: `${world.run}/filler` })
    frozen.sleptMs = 3_600_000
    frozen.thaw()
    await back()
    await append(world, 10)
    await expectEachOnce(world)
    await end(world)
  })
})

describe.each([1, 2, 3, 4])('a seeded hour of trouble, %i', seed => {
  test('processes join, leave, die and freeze in any order: every record exactly once', async () => {
    const world = aWorld()
    let state = seed * 2_654_435_761
    const chance = (below: number): number => {
      state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
      return (state >>> 0) % below
    }
    const asleep: { process: Process; back: () => Promise<void> }[] = []
    await join(world)
    for (let step = 0; step < 25; step++) {
      const process = world.members[chance(world.members.length)]!
      const event = chance(5)
      if (event === 0 && world.members.length < 3) await join(world)
      else if (event === 1 && world.members.length > 1) await leave(world, process)
      else if (event <= 3 && world.members.length > 1) {
        const there = process.freezeAt(PLACES[chance(PLACES.length)]!)
        await append(world, 24)
        await there
        const back = await expel(world, process)
        // Event 2 kills it: it never goes on.
        if (event === 3) asleep.push({ process, back })
      } else if (asleep.length > 0) {
        const { process: sleeper, back } = asleep.shift()!
        sleeper.sleptMs += chance(2) * 30_000
        sleeper.thaw()
        await back()
      }
      await append(world, chance(12))
    }
    for (const { process, back } of asleep) {
      process.thaw()
      await back()
    }
    await expectEachOnce(world)
    await end(world)
  })
})
