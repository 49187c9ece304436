import { afterEach, describe, expect, it } from 'vitest'
import { commandRecord } from '../../../../schemas/command.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { commandsTopic, deadLetterTopic } from '../../../../schemas/topics.ts'
import { aCommand, actions, aStep, aWorld, ENVIRONMENT, fakeDriver, START_MS, TARGET, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

/** The target is well again `afterMs` after an act. */
const healsAfter = (afterMs: number, latencyMs = 60) => {
  world.driver.onEffect = () => world.health(world.clock.nowMs() + afterMs, latencyMs)
}
async function run(command = aCommand(), ms = 120_000) {
  await world.worker.start()
  await world.send(command)
  await world.clock.advance(ms)
  return world.outcomes()
}
const stateCheck = { name: 'state', type: 'state', driver: 'fake', expect: 'facts.state == "running"' } as const

describe('act worker', () => {
  it('acts on a signed command, verifies by the signal, and records one outcome', async () => {
    world = aWorld()
    healsAfter(3_000)
    const command = aCommand()
    const [outcome, ...more] = await run(command)
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
    healsAfter(7_000)
    const [outcome] = await run()
    expect(outcome!.healedAtMs).toBe(START_MS + 7_000)
  })

  it('counts the hold anew when the signal breaks it', async () => {
    world = aWorld()
    world.driver.onEffect = () => {
      world.health(START_MS + 1_000, 60)
      world.health(START_MS + 5_000, 5_000)
      world.health(START_MS + 6_000, 60)
    }
    const [outcome] = await run()
    expect(outcome!.verdict).toBe('healed')
    expect(outcome!.healedAtMs).toBe(START_MS + 6_000)
  })

  it('never calls healed what stopped sending samples', async () => {
    world = aWorld()
    world.driver.onEffect = () => {
      world.health(START_MS, 60)
      world.health(START_MS + 4_000, undefined)
    }
    const [outcome] = await run()
    expect(outcome!.verdict).not.toBe('healed')
    expect(world.pages).toMatchObject([{ action: 'trigger', severity: 'critical' }])
  })

  it('is inconclusive on zero samples, tells a person and goes no further', async () => {
    world = aWorld()
    world.driver.onEffect = () => world.health(START_MS, undefined)
    const steps = [aStep('restart'), aStep('heavy')]
    const [outcome] = await run(aCommand({ steps }))
    expect(outcome).toMatchObject({ verdict: 'inconclusive', healedAtMs: null, escalated: true })
    expect(outcome!.steps).toHaveLength(1)
    expect(outcome!.steps[0]!.checks).toMatchObject([{ result: 'no_data', samples: 0 }])
    expect(actions(world)).toEqual([1])
  })

  it('goes on to the heavier step only when the lighter one did not heal', async () => {
    world = aWorld()
    world.driver.onEffect = order => order.verb === 'heavy' && world.health(world.clock.nowMs(), 60)
    const [outcome] = await run(aCommand({ steps: [aStep('restart'), aStep('heavy')], expiresAtMs: START_MS + 10_000 }))
    expect(outcome!.steps).toMatchObject([{ verdict: 'ineffective' }, { name: 'heavy', verdict: 'healed' }])
    expect(outcome).toMatchObject({ verdict: 'healed' })
  })

  it('shows value, bound and samples of the check that failed', async () => {
    world = aWorld()
    const [outcome] = await run()
    expect(outcome).toMatchObject({ verdict: 'ineffective', escalated: true })
    expect(outcome!.steps[0]!.checks).toMatchObject([{ name: 'latency', result: 'fail', value: 900, samples: 10, expect: 'value < 200.0' }])
  })

  it('is partial when some of the failing checks pass and some do not', async () => {
    world = aWorld()
    healsAfter(0)
    const [latency] = aStep('x').step.verify.checks
    const verify = { deadline: 10_000, holdFor: 1_000, checks: [latency!, { ...stateCheck, expect: 'facts.state == "perfect"' }] }
    const [outcome] = await run(aCommand({ steps: [aStep('restart', { verify })] }))
    expect(outcome!.verdict).toBe('partial')
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
    const [outcome] = await run(aCommand({ steps }))
    expect(outcome).toMatchObject({ verdict: 'harmful', escalated: true })
    expect(outcome!.steps).toMatchObject([{ name: 'restart', verdict: 'harmful', undo: 'undone' }])
    expect(world.driver.orders.map(order => order.verb)).toEqual(['restart', 'revert'])
    expect(world.driver.orders[1]!.idempotencyKey).not.toBe(world.driver.orders[0]!.idempotencyKey)
  })

  it('says so when the undo does not bring back what was', async () => {
    world = aWorld()
    world.driver.observe = async () => ({ state: world.driver.effects.size === 0 ? 'running' : 'failed', facts: {} })
    const verify = { deadline: 5_000, holdFor: 1_000, checks: [stateCheck] }
    const [outcome] = await run(aCommand({ steps: [aStep('restart', { undo: { driver: 'fake', verb: 'revert', args: {} }, verify })] }))
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
    healsAfter(0)
    expect((await run())[0]!.verdict).toBe('harmful')
  })

  it('skips a step whose condition is false over facts read now', async () => {
    world = aWorld()
    const [outcome] = await run(aCommand({ steps: [aStep('restart', { when: 'facts.restarts > 3' })] }))
    expect(outcome).toMatchObject({ verdict: 'refused', refusedBy: 'condition', cost: 0, begunAtMs: null })
    expect(outcome!.steps).toMatchObject([{ result: 'skipped' }])
    expect(world.driver.orders).toEqual([])
  })

  it('takes a condition that cannot be evaluated for unknown, which stops the heavier steps as well', async () => {
    world = aWorld()
    const [outcome] = await run(aCommand({ steps: [aStep('restart', { when: 'facts.nothing > 3' }), aStep('heavy')] }))
    expect(outcome).toMatchObject({ verdict: 'refused', refusedBy: 'condition' })
    expect(outcome!.steps).toMatchObject([{ result: 'refused' }])
    expect(world.driver.orders).toEqual([])
  })

  it('goes on after a driver that did nothing, and says that nothing was done when all are', async () => {
    world = aWorld()
    world.driver.onApply = () => {
      throw new AppError('driver_failed', 'no such unit')
    }
    const [outcome] = await run(aCommand({ steps: [aStep('restart'), aStep('heavy')] }))
    expect(outcome).toMatchObject({ verdict: 'ineffective', reason: expect.stringContaining('no such unit') })
    expect(outcome!.steps).toMatchObject([{ result: 'failed' }, { result: 'failed' }])
  })

  it('freezes the target of an act that nobody can resolve until a person releases it', async () => {
    world = aWorld({ driver: fakeDriver('opaque') })
    world.driver.onApply = (_order, effect) => {
      effect()
      throw new AppError('driver_unknown', 'connection lost')
    }
    const [outcome] = await run()
    expect(outcome).toMatchObject({ verdict: 'unknown', escalated: true })
    world.driver.onApply = (_order, effect) => effect()
    await world.send(aCommand({ expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(10_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'refused', refusedBy: 'target_frozen' })
    await world.say({ kind: 'release_target', target: TARGET, atMs: world.clock.nowMs(), by: 'kim' })
    await world.clock.advance(2_000)
    healsAfter(0)
    await world.send(aCommand({ expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(60_000)
    expect(world.outcomes()[2]).toMatchObject({ verdict: 'healed' })
  })

  it('gives up on a driver that never answers and does not repeat an opaque act', async () => {
    world = aWorld({ driver: fakeDriver('opaque') })
    world.driver.onApply = () => new Promise(() => {})
    const [outcome] = await run()
    expect(outcome).toMatchObject({ verdict: 'unknown' })
    expect(world.driver.orders).toHaveLength(1)
  })

  it('pages once an incident and resolves the page when the incident is healed after all', async () => {
    world = aWorld()
    const incidentId = 'a'.repeat(32)
    await run(aCommand({ incidentId }))
    await world.send(aCommand({ incidentId, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(120_000)
    expect(world.pages).toMatchObject([{ action: 'trigger', dedupKey: incidentId }])
    healsAfter(0)
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
    await run()
    expect(triedAtMs).toHaveLength(5)
    const pauses = triedAtMs.slice(1).map((atMs, index) => atMs - triedAtMs[index]!)
    expect(pauses.every((pause, index) => pause >= 1_000 * 2 ** index && pause <= 1_500 * 2 ** index)).toBe(true)
  })

  it('publishes the outcome when the log is back', async () => {
    world = aWorld()
    healsAfter(0)
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

describe('a command is refused, without effect and with one outcome, when it', () => {
  const refused = async (command: ReturnType<typeof aCommand>, by: string) => {
    const outcomes = await run(command)
    expect(outcomes).toMatchObject([{ commandId: command.id, verdict: 'refused', refusedBy: by, steps: [], cost: 0 }])
    expect(world.driver.orders).toEqual([])
    expect(world.pages).toEqual([])
  }

  it('is not signed', async () => {
    world = aWorld()
    await refused({ ...aCommand(), signature: '' }, 'signature')
  })
  it('is signed by a key that nobody knows', async () => {
    world = aWorld({ options: { verifier: (await import('../../../../actuators/execute/signer.ts')).commandVerifier({ keys: {} }) } })
    await refused(aCommand(), 'key_id')
  })
  it('was changed after it was signed', async () => {
    world = aWorld()
    await refused({ ...aCommand(), target: 'shop/payments' }, 'signature')
  })
  it('is for another environment', async () => {
    world = aWorld()
    await refused(aCommand({ environment: 'production' }), 'environment')
  })
  it('expired', async () => {
    world = aWorld()
    await refused(aCommand({ expiresAtMs: START_MS }), 'expiry')
  })
  it('was issued in the future', async () => {
    world = aWorld()
    await refused(aCommand({ issuedAtMs: START_MS + 6_000, expiresAtMs: START_MS + 60_000 }), 'not_before')
  })
  it('names a driver, a verb or a target that is not allowed', async () => {
    for (const action of [
      { driver: 'nothing', verb: 'restart', args: {} },
      { driver: 'fake', verb: 'constructor', args: {} },
      { driver: 'fake', verb: 'restart', target: 'forbidden', args: {} }
    ]) {
      world = aWorld()
      await refused(aCommand({ steps: [aStep('restart', { action })] }), 'allow_list')
      await world.worker.close()
    }
  })
  it('names an undo that is not allowed, before its step runs', async () => {
    world = aWorld()
    await refused(aCommand({ steps: [aStep('restart', { undo: { driver: 'fake', verb: 'no-such', args: {} } })] }), 'allow_list')
  })

  it('replays a nonce', async () => {
    world = aWorld()
    await run(aCommand({ nonce: 'once' }))
    const orders = world.driver.orders.length
    await world.send(aCommand({ nonce: 'once', expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(1_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'refused', refusedBy: 'nonce' })
    expect(world.driver.orders).toHaveLength(orders)
  })
  it('has a fence that is not newer', async () => {
    world = aWorld()
    await run(aCommand({ fence: 1_000 }))
    for (const fence of [999, 1_000]) await world.send(aCommand({ fence, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(1_000)
    expect(world.outcomes().slice(1)).toMatchObject([{ refusedBy: 'fence' }, { refusedBy: 'fence' }])
    expect(world.driver.orders).toHaveLength(1)
  })
  it('repeats the idempotency key of another command', async () => {
    world = aWorld()
    const steps = [aStep('restart')]
    await run(aCommand({ steps }))
    await world.send(aCommand({ steps, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(1_000)
    expect(world.outcomes()[1]).toMatchObject({ refusedBy: 'idempotency_key' })
    expect(actions(world)).toEqual([1])
  })

  it('meets a kill switch, also one that was set before the actuator started', async () => {
    for (const scope of ['global', `environment/${ENVIRONMENT}`, 'policy/default']) {
      world = aWorld()
      await world.say({ kind: 'kill_switch', scope, on: true, reason: 'freeze', atMs: START_MS, by: 'kim' })
      const outcomes = await run()
      expect(outcomes).toMatchObject([{ verdict: 'refused', refusedBy: 'kill_switch', begunAtMs: null }])
      expect(world.driver.orders).toEqual([])
      await world.worker.close()
    }
  })
  it('but not one that was switched off again or is for another policy', async () => {
    world = aWorld()
    healsAfter(0)
    await world.say({ kind: 'kill_switch', scope: 'policy/other', on: true, reason: 'x', atMs: START_MS, by: 'kim' })
    await world.say({ kind: 'kill_switch', scope: 'global', on: true, reason: 'x', atMs: START_MS, by: 'kim' })
    await world.say({ kind: 'kill_switch', scope: 'global', on: false, reason: 'x', atMs: START_MS + 1, by: 'kim' })
    expect(await run()).toMatchObject([{ verdict: 'healed' }])
  })
})

describe('delivery', () => {
  it('a redelivered command does not run twice and has one outcome', async () => {
    world = aWorld()
    healsAfter(0)
    const command = aCommand()
    await world.send(command)
    await run(command)
    await world.send(command)
    await world.clock.advance(10_000)
    expect(world.outcomes()).toHaveLength(1)
    expect(actions(world)).toEqual([1])
    expect(world.counts.get('act.commands.duplicate')).toBe(2)
  })

  it('a forged command of the same id does not stand in the way of the real one', async () => {
    world = aWorld()
    healsAfter(0)
    const command = aCommand()
    await world.send({ ...command, cost: 0 })
    const outcomes = await run(command)
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
    healsAfter(0)
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
