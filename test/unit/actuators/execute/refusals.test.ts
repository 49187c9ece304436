import { afterEach, describe, expect, it } from 'vitest'
import { commandVerifier } from '../../../../actuators/execute/signer.ts'
import { aCommand, actions, aStep, aWorld, ENVIRONMENT, healsAfter, runOne, START_MS, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

describe('a command is refused, without effect and with one outcome, when it', () => {
  const refused = async (command: ReturnType<typeof aCommand>, by: string) => {
    const outcomes = await runOne(world, command)
    expect(outcomes).toMatchObject([{ commandId: command.id, verdict: 'refused', refusedBy: by, steps: [], cost: 0 }])
    expect(world.driver.orders).toEqual([])
    expect(world.pages).toEqual([])
  }
  /** Its outcome names no command, incident or decision: whoever waits for those must not take it for theirs. */
  const forged = async (command: ReturnType<typeof aCommand>, by: string) => {
    const outcomes = await runOne(world, command)
    expect(outcomes).toMatchObject([{ verdict: 'refused', refusedBy: by, steps: [], cost: 0, reason: expect.stringContaining(command.id) }])
    const { id, commandId, incidentId, decisionId } = outcomes[0]!
    expect([commandId, incidentId, decisionId]).toEqual([id, id, id])
    expect(world.driver.orders).toEqual([])
    expect(world.pages).toEqual([])
  }

  it('is not signed', async () => {
    world = aWorld()
    await forged({ ...aCommand(), signature: '' }, 'signature')
  })
  it('is signed by a key that nobody knows', async () => {
    world = aWorld({ options: { verifier: commandVerifier({ keys: {} }) } })
    await forged(aCommand(), 'key_id')
  })
  it('was changed after it was signed', async () => {
    world = aWorld()
    await forged({ ...aCommand(), target: 'shop/payments' }, 'signature')
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
    await runOne(world, aCommand({ nonce: 'once' }))
    const orders = world.driver.orders.length
    await world.send(aCommand({ nonce: 'once', expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(1_000)
    expect(world.outcomes()[1]).toMatchObject({ verdict: 'refused', refusedBy: 'nonce' })
    expect(world.driver.orders).toHaveLength(orders)
  })
  it('has a fence that is not newer', async () => {
    world = aWorld()
    await runOne(world, aCommand({ fence: 1_000 }))
    for (const fence of [999, 1_000]) await world.send(aCommand({ fence, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(1_000)
    expect(world.outcomes().slice(1)).toMatchObject([{ refusedBy: 'fence' }, { refusedBy: 'fence' }])
    expect(world.driver.orders).toHaveLength(1)
  })
  it('repeats the idempotency key of another command', async () => {
    world = aWorld()
    const steps = [aStep('restart')]
    await runOne(world, aCommand({ steps }))
    await world.send(aCommand({ steps, expiresAtMs: world.clock.nowMs() + 60_000 }))
    await world.clock.advance(1_000)
    expect(world.outcomes()[1]).toMatchObject({ refusedBy: 'idempotency_key' })
    expect(actions(world)).toEqual([1])
  })

  it('meets a kill switch, also one that was set before the actuator started', async () => {
    for (const scope of ['global', `environment/${ENVIRONMENT}`, 'policy/default']) {
      world = aWorld()
      await world.say({ kind: 'kill_switch', scope, on: true, reason: 'freeze', atMs: START_MS, by: 'kim' })
      const outcomes = await runOne(world)
      expect(outcomes).toMatchObject([{ verdict: 'refused', refusedBy: 'kill_switch', begunAtMs: null }])
      expect(world.driver.orders).toEqual([])
      await world.worker.close()
    }
  })
  it('but not one that was switched off again or is for another policy', async () => {
    world = aWorld()
    healsAfter(world, 0)
    await world.say({ kind: 'kill_switch', scope: 'policy/other', on: true, reason: 'x', atMs: START_MS, by: 'kim' })
    await world.say({ kind: 'kill_switch', scope: 'global', on: true, reason: 'x', atMs: START_MS, by: 'kim' })
    await world.say({ kind: 'kill_switch', scope: 'global', on: false, reason: 'x', atMs: START_MS + 1, by: 'kim' })
    expect(await runOne(world)).toMatchObject([{ verdict: 'healed' }])
  })
})
