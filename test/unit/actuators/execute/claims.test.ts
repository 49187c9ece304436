// A command that is claimed and not admitted, since log or ledger was in the way: nobody else may take it, so whoever claimed it must.

import { afterEach, describe, expect, it } from 'vitest'
import { type ActWorker, actWorker } from '../../../../actuators/execute/executor.ts'
import { OPEN_COMMANDS_MAX } from '../../../../actuators/execute/ledger.ts'
import { commandRecord } from '../../../../schemas/command.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { LedgerRows, LedgerStore, Log } from '../../../../schemas/ports.ts'
import { commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { memoryLedger } from '../../../support/memory-ledger.ts'
import { seededRandom } from '../../../support/virtual-clock.ts'
import { aCommand, actions, aWorld, ENVIRONMENT, healsAfter, type World } from './world.ts'

const GROUP = `homeostat-act-${ENVIRONMENT}`
const workers: ActWorker[] = []
let seed = 100 // Every ledger draws an identity of its own.
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
})

/** Another process: of another machine unless it is given a ledger. */
function successor(world: World, ledger: LedgerStore = memoryLedger()): ActWorker {
  const worker = actWorker({ ...world.options, ledger, random: seededRandom(++seed) })
  workers.push(worker)
  return worker
}

/** The world's ledger, which says that it is full for as long as it is told to. */
function crowded({ ledger }: World): LedgerStore & { isFull: boolean } {
  const full = {
    ...ledger,
    isFull: true,
    transaction: <T>(work: (rows: LedgerRows) => T): T =>
      ledger.transaction(rows => work({ ...rows, openCount: kind => (full.isFull ? OPEN_COMMANDS_MAX : rows.openCount(kind)) }))
  }
  return full
}

it('a ledger that is full at the next start, too, takes it up as soon as it has room', async () => {
  const world = aWorld()
  healsAfter(world, 1_000)
  const ledger = crowded(world)
  const first = successor(world, ledger)
  await first.start()
  await world.send(aCommand())
  await world.clock.advance(500)
  await first.close()
  expect(world.log.records(TOPICS.executions.name)).toHaveLength(1)
  await successor(world, ledger).start()
  ledger.isFull = false
  await world.clock.advance(50_000)
  expect(actions(world)).toEqual([1])
})

describe('an actuator that lives on after its claim was durable, while the group has given the commands topic to another', () => {
  it.each([
    ['the answer to the claim was lost', 'log'],
    ['the ledger refuses to write for a while', 'ledger']
  ] as const)('%s: it admits the command without a restart', async (_, broken) => {
    const world = aWorld()
    healsAfter(world, 1_000)
    let isBroken = true
    const unavailable = (): never => {
      throw new AppError('log_unavailable', 'for a while')
    }
    const log: Log = {
      ...world.log,
      async append(topic, records) {
        const positions = await world.log.append(topic, records)
        return broken === 'log' && isBroken && topic === TOPICS.executions.name ? unavailable() : positions
      }
    }
    const first = actWorker({ ...world.options, log })
    workers.push(first)
    await first.start()
    await successor(world).start()
    const isClaimed = (): boolean => world.log.records(TOPICS.executions.name).length > 0
    if (broken === 'ledger') world.ledger.onTransaction = () => (isBroken && isClaimed() ? unavailable() : undefined)
    await world.send(aCommand())
    await world.clock.advance(500)
    expect(isClaimed()).toBe(true)
    await world.log.expel(GROUP, 0)
    await world.clock.advance(5_000)
    expect(world.counts.get('homeostat.act.commands.elsewhere')).toBe(1)
    isBroken = false
    await world.clock.advance(120_000)
    expect(actions(world)).toEqual([1])
    expect(world.outcomes().map(outcome => outcome.verdict)).toEqual(['healed'])
  })

  it('the ledger is full, and somebody forges a command of the same id: it admits the real one without a restart', async () => {
    const world = aWorld()
    healsAfter(world, 1_000)
    const ledger = crowded(world)
    await successor(world, ledger).start()
    await successor(world).start()
    const command = aCommand()
    const forged = { ...command, target: 'shop/cart@cart-1' } // Nobody signed this.
    await world.log.append(
      commandsTopic(ENVIRONMENT),
      [forged, command].map(one => encodeRecord(commandRecord, one))
    )
    await world.clock.advance(500)
    expect(world.counts.get('homeostat.act.commands.refused')).toBeGreaterThan(0)
    await world.log.expel(GROUP, 0)
    await world.clock.advance(5_000)
    expect(world.counts.get('homeostat.act.commands.elsewhere')).toBe(1)
    ledger.isFull = false
    await world.clock.advance(120_000)
    expect(actions(world)).toEqual([1])
    expect(world.outcomes().filter(({ commandId }) => commandId === command.id)).toMatchObject([{ verdict: 'healed' }])
  })
})
