import { afterEach, describe, expect, it } from 'vitest'
import { AppError } from '../../../../schemas/errors.ts'
import { aCommand, actions, aStep, aWorld, fakeDriver, healsAfter, runOne, START_MS, TARGET, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

const stateCheck = { name: 'state', type: 'state', driver: 'fake', expect: 'facts.state == "running"' } as const

describe('act worker', () => {
  it('acts on a signed command, verifies by the signal, and records one outcome', async () => {
    world = aWorld()
    healsAfter(world, 3_000)
    const command = aCommand()
    const [outcome, ...more] = await runOne(world, command)
    expect(more).toEqual([])
    expect(outcome).toMatchObject({ commandId: command.id, verdict: 'healed', refusedBy: null, escalated: false, cost: 2 })
    expect(outcome!.steps).toMatchObject([{ name: 'restart', result: 'applied', verdict: 'healed', undo: 'none' }])
    expect(outcome!.evidence.signals[0]!.points.at(-1)).toEqual([START_MS, 900])
    expect(outcome!.evidence.logs).toHaveLength(1)
    expect(outcome!.evidence.facts).toMatchObject({ pid: 7, state: 'running' })
    expect(actions(world)).toEqual([1])
    expect(world.pages).toEqual([])
  })

  it('says when the signal recovered, not when the window had forgotten the fault', async () => {
    world = aWorld()
    healsAfter(world, 7_000)
    const [outcome] = await runOne(world)
    // Bad at 6 s, good at 7 s: between two samples a second apart nobody can know more than the middle.
    expect(outcome!.healedAtMs).toBe(START_MS + 6_500)
  })

  it('counts the hold anew when the signal breaks it', async () => {
    world = aWorld()
    world.driver.onEffect = () => {
      world.health(START_MS + 1_000, 60)
      world.health(START_MS + 5_000, 5_000)
      world.health(START_MS + 6_000, 60)
    }
    const [outcome] = await runOne(world)
    expect(outcome!.verdict).toBe('healed')
    expect(outcome!.healedAtMs).toBe(START_MS + 5_500)
  })

  it('never calls healed what stopped sending samples', async () => {
    world = aWorld()
    world.driver.onEffect = () => {
      world.health(START_MS, 60)
      world.health(START_MS + 4_000, undefined)
    }
    const [outcome] = await runOne(world)
    expect(outcome!.verdict).not.toBe('healed')
    expect(world.pages).toMatchObject([{ action: 'trigger', severity: 'critical' }])
  })

  it('is inconclusive on zero samples, tells a person and goes no further', async () => {
    world = aWorld()
    world.driver.onEffect = () => world.health(START_MS, undefined)
    const steps = [aStep('restart'), aStep('heavy')]
    const [outcome] = await runOne(world, aCommand({ steps }))
    expect(outcome).toMatchObject({ verdict: 'inconclusive', healedAtMs: null, escalated: true })
    expect(outcome!.steps).toHaveLength(1)
    expect(outcome!.steps[0]!.checks).toMatchObject([{ result: 'no_data', samples: 0 }])
    expect(actions(world)).toEqual([1])
  })

  it('goes on to the heavier step only when the lighter one did not heal', async () => {
    world = aWorld()
    world.driver.onEffect = order => order.verb === 'heavy' && world.health(world.clock.nowMs(), 60)
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart'), aStep('heavy')], expiresAtMs: START_MS + 10_000 }))
    expect(outcome!.steps).toMatchObject([{ verdict: 'ineffective' }, { name: 'heavy', verdict: 'healed' }])
    expect(outcome).toMatchObject({ verdict: 'healed' })
  })

  it('shows value, bound and samples of the check that failed', async () => {
    world = aWorld()
    const [outcome] = await runOne(world)
    expect(outcome).toMatchObject({ verdict: 'ineffective', escalated: true })
    expect(outcome!.steps[0]!.checks).toMatchObject([{ name: 'latency', result: 'fail', value: 900, samples: 10, expect: 'value < 200.0' }])
  })

  it('is partial when some of the failing checks pass and some do not', async () => {
    world = aWorld()
    healsAfter(world, 0)
    const [latency] = aStep('x').step.verify.checks
    const verify = { deadline: 10_000, holdFor: 1_000, checks: [latency!, { ...stateCheck, expect: 'facts.state == "perfect"' }] }
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart', { verify })] }))
    expect(outcome!.verdict).toBe('partial')
    expect(outcome!.steps[0]!.checks[1]!.detail).toBe('state running: does not hold') // Of all facts, what was asked for.
  })

  it('undoes what did harm, verifies the undo, and stops', async () => {
    world = aWorld()
    let broken = false
    const observe = world.driver.observe
    world.driver.observe = async target => ({ ...(await observe(target)), state: broken ? 'failed' : 'running' })
    world.driver.onEffect = order => {
      broken = order.verb !== 'revert'
    }
    const steps = [
      aStep('restart', { undo: { driver: 'fake', verb: 'revert', args: {} }, verify: { deadline: 10_000, holdFor: 1_000, checks: [stateCheck] } }),
      aStep('heavy')
    ]
    const [outcome] = await runOne(world, aCommand({ steps }))
    expect(outcome).toMatchObject({ verdict: 'harmful', escalated: true })
    expect(outcome!.steps).toMatchObject([{ name: 'restart', verdict: 'harmful', undo: 'undone' }])
    expect(world.driver.orders.map(order => order.verb)).toEqual(['restart', 'revert'])
    expect(world.driver.orders[1]!.idempotencyKey).not.toBe(world.driver.orders[0]!.idempotencyKey)
  })

  it('says so when the undo does not bring back what was', async () => {
    world = aWorld()
    world.driver.observe = async () => ({ state: world.driver.effects.size === 0 ? 'running' : 'failed', facts: {} })
    const verify = { deadline: 5_000, holdFor: 1_000, checks: [stateCheck] }
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart', { undo: { driver: 'fake', verb: 'revert', args: {} }, verify })] }))
    expect(outcome!.steps[0]!.undo).toBe('failed')
  })

  it('counts harm to neighbours as harm', async () => {
    const hurt = {
      name: 'payments errors',
      type: 'metric',
      result: 'fail',
      value: 9,
      samples: 5,
      expect: 'value < 1.0',
      detail: '9 errors',
      atMs: START_MS
    } as const
    world = aWorld({ options: { collateral: async () => [hurt] } })
    healsAfter(world, 0)
    expect((await runOne(world))[0]!.verdict).toBe('harmful')
  })

  it('skips a step whose condition is false over facts read now', async () => {
    world = aWorld()
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart', { when: 'facts.restarts > 3' })] }))
    expect(outcome).toMatchObject({ verdict: 'refused', refusedBy: 'condition', cost: 0, begunAtMs: null })
    expect(outcome!.steps).toMatchObject([{ result: 'skipped' }])
    expect(world.driver.orders).toEqual([])
  })

  it('takes a condition that cannot be evaluated for unknown, which stops the heavier steps as well', async () => {
    world = aWorld()
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart', { when: 'facts.nothing > 3' }), aStep('heavy')] }))
    expect(outcome).toMatchObject({ verdict: 'refused', refusedBy: 'condition' })
    expect(outcome!.steps).toMatchObject([{ result: 'refused' }])
    expect(world.driver.orders).toEqual([])
  })

  it('goes on after a driver that did nothing, and says that nothing was done when all are', async () => {
    world = aWorld()
    world.driver.onApply = () => {
      throw new AppError('driver_failed', 'no such unit')
    }
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart'), aStep('heavy')] }))
    expect(outcome).toMatchObject({ verdict: 'ineffective', reason: expect.stringContaining('no such unit') })
    expect(outcome!.steps).toMatchObject([{ result: 'failed' }, { result: 'failed' }])
  })

  it('freezes the target of an act that nobody can resolve until a person releases it', async () => {
    world = aWorld({ driver: fakeDriver('opaque') })
    world.driver.onApply = (_order, effect) => {
      effect()
      throw new AppError('driver_unknown', 'connection lost')
    }
    const [outcome] = await runOne(world)
    expect(outcome).toMatchObject({ verdict: 'unknown', escalated: true })
    world.driver.onApply = (_order, effect) => effect()
    await world.send(aCommand({ expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(10_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'refused', refusedBy: 'target_frozen' })
    await world.say({ kind: 'release_target', target: TARGET, atMs: world.clock.nowMs(), by: 'kim' })
    await world.clock.advance(2_000)
    healsAfter(world, 0)
    await world.send(aCommand({ expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(60_000)
    expect(world.outcomes()[2]).toMatchObject({ verdict: 'healed' })
  })

  it('freezes what a step acted on under its own name, too, and says how each is released', async () => {
    world = aWorld({ driver: fakeDriver('opaque') })
    world.driver.onApply = () => {
      throw new AppError('driver_unknown', 'connection lost')
    }
    const action = { driver: 'fake', verb: 'restart', target: 'orders-unit', args: {} }
    const order = (number: number) =>
      aCommand({ steps: [{ ...aStep('restart', { action }), idempotencyKey: `unit-${number}` }], expiresAtMs: world.clock.nowMs() + 60_000 })
    await runOne(world, order(0))
    for (const [index, frozen] of [TARGET, 'orders-unit'].entries()) {
      await world.send(order(index + 1))
      await world.clock.advance(10_000)
      expect(world.outcomes()[index + 1]).toMatchObject({ refusedBy: 'target_frozen', reason: expect.stringContaining(`homeostat release ${frozen})`) })
      await world.say({ kind: 'release_target', target: frozen, atMs: world.clock.nowMs(), by: 'kim' })
      await world.clock.advance(2_000)
    }
    expect(world.ledger.rows('fence').filter(({ frozen }) => frozen !== null)).toEqual([])
  })

  it('gives up on a driver that never answers and does not repeat an opaque act', async () => {
    world = aWorld({ driver: fakeDriver('opaque') })
    world.driver.onApply = () => new Promise(() => {})
    const [outcome] = await runOne(world)
    expect(outcome).toMatchObject({ verdict: 'unknown' })
    expect(world.driver.orders).toHaveLength(1)
  })

  it('pages once an incident and resolves the page when the incident is healed after all', async () => {
    world = aWorld()
    const incidentId = 'a'.repeat(32)
    await runOne(world, aCommand({ incidentId }))
    await world.send(aCommand({ incidentId, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(120_000)
    expect(world.pages).toMatchObject([{ action: 'trigger', dedupKey: incidentId }])
    healsAfter(world, 0)
    await world.send(aCommand({ incidentId, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(120_000)
    expect(world.pages.map(page => page.action)).toEqual(['trigger', 'resolve'])
  })

  it('repeats a page that could not be delivered, with pauses that grow', async () => {
    const triedAtMs: number[] = []
    world = aWorld({
      options: {
        escalations: {
          default: {
            async notify() {
              triedAtMs.push(world.clock.nowMs())
              if (triedAtMs.length < 5) throw new AppError('escalation_failed', 'webhook answered 500')
            }
          }
        }
      }
    })
    await runOne(world)
    expect(triedAtMs).toHaveLength(5)
    const pauses = triedAtMs.slice(1).map((atMs, index) => atMs - triedAtMs[index]!)
    expect(pauses.every((pause, index) => pause >= 1_000 * 2 ** index && pause <= 1_500 * 2 ** index)).toBe(true)
  })

  it('publishes the outcome when the log is back', async () => {
    world = aWorld()
    healsAfter(world, 0)
    await world.worker.start()
    await world.send(aCommand())
    await world.clock.advance(5_000)
    world.log.failAppends(new AppError('log_unavailable', 'no broker'))
    await world.clock.advance(30_000)
    world.log.failAppends(undefined)
    await world.clock.advance(5_000)
    expect(world.outcomes()).toHaveLength(1)
  })
})
