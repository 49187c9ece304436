import { afterEach, describe, expect, it } from 'vitest'
import { commandRecord } from '../../../../schemas/command.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { commandsTopic, deadLetterTopic } from '../../../../schemas/topics.ts'
import { aCommand, actions, aStep, aWorld, ENVIRONMENT, healsAfter, runOne, START_MS, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

describe('delivery', () => {
  it('a redelivered command does not run twice and has one outcome', async () => {
    world = aWorld()
    healsAfter(world, 0)
    const command = aCommand()
    await world.send(command)
    await runOne(world, command)
    await world.send(command)
    await world.clock.advance(10_000)
    expect(world.outcomes()).toHaveLength(1)
    expect(actions(world)).toEqual([1])
    expect(world.counts.get('homeostat.act.commands.duplicate')).toBe(2)
  })

  it('a forged command of the same id does not stand in the way of the real one', async () => {
    world = aWorld()
    healsAfter(world, 0)
    const command = aCommand()
    await world.send({ ...command, cost: 0 })
    const outcomes = await runOne(world, command)
    expect(outcomes).toMatchObject([{ refusedBy: 'signature' }, { verdict: 'healed' }])
    expect(outcomes[0]!.id).not.toBe(outcomes[1]!.id)
  })

  it('what is no command goes to the dead letters', async () => {
    world = aWorld()
    await world.worker.start()
    await world.log.append(commandsTopic(ENVIRONMENT), [
      { key: 'x', value: Buffer.from('{'), headers: { ce_type: commandRecord.type } },
      encodeRecord(commandRecord, aCommand({ steps: [] }))
    ])
    await world.clock.advance(1_000)
    expect(world.log.records(deadLetterTopic(commandsTopic(ENVIRONMENT))).map(record => record.headers['dlq.reason'])).toEqual(['schema', 'schema'])
    expect(world.outcomes()).toEqual([])
  })

  it('one command a target at a time, different targets side by side, within the limit', async () => {
    world = aWorld({ options: { config: { concurrencyMax: 2 } } })
    let running = 0
    let runningMax = 0
    const busy = new Set<string>()
    world.driver.onApply = async (order, effect) => {
      expect(busy.has(order.target)).toBe(false)
      busy.add(order.target)
      runningMax = Math.max(runningMax, ++running)
      await world.clock.sleep(1_000)
      effect()
      running--
      busy.delete(order.target)
    }
    await world.worker.start()
    for (const target of ['a', 'a', 'b', 'b', 'c', 'c']) await world.send(aCommand({ target, expiresAtMs: START_MS + 600_000 }))
    await world.clock.advance(300_000)
    expect(world.outcomes()).toHaveLength(6)
    expect(runningMax).toBe(2)
  })

  it('a command that waited past its expiry is refused when its turn comes', async () => {
    world = aWorld()
    world.driver.onApply = async (_order, effect) => {
      await world.clock.sleep(9_000)
      effect()
    }
    const onShared = (target: string) => {
      const step = aStep('restart', { action: { driver: 'fake', verb: 'restart', target: 'shared', args: {} } })
      return aCommand({ target, steps: [{ ...step, idempotencyKey: target }], expiresAtMs: START_MS + 5_000 })
    }
    await world.worker.start()
    await world.send(onShared('a'))
    await world.send(onShared('b'))
    await world.clock.advance(120_000)
    expect(world.outcomes().map(outcome => [outcome.target, outcome.refusedBy])).toEqual([
      ['a', null],
      ['b', 'expiry']
    ])
  })

  it('a newer command for the target supersedes one that has not begun', async () => {
    world = aWorld({ options: { config: { concurrencyMax: 1 } } })
    await world.worker.start()
    await world.send(aCommand({ target: 'other' }))
    await world.clock.advance(1_000)
    const [older, newer] = [aCommand({ expiresAtMs: START_MS + 600_000 }), aCommand({ expiresAtMs: START_MS + 600_000 })]
    await world.send(older)
    await world.send(newer)
    await world.clock.advance(300_000)
    expect(world.outcomes().find(outcome => outcome.commandId === older.id)).toMatchObject({ verdict: 'refused', refusedBy: 'fence' })
    expect(world.outcomes().find(outcome => outcome.commandId === newer.id)!.verdict).not.toBe('refused')
  })

  it('the offset waits until the ledger has the command', async () => {
    world = aWorld()
    healsAfter(world, 0)
    let refusals = 0
    world.ledger.onTransaction = (_number, when) => {
      if (when === 'before' && refusals > 0) {
        refusals--
        throw new AppError('log_full', 'no space left')
      }
    }
    await world.worker.start()
    refusals = 20
    await world.send(aCommand())
    await world.clock.advance(60_000)
    expect(world.outcomes()).toMatchObject([{ verdict: 'healed' }])
    expect(actions(world)).toEqual([1])
  })
})
