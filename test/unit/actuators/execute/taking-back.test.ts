// A command that takes back what another one did: its verdict is what was true before that act.

import { describe, expect, it } from 'vitest'
import type { Command } from '../../../../schemas/command.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { RunbookStep } from '../../../../schemas/runbook.ts'
import { aCommand, aStep, aWorld, healsAfter, START_MS, TARGET, type World } from './world.ts'

const CHECKS: RunbookStep['verify']['checks'] = [
  { name: 'latency', type: 'metric', metric: 'latency', attributes: {}, aggregate: 'mean', window: 10_000, minSamples: 3, expect: 'value < 200.0' },
  { name: 'running', type: 'state', driver: 'fake', expect: 'facts.state == "running"' }
]
const verify = { deadline: 30_000, holdFor: 5_000, checks: CHECKS }
const act = (over: Partial<Command> = {}): Command => aCommand({ steps: [{ ...aStep('restart', { verify }), idempotencyKey: 'act' }], ...over })
/** Later, as decide orders it: the step's undo is its action. */
const takingBack = (undoes: Command, world: World, over: Partial<Command> = {}): Command =>
  aCommand({
    ...{ incidentId: undoes.incidentId, undoes: undoes.id, attempt: 2, fence: world.clock.nowMs(), cost: 0 },
    ...{ issuedAtMs: world.clock.nowMs(), expiresAtMs: world.clock.nowMs() + 60_000 },
    steps: [{ ...aStep('restart', { verify, action: { driver: 'fake', verb: 'revert', args: {} } }), idempotencyKey: 'taking-back' }],
    ...over
  })

async function healed(): Promise<{ world: World; done: Command }> {
  const world = aWorld()
  healsAfter(world, 1_000)
  await world.worker.start()
  const done = act()
  await world.send(done)
  await world.clock.advance(60_000)
  expect(world.outcomes().map(({ verdict }) => verdict)).toEqual(['healed'])
  return { world, done }
}

describe('a command that takes back', () => {
  it('acts once, and is undone when all that passed before the act passes again, whatever was alarming then', async () => {
    const { world, done } = await healed()
    world.driver.onEffect = () => world.health(world.clock.nowMs(), 900) // As before the act: slow, and running.
    await world.send(takingBack(done, world))
    await world.clock.advance(60_000)
    expect(world.outcomes()[1]).toMatchObject({
      verdict: 'undone',
      healedAtMs: null,
      cost: 0,
      steps: [{ verb: 'revert', result: 'applied', verdict: 'undone', undo: 'undone' }]
    })
    expect(world.driver.orders.map(({ verb }) => verb)).toEqual(['restart', 'revert'])
    expect(world.pages).toEqual([])
    await world.worker.close()
  })

  it('is inconclusive when what passed before does not pass again', async () => {
    const { world, done } = await healed()
    world.driver.observe = async () => ({ state: 'stopped', facts: {} })
    await world.send(takingBack(done, world))
    await world.clock.advance(120_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'inconclusive', reason: expect.stringContaining('does not pass again') })
    await world.worker.close()
  })

  it('is inconclusive when nobody here knows how it was before', async () => {
    const { world, done } = await healed()
    await world.send(takingBack({ ...done, id: 'of another ledger' }, world))
    await world.clock.advance(60_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'inconclusive', reason: expect.stringContaining('is not known here') })
    await world.worker.close()
  })

  it('is inconclusive when the driver does nothing: the change is still there', async () => {
    const { world, done } = await healed()
    world.driver.onApply = () => {
      throw new AppError('driver_failed', 'it says no')
    }
    await world.send(takingBack(done, world))
    await world.clock.advance(60_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'inconclusive', reason: expect.stringContaining('still there') })
    await world.worker.close()
  })

  it('is stopped by the kill switch, and not by the end of its incident or by signals that are well', async () => {
    const { world, done } = await healed()
    await world.say({ kind: 'kill_switch', scope: 'global', on: true, reason: 'stop', by: 'ada', atMs: START_MS })
    await world.send(takingBack(done, world))
    await world.clock.advance(60_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'refused', refusedBy: 'kill_switch' })
    await world.say({ kind: 'kill_switch', scope: 'global', on: false, reason: '', by: 'ada', atMs: START_MS + 1 })
    const members = [{ entity: TARGET, metric: 'latency', attributes: {}, direction: 'above', closedAtMs: null, observed: 900, expected: 50 }]
    await world.send(
      takingBack(done, world, { incident: { severity: 'critical', members }, steps: [{ ...aStep('restart', { verify }), idempotencyKey: 'again' }] })
    )
    await world.clock.advance(60_000)
    expect(world.outcomes()[2]).toMatchObject({ verdict: 'undone', refusedBy: null })
    await world.worker.close()
  })
})
