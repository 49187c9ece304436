import { afterEach, describe, expect, it } from 'vitest'
import { aCommand, aStep, aWorld, fakeDriver, START_MS, TARGET, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

/** The target is well again `afterMs` after the act. */
const heals = (afterMs: number) => {
  world.driver.onEffect = () => world.health(world.clock.nowMs() + afterMs, 60)
}

describe('act worker', () => {
  it('acts on a signed command, verifies by the signal, and records one outcome', async () => {
    world = aWorld()
    heals(3_000)
    await world.worker.start()
    const command = aCommand()
    await world.send(command)
    await world.clock.advance(60_000)
    const [outcome, ...more] = world.outcomes()
    expect(more).toEqual([])
    expect(outcome).toMatchObject({ commandId: command.id, verdict: 'healed', refusedBy: null, escalated: false, cost: 2 })
    expect(outcome!.steps).toMatchObject([{ name: 'restart', result: 'applied', verdict: 'healed', undo: 'none' }])
    expect(outcome!.healedAtMs).toBe(START_MS + 3_000)
    expect(outcome!.evidence.signals[0]!.points.at(-1)).toEqual([START_MS, 900])
    expect(outcome!.evidence.logs).toHaveLength(1)
    expect(outcome!.evidence.facts).toMatchObject({ pid: 7, state: 'running' })
    expect([...world.driver.effects.values()]).toEqual([1])
    expect(world.pages).toEqual([])
  })
})
void [aStep, fakeDriver, TARGET]
