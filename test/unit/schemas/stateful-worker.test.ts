// One owner of a state among several instances: who holds it, who stands by, and what one that was replaced can still do.

import { afterEach, describe, expect, it } from 'vitest'
import { checkpointStore } from '../../../pipeline/log/checkpoint-store.ts'
import { AppError } from '../../../schemas/errors.ts'
import type { Logger } from '../../../schemas/ports.ts'
import { type Rebuilt, type StatefulWorker, statefulWorker } from '../../../schemas/stateful-worker.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { type MemoryLog, memoryLog } from '../../support/memory-log.ts'
import { type Stoppable, stoppable } from '../../support/stoppable.ts'
import { type VirtualClock, virtualClock } from '../../support/virtual-clock.ts'

const GROUP = 'counters'
const IN = TOPICS.anomalies.name
const OUT = TOPICS.decisions.name
const isStandby = expect.objectContaining({ code: 'standby', retriable: true })
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }

interface Counter {
  count: number
  ticks: number
}
const FRESH: Rebuilt<Counter> = { state: { count: 0, ticks: 0 }, positions: [] }
type CounterEvent = 'record' | 'tick' | 'asked' | 'broken' | { steppedMs: number }

interface Instance {
  process: Stoppable
  worker: StatefulWorker<Counter, CounterEvent>
  counts: Map<string, number>
  /** Steps of the wall clock that it was told of. */
  steps: number[]
}

const instances: Instance[] = []
afterEach(async () => {
  for (const { process, worker } of instances.splice(0)) {
    process.resume()
    if (!process.isDead) await worker.close().catch(() => undefined)
  }
})

/** Counts records; each is told with its number, which nothing but the state can know. */
async function start(world: { clock: VirtualClock; log: MemoryLog }, rebuilt: Rebuilt<Counter> = FRESH): Promise<Instance> {
  const process = stoppable(world)
  const { clock, log } = process
  const counts = new Map<string, number>()
  const steps: number[] = []
  const worker = statefulWorker<Counter, CounterEvent, number>({
    ...{ name: 'counter', group: GROUP, topics: [IN], version: 1, tickMs: 1_000, log, clock, logger: silent },
    checkpoints: checkpointStore(log),
    meter: { count: (name, value = 1) => void counts.set(name, (counts.get(name) ?? 0) + value), gauge() {} },
    restore: saved => ({ ...(saved as Counter) }),
    rebuild: async () => structuredClone(rebuilt),
    snapshot: state => state,
    decode: () => ({ ok: true, event: 'record' }),
    tick: 'tick',
    stepped: byMs => ({ steppedMs: byMs }),
    reduce(state, event) {
      if (typeof event === 'object') steps.push(event.steppedMs)
      if (event === 'tick') state.ticks++
      if (event === 'broken') {
        state.count = -1
        throw new Error('a bug')
      }
      if (event !== 'record') return []
      return [++state.count]
    },
    async deliver(effects) {
      await log.append(
        OUT,
        effects.map(effect => ({ key: 'counter', value: new TextEncoder().encode(String(effect)) }))
      )
    }
  })
  await worker.start()
  const instance = { process, worker, counts, steps }
  instances.push(instance)
  return instance
}

function aWorld() {
  const clock = virtualClock(1_800_000_000_000)
  return { clock, log: memoryLog({ nowMs: clock.nowMs }) }
}
const feed = async ({ log }: { log: MemoryLog }, count = 1): Promise<void> =>
  void (await log.append(
    IN,
    Array.from({ length: count }, () => ({ key: 'lab', value: Uint8Array.of(1) }))
  ))
const told = ({ log }: { log: MemoryLog }): number[] => log.records(OUT).map(record => Number(new TextDecoder().decode(record.value!)))
async function turns(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise(resolve => setImmediate(resolve))
}

describe('a state with several instances', () => {
  it('is held by one; the others hold none, count no time and take no event', async () => {
    const world = aWorld()
    const first = await start(world)
    const second = await start(world)
    await feed(world, 2)
    await world.clock.advance(3_500)
    expect(first.worker.state()).toEqual({ count: 2, ticks: 3 })
    expect(second.worker.state()).toBeUndefined()
    await expect(second.worker.submit('asked')).rejects.toEqual(isStandby)
    await feed(world)
    await turns()
    expect(told(world)).toEqual([1, 2, 3])
  })

  it('is told by how much the wall clock was set while its owner looked, and of nothing else', async () => {
    const world = aWorld()
    const [first, second] = [await start(world), await start(world)]
    await world.clock.advance(10_000)
    first.process.stop()
    await world.clock.advance(2_000)
    first.process.resume()
    for (const byMs of [0, 3_600_000, -30_000, -500]) {
      world.clock.setWallMs(world.clock.nowMs() + byMs)
      await world.clock.advance(2_000)
    }
    expect([first.steps, second.steps]).toEqual([[3_600_000, -30_000], []])
  })

  it('that was rebuilt from a topic goes on behind what it holds, and so does the next owner', async () => {
    const world = aWorld()
    await feed(world, 3)
    const rebuilt = { state: { count: 2, ticks: 0 }, positions: [{ topic: IN, partition: 0, offset: 2 }] }
    const first = await start(world, rebuilt)
    await turns()
    expect(told(world)).toEqual([3])
    await first.worker.close()
    await feed(world)
    await start(world)
    await turns()
    expect(told(world)).toEqual([3, 4])
  })

  it('goes to the next when its owner leaves or is killed, and goes on where it was', async () => {
    const world = aWorld()
    const first = await start(world)
    const second = await start(world)
    await feed(world, 2)
    await turns()
    await first.worker.close()
    await feed(world)
    await turns()
    expect(second.worker.state()?.count).toBe(3)
    expect(first.worker.state()).toBeUndefined()
    const third = await start(world)
    second.process.kill()
    await feed(world)
    await world.log.expel(GROUP, 0)
    await turns()
    expect(third.worker.state()?.count).toBe(4)
    expect([...new Set(told(world))]).toEqual([1, 2, 3, 4])
  })

  it('takes and saves nothing after a bug: the next one goes on where it was saved last', async () => {
    const world = aWorld()
    const first = await start(world)
    await feed(world, 2)
    await turns()
    await expect(first.worker.submit('broken')).rejects.toThrow('a bug')
    await expect(first.worker.submit('asked')).rejects.toEqual(isStandby)
    await first.worker.close()
    const second = await start(world)
    await feed(world)
    await turns()
    expect(second.worker.state()?.count).toBe(3)
  })

  it('is dropped by an owner that was stopped and replaced, which tells nothing more and is no bug', async () => {
    const world = aWorld()
    const first = await start(world)
    const second = await start(world)
    await feed(world)
    await turns()
    // Stopped with a batch in its hands.
    first.process.stop()
    await feed(world, 2)
    await turns()
    const back = await world.log.expel(GROUP, 0)
    await turns()
    await feed(world)
    await turns()
    expect(second.worker.state()?.count).toBe(4)
    first.process.resume()
    await world.clock.advance(5_000)
    await turns()
    expect(first.worker.state()).toBeUndefined()
    expect(first.counts.get('homeostat.counter.fenced')).toBe(1)
    await expect(first.worker.submit('asked')).rejects.toEqual(isStandby)
    await back()
    await second.worker.close()
    await feed(world)
    await turns()
    expect(first.worker.state()?.count).toBe(5)
    // A takeover tells again what the last checkpoint does not know as told.
    expect([...new Set(told(world))]).toEqual([1, 2, 3, 4, 5])
  })

  it('is not told by a replaced owner that had saved and not yet told: its successor has that in its checkpoint', async () => {
    const world = aWorld()
    const first = await start(world)
    const second = await start(world)
    // Stopped between the save and the telling: the append of its effects does not get out.
    const append = first.process.log.append
    first.process.log.append = (topic, records) => {
      if (topic === OUT) first.process.stop()
      return append(topic, records)
    }
    await feed(world)
    await turns()
    expect(told(world)).toEqual([])
    await world.log.expel(GROUP, 0)
    await turns()
    expect(told(world)).toEqual([1])
    expect(second.worker.state()?.count).toBe(1)
    await feed(world)
    await turns()
    first.process.log.append = append
    await world.clock.advance(10_000)
    first.process.resume()
    await world.clock.advance(2_000)
    await turns()
    // What was on its way may come again; nothing that only it believes.
    expect(new Set(told(world))).toEqual(new Set([1, 2]))
    expect(first.worker.state()).toBeUndefined()
  })

  it('tells the group with the first tick after a takeover what its former owner saved and did not commit', async () => {
    const world = aWorld()
    const committed = async (): Promise<number | undefined> => (await world.log.groups()).find(({ group }) => group === GROUP)?.committed
    const first = await start(world)
    const second = await start(world)
    // Stopped between the save and the telling, hence before the commit.
    const append = first.process.log.append
    first.process.log.append = (topic, records) => {
      if (topic === OUT) first.process.stop()
      return append(topic, records)
    }
    await feed(world, 3)
    await turns()
    // The successor cannot tell them at first: until it has, they are not done.
    const appendOfSecond = second.process.log.append
    second.process.log.append = (topic, records) => {
      if (topic === OUT) throw new AppError('log_unavailable', 'no quorum')
      return appendOfSecond(topic, records)
    }
    await world.log.expel(GROUP, 0)
    await world.clock.advance(1_000)
    await turns()
    expect(second.worker.state()?.count).toBe(3)
    expect(await committed()).toBeUndefined()
    second.process.log.append = appendOfSecond
    await world.clock.advance(1_000)
    await turns()
    expect(told(world)).toEqual([1, 2, 3])
    expect(await committed()).toBe(3)
  })

  it('is taken back by the instance to which the log gives records, with what lies in between', async () => {
    const world = aWorld()
    const first = await start(world)
    await feed(world, 2)
    await turns()
    // A process that was stopped in the middle of its own takeover claims now; nobody delivers to it.
    await checkpointStore(world.log).claim([{ name: 'counter', generation: 0 }], { force: true })
    await feed(world)
    await turns()
    await feed(world)
    await world.clock.advance(2_000)
    await turns()
    expect(first.worker.state()?.count).toBe(4)
    expect([...new Set(told(world))]).toEqual([1, 2, 3, 4])
  })

  it('is taken by a lower generation only after the log has given it records for long: its group was forgotten', async () => {
    const world = aWorld()
    const before = checkpointStore(world.log)
    const { owner } = await before.claim([{ name: 'counter', generation: 900 }])
    const state = new TextEncoder().encode(JSON.stringify({ inner: { count: 40, ticks: 0 }, effects: [] }))
    await before.save('counter', { version: 1, positions: [], parts: new Map([['state', state]]) }, owner)
    const anew = await start(world)
    await feed(world)
    for (let second = 0; second < 15; second++) {
      await world.clock.advance(1_000)
      await turns()
    }
    expect(anew.worker.state()).toBeUndefined()
    for (let second = 0; second < 10; second++) {
      await world.clock.advance(1_000)
      await turns()
    }
    expect(anew.worker.state()?.count).toBe(41)
    expect(told(world)).toEqual([41])
  })
})
