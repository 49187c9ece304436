// Two actuators of one environment, each with a ledger of its own, nothing shared but the log: whatever happens to the first,
// a command has its effect once, in one ledger, and at most one outcome.

import { afterEach, describe, expect, it } from 'vitest'
import { type ActWorker, actWorker } from '../../../../actuators/execute/executor.ts'
import type { Driver, Log, Subscription } from '../../../../schemas/ports.ts'
import { commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { memoryLedger } from '../../../support/memory-ledger.ts'
import { seededRandom } from '../../../support/virtual-clock.ts'
import { aCommand, aWorld, ENVIRONMENT, fakeDriver, healsAfter, outcomesOf, START_MS, type World } from './world.ts'

const GROUP = `homeostat-act-${ENVIRONMENT}`
const BOUNDARIES_MAX = 400
const workers: ActWorker[] = []
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close().catch(() => undefined)
})

class Crash extends Error {}

let seed = 100 // Every ledger draws an identity of its own.

/** Another machine: a ledger of its own, the same log and targets. */
function successor(world: World, ledger = memoryLedger()): ActWorker {
  const worker = actWorker({ ...world.options, ledger, random: seededRandom(++seed) })
  workers.push(worker)
  return worker
}

const effects = (world: World): number[] => [...world.driver.effects.values()]

describe('two actuators', () => {
  it('run each command once: the second stands by', async () => {
    const world = aWorld()
    healsAfter(world, 1_000)
    await world.worker.start()
    workers.push(world.worker)
    await successor(world).start()
    await world.send(aCommand())
    await world.send(aCommand({ target: 'shop/cart@cart-1' }))
    await world.clock.advance(120_000)
    expect(effects(world)).toEqual([1, 1])
    expect(world.outcomes().map(outcome => outcome.verdict)).toEqual(['healed', 'healed'])
  })

  it('do not run a command again that the first ran, though its offset was never committed', async () => {
    const world = aWorld()
    healsAfter(world, 1_000)
    workers.push(world.worker)
    await world.worker.start()
    const command = aCommand()
    await world.send(command)
    await world.clock.advance(120_000)
    await world.worker.close()
    // The commit was lost: the successor's group begins at the command.
    const again = { ...world.log, subscribe: (options: Parameters<Log['subscribe']>[0]) => world.log.subscribe({ ...options, group: 'begun anew' }) }
    const next = actWorker({ ...world.options, log: again, ledger: memoryLedger(), random: seededRandom(2) })
    workers.push(next)
    await next.start()
    await world.clock.advance(300_000)
    expect(effects(world)).toEqual([1])
    expect(world.outcomes().map(outcome => outcome.verdict)).toEqual(['healed'])
    expect(world.counts.get('homeostat.act.commands.elsewhere')).toBe(1)
  })

  it('leave a command to the first that was stopped with it, and the first finishes it when it wakes up', async () => {
    const world = aWorld()
    healsAfter(world, 1_000)
    workers.push(world.worker)
    await world.worker.start()
    await successor(world).start()
    await world.send(aCommand())
    // The first is stopped with its claim on the way, is replaced, and wakes up together with the second's claim.
    const release = world.log.holdAppends()
    await new Promise(resolve => setImmediate(resolve))
    await world.log.expel(GROUP, 0)
    await new Promise(resolve => setImmediate(resolve))
    release()
    await world.clock.advance(120_000)
    expect(effects(world)).toEqual([1])
    expect(new Set(world.outcomes().map(outcome => outcome.id)).size).toBe(1)
    expect(world.log.records(TOPICS.executions.name).length).toBeGreaterThanOrEqual(1)
  })

  it('believe the first claim in the log, whichever append came back first', async () => {
    const world = aWorld()
    healsAfter(world, 1_000)
    const command = aCommand()
    await world.send(command)
    // Both read the command, as when the group's owner changes in the middle of a batch.
    const alone = (group: string): Log => ({ ...world.log, subscribe: options => world.log.subscribe({ ...options, group }) })
    const both = ['a', 'b'].map((group, index) => actWorker({ ...world.options, log: alone(group), ledger: memoryLedger(), random: seededRandom(index + 5) }))
    workers.push(...both)
    await Promise.all(both.map(worker => worker.start()))
    await world.clock.advance(120_000)
    expect(world.log.records(TOPICS.executions.name)).toHaveLength(2)
    expect(effects(world)).toEqual([1])
    expect(world.outcomes()).toHaveLength(1)
  })

  it('refuse an expired command once, and not where the other has it', async () => {
    const world = aWorld()
    healsAfter(world, 1_000)
    workers.push(world.worker)
    await world.worker.start()
    await world.send(aCommand())
    await world.clock.advance(120_000)
    await world.worker.close()
    const replayed = { ...world.log, subscribe: (options: Parameters<Log['subscribe']>[0]) => world.log.subscribe({ ...options, group: 'later' }) }
    const next = actWorker({ ...world.options, log: replayed, ledger: memoryLedger(), random: seededRandom(3) })
    workers.push(next)
    await world.clock.advance(86_400_000)
    await next.start()
    await world.clock.advance(60_000)
    expect(world.outcomes().map(outcome => outcome.verdict)).toEqual(['healed'])
  })

  it.each([
    ['fresh', {}, 'healed'],
    ['long expired', { issuedAtMs: START_MS - 10 * 86_400_000, expiresAtMs: START_MS - 9 * 86_400_000 }, 'refused'],
    ['foreign', { environment: 'another' }, 'refused']
  ] as const)('take up a %s command again that was claimed and not admitted before a crash, though the other passed it by', async (_, age, verdict) => {
    const world = aWorld()
    healsAfter(world, 1_000)
    const ledger = world.ledger
    let dead = false
    const crashing = actWorker({
      ...world.options,
      log: {
        ...world.log,
        async append(topic, records) {
          if (dead) throw new Crash()
          const positions = await world.log.append(topic, records)
          if (topic === TOPICS.executions.name) {
            dead = true
            throw new Crash('killed as the claim was durable')
          }
          return positions
        }
      }
    })
    await crashing.start()
    await world.send(aCommand(age))
    await world.clock.advance(1_000)
    await crashing.close().catch(() => undefined)
    const other = successor(world)
    await other.start()
    await world.clock.advance(5_000)
    await other.close()
    expect(effects(world)).toEqual([])
    const back = successor(world, ledger.reopen())
    await back.start()
    await world.clock.advance(60_000)
    expect(effects(world)).toEqual(verdict === 'healed' ? [1] : [])
    expect(world.outcomes().map(outcome => outcome.verdict)).toEqual([verdict])
  })
})

describe('a crash of the first at every boundary, the second taking over at once, the first coming back later', () => {
  it.each(['detectable', 'convergent', 'opaque'] as const)('has no second effect and no second outcome, %s driver', async driverClass => {
    let crashes = 0
    for (let at = 1; at < BOUNDARIES_MAX; at++) {
      const world = aWorld({ driver: fakeDriver(driverClass) })
      healsAfter(world, 1_000)
      const { worker, crashed } = crashingAt(world, at)
      const command = aCommand()
      await worker.start().catch(swallow)
      await world.send(command)
      for (let waitedMs = 0; waitedMs < 90_000 && !crashed(); waitedMs += 1_000) await world.clock.advance(1_000)
      if (!crashed()) break
      crashes++
      await worker.close().catch(() => undefined)
      const second = successor(world)
      await second.start()
      await world.clock.advance(20_000)
      const back = successor(world, world.ledger.reopen())
      await back.start()
      await world.clock.advance(300_000)
      const where = `${driverClass}, crash at boundary ${at}`
      if (driverClass !== 'convergent') expect(Math.max(0, ...effects(world)), where).toBeLessThanOrEqual(1)
      const outcomes = outcomesOf(world.log).filter(outcome => outcome.commandId === command.id)
      expect(new Set(outcomes.map(outcome => JSON.stringify({ ...outcome, recordedAtMs: 0 }))).size, where).toBe(1)
      const ledgers = new Set(world.log.records(TOPICS.executions.name).map(record => JSON.parse(new TextDecoder().decode(record.value!)).ledgerId))
      expect(ledgers.size, where).toBe(1)
      await second.close()
      await back.close()
    }
    expect(crashes).toBeGreaterThan(15)
  })
})

function swallow(error: unknown): void {
  if (!(error instanceof Crash)) throw error
}

function crashingAt(world: World, at: number): { worker: ActWorker; crashed: () => boolean } {
  let boundary = 0
  let dead = false
  const cross = (): void => {
    if (dead || ++boundary === at) {
      dead = true
      throw new Crash(`at boundary ${boundary}`)
    }
  }
  world.ledger.onTransaction = cross
  let subscription: Subscription | undefined
  const log: Log = {
    ...world.log,
    async append(topic, records) {
      cross()
      const positions = await world.log.append(topic, records)
      cross()
      return positions
    },
    async read(from, recordsMax) {
      if (dead) throw new Crash()
      return world.log.read(from, recordsMax)
    },
    async subscribe(options) {
      expect(options.exclusive).toBe(true)
      expect(options.topics).toEqual([commandsTopic(ENVIRONMENT)])
      subscription = await world.log.subscribe(options)
      return subscription
    }
  }
  const driver: Driver = {
    ...world.driver,
    async observe(target) {
      if (dead) throw new Crash()
      return world.driver.observe(target)
    },
    async apply(order, signal) {
      cross()
      const result = await world.driver.apply(order, signal)
      cross()
      return result
    },
    async wasApplied(order) {
      cross()
      return world.driver.wasApplied!(order)
    }
  }
  return { worker: actWorker({ ...world.options, log, drivers: { fake: driver } }), crashed: () => dead }
}
