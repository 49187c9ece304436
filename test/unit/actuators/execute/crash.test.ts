// Crash at every boundary: the n-th ledger transaction (before, after its commit), driver call (before, after its effect)
// or append of the log kills the worker; the next one starts from the same ledger and log. Whatever n: at most one effect
// a key, exactly one outcome a command.

import { afterEach, describe, expect, it } from 'vitest'
import { actWorker, type ActWorker } from '../../../../actuators/execute/executor.ts'
import type { Driver, DriverClass, Log, Subscription } from '../../../../schemas/ports.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { auditOf } from '../../../support/audit-chains.ts'
import { outcomesOf } from './world.ts'
import { aCommand, aStep, aWorld, fakeDriver, type World } from './world.ts'

class Crash extends Error {}

const BOUNDARIES_MAX = 400 // Far above what one command crosses; reaching it means that the loop does not end.
const undo = { driver: 'fake', verb: 'revert', args: {} }
const workers: ActWorker[] = []
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
})

describe.each(['detectable', 'convergent', 'opaque'] as const)('a crash at every boundary, %s driver', driverClass => {
  it.each([
    ['that heals', true],
    ['that needs undo and the heavier step', false]
  ])('of a command %s', async (_name, heals) => {
    const verdicts = new Set<string>()
    let crashes = 0
    for (let at = 1; at < BOUNDARIES_MAX; at++) {
      const { world, crashed, worker, command } = await crashing(driverClass, at, heals)
      for (let waitedMs = 0; waitedMs < 90_000 && !crashed(); waitedMs += 1_000) await world.clock.advance(1_000)
      if (!crashed()) break
      crashes++
      await close(worker)
      const next = reborn(world)
      await next.start()
      await world.clock.advance(300_000)
      const outcomes = outcomesOf(world.log).filter(outcome => outcome.commandId === command.id)
      const where = `${driverClass}, crash at boundary ${at}`
      expect(new Set(outcomes.map(outcome => outcome.id)).size, `outcomes: ${where}`).toBe(1)
      const audit = await auditOf(world.log, [TOPICS.outcomes.name])
      expect({ findings: audit.findings, rows: audit.rows, chains: audit.chains.length }, `audit: ${where}`).toEqual({ findings: [], rows: 1, chains: 1 })
      const repeated = [...world.driver.effects.values()].filter(count => count > 1)
      if (driverClass !== 'convergent') expect(repeated, `effects: ${where}`).toEqual([])
      const { verdict, steps } = outcomes[0]!
      verdicts.add(verdict)
      for (const step of steps) {
        if (step.result === 'applied') expect(world.driver.effects.get(step.idempotencyKey), `applied: ${where}`).toBeGreaterThan(0)
        if (step.result === 'failed' || step.result === 'skipped') expect(world.driver.effects.has(step.idempotencyKey), `not applied: ${where}`).toBe(false)
      }
      // An opaque act in doubt ends the command: unknown when it was the act, the act's own verdict when it was the undo.
      expect(driverClass === 'opaque' ? ['healed', 'unknown', 'ineffective'] : ['healed'], where).toContain(verdict)
      const open = (['command', 'step', 'outbox'] as const).flatMap(kind => world.ledger.rows(kind).filter(row => row.open === true))
      expect(open, `open rows: ${where}`).toEqual([])
      await next.close()
    }
    expect(crashes).toBeGreaterThan(heals ? 20 : 40)
    expect(verdicts.has('unknown')).toBe(driverClass === 'opaque')
  })
})

/** A world whose worker dies at the `at`-th boundary, everything it holds with it. */
async function crashing(driverClass: DriverClass, at: number, heals: boolean) {
  const world = aWorld({ driver: fakeDriver(driverClass) })
  // Either the restart heals, or it does nothing, is undone, and the heavier step heals.
  world.driver.onEffect = ({ verb }) => {
    if (verb === 'restart' && !heals) world.health(world.clock.nowMs(), 950)
    if (verb === 'heavy' || heals) world.health(world.clock.nowMs() + 1_000, 60)
  }
  let boundary = 0
  let dead = false
  const cross = (): void => {
    if (dead || ++boundary === at) {
      dead = true
      throw new Crash(`at boundary ${boundary}`)
    }
  }
  world.ledger.onTransaction = cross
  const subscriptions: Subscription[] = []
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
      const subscription = await world.log.subscribe(options)
      subscriptions.push(subscription)
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
  const worker = actWorker({ ...world.options, log, drivers: { fake: driver } })
  const steps = heals ? [aStep('restart')] : [aStep('restart', { undo }), aStep('heavy')]
  const command = aCommand({ steps })
  await worker.start().catch(error => {
    if (!(error instanceof Crash)) throw error
  })
  await world.send(command)
  return { world, worker, command, crashed: () => dead }
}

async function close(worker: ActWorker): Promise<void> {
  await worker.close().catch(() => undefined)
}

/** The next process: same log, same rows, nothing else. */
function reborn(world: World): ActWorker {
  const ledger = world.ledger.reopen()
  const next = actWorker({ ...world.options, ledger })
  workers.push(next)
  return next
}
