import { afterEach, describe, expect, it } from 'vitest'
import { NO_HOLDS } from '../../../../schemas/command.ts'
import type { Control } from '../../../../schemas/control.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../../../schemas/incident.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { anIncident, aMember } from '../decide/builders.ts'
import { aCommand, aStep, aWorld, ENVIRONMENT, healsAfter, runOne, START_MS, TARGET, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

const window = (over: Partial<Extract<Control, { kind: 'maintenance' }>> = {}): Control => ({
  ...{ kind: 'maintenance', id: 'move', match: TARGET, fromMs: START_MS - 1_000, toMs: START_MS + 600_000, by: 'kim', atMs: START_MS - 1_000 },
  ...over
})
const change = (over: Partial<Extract<Control, { kind: 'change' }>> = {}): Control => ({
  ...{ kind: 'change', id: 'c1', environment: ENVIRONMENT, target: 'shop/orders', actor: 'argo', what: 'deploy', by: 'argo' },
  ...{ fromMs: START_MS - 1_000, toMs: null, atMs: START_MS - 1_000 },
  ...over
})
const tell = (incident: Incident) => world.log.append(TOPICS.incidents.name, [encodeRecord(incidentRecord, incident)])

async function refusedBy(by: string, command = aCommand()) {
  const outcomes = await runOne(world, command)
  expect(outcomes).toMatchObject([{ verdict: 'refused', refusedBy: by, begunAtMs: null, cost: 0 }])
  expect(world.driver.orders).toEqual([])
  return outcomes[0]!.reason
}
async function acts(command = aCommand()) {
  healsAfter(world, 0)
  expect(await runOne(world, command)).toMatchObject([{ verdict: 'healed' }])
}

describe('maintenance that was announced after the decision', () => {
  it('stops the act and is named, also when all of the environment is meant', async () => {
    for (const match of [TARGET, ENVIRONMENT, '*', `cause.signature == "latency"`]) {
      world = aWorld()
      await world.say(window({ match }))
      expect(await refusedBy('maintenance_window'), match).toContain('kim announced maintenance "move"')
      await world.worker.close()
    }
  })
  it('stops a step that acts on another target than its command', async () => {
    world = aWorld()
    await world.say(window({ match: 'shop/db@db-1' }))
    await refusedBy(
      'maintenance_window',
      aCommand({ steps: [aStep('restart', { action: { driver: 'fake', verb: 'restart', target: 'shop/db@db-1', args: {} } })] })
    )
  })
  it('that begins between an act and its undo holds the undo, and the outcome says so', async () => {
    world = aWorld()
    world.driver.onEffect = () => void world.say(window({ fromMs: START_MS, atMs: START_MS }))
    const [outcome] = await runOne(world, aCommand({ steps: [aStep('restart', { undo: { driver: 'fake', verb: 'revert', args: {} } })] }))
    expect(world.driver.orders.map(({ verb }) => verb)).toEqual(['restart'])
    expect(outcome).toMatchObject({ verdict: 'ineffective', steps: [{ undo: 'failed' }] })
    expect(outcome!.reason).toContain('maintenance "move"')
  })
  it('does not stop it when it is over, has not begun, was shortened or is of something else', async () => {
    for (const other of [{ toMs: START_MS }, { fromMs: START_MS + 300_000 }, { match: 'shop/payments' }]) {
      world = aWorld()
      await world.say(window())
      await world.say(window(other))
      await acts()
      await world.worker.close()
    }
  })
  it('stops a command that came before it and waits behind another', async () => {
    world = aWorld({ options: { config: { concurrencyMax: 1 } } })
    await world.worker.start()
    await world.send(aCommand())
    await world.send(aCommand({ target: 'shop/orders@orders-2', expiresAtMs: START_MS + 600_000 }))
    await world.clock.advance(5_000)
    await world.say(window({ match: 'shop/orders@orders-2' }))
    await world.clock.advance(120_000)
    expect(world.outcomes()).toMatchObject([{ target: TARGET }, { target: 'shop/orders@orders-2', refusedBy: 'maintenance_window' }])
    expect(world.driver.orders.map(({ target }) => target)).toEqual([TARGET])
  })
})

it("a window of the policy's own that opens between decision and act stops the act: it travels in the signed command", async () => {
  world = aWorld()
  const begins = new Date(START_MS - 60_000)
  const schedule = `${begins.getUTCMinutes()} ${begins.getUTCHours()} * * *`
  const maintenanceWindows = [{ schedule, duration: 3_600_000, timezone: 'UTC' }]
  expect(await refusedBy('maintenance_window', aCommand({ holds: { ...NO_HOLDS, maintenanceWindows } }))).toContain(schedule)
})

describe('a deploy that began after the decision', () => {
  const during = (mode: 'wait' | 'ask' | 'allow') => aCommand({ holds: { ...NO_HOLDS, deploys: { during: mode, settle: 60_000 } } })
  it('stops the act, also while it settles, unless the policy allows it', async () => {
    for (const toMs of [null, START_MS - 30_000]) {
      world = aWorld()
      await world.say(change({ toMs }))
      expect(await refusedBy('deploy_window', during('wait'))).toContain('argo is deploying shop/orders')
      await world.worker.close()
    }
    world = aWorld()
    await world.say(change())
    await acts(during('allow'))
  })
  it('was in the question that people answered when it began before, else not', async () => {
    world = aWorld()
    await world.say(change())
    await acts(during('ask'))
    await world.worker.close()
    world = aWorld()
    await world.say(change({ atMs: START_MS + 1 }))
    await refusedBy('deploy_window', during('ask'))
  })
})

describe("another's hand on the target", () => {
  const command = () => aCommand({ holds: { ...NO_HOLDS, ownership: { handsOff: 600_000, revertWindow: 86_400_000 } } })
  it('stops the act while the hands-off period lasts; a release ends it', async () => {
    world = aWorld()
    await world.say(change({ what: 'manual', actor: 'ada', toMs: START_MS - 1_000 }))
    expect(await refusedBy('ownership', command())).toContain('ada changed shop/orders')
    await world.worker.close()
    world = aWorld()
    await world.say(change({ what: 'manual', actor: 'ada', toMs: START_MS - 1_000 }))
    await world.say({ kind: 'release_target', target: 'shop/orders', by: 'ada', atMs: START_MS })
    await acts(command())
  })
  it('that undid us twice stops the act for good, by name', async () => {
    world = aWorld()
    for (const id of ['r1', 'r2']) await world.say(change({ id, what: 'revert', toMs: START_MS - 5_000_000, fromMs: START_MS - 5_000_000 }))
    expect(await refusedBy('ownership', command())).toContain('argo undid')
  })
})

describe('an incident that is over before the act begins calls it off:', () => {
  const command = aCommand()
  const incident = (over: Partial<Incident>) => anIncident({ id: command.incidentId, environment: ENVIRONMENT, ...over })
  it('resolved', async () => {
    world = aWorld()
    await tell(incident({ version: 2, status: 'resolved', resolution: 'self_healed' }))
    expect(await refusedBy('cleared', command)).toContain('is resolved')
  })
  it('every anomaly closed, or those of the target', async () => {
    world = aWorld()
    await tell(incident({ version: 2, members: [aMember({ closedAtMs: START_MS })] }))
    expect(await refusedBy('cleared', command)).toContain('no anomaly')
    await world.worker.close()
    world = aWorld()
    const [cause] = anIncident().causes
    await tell(incident({ version: 2, causes: [{ ...cause!, entity: TARGET, open: false }] }))
    expect(await refusedBy('cleared', command)).toContain('have closed')
  })
  it('but not by an older record, nor by one of another incident', async () => {
    world = aWorld()
    await tell(incident({ version: 3 }))
    await tell(incident({ version: 2, status: 'resolved', resolution: 'self_healed' }))
    await tell(incident({ id: 'another', version: 9, status: 'resolved', resolution: 'self_healed' }))
    await acts(command)
  })
  it('and neither does it stop the undo of what was done, nor the heavier step when it is open still', async () => {
    world = aWorld()
    const steps = [aStep('restart', { undo: { driver: 'fake', verb: 'revert', args: {} } })]
    const undone = aCommand({ steps })
    world.driver.onEffect = () =>
      void tell(anIncident({ id: undone.incidentId, environment: ENVIRONMENT, version: 9, status: 'resolved', resolution: 'self_healed' }))
    await runOne(world, undone)
    expect(world.driver.orders.map(({ verb }) => verb)).toEqual(['restart', 'revert'])
  })
})

describe('raw signals', () => {
  const member = { entity: TARGET, metric: 'latency', attributes: {}, direction: 'above', closedAtMs: null, observed: 900, expected: 50 }
  const alarmed = (over = {}) => aCommand({ incident: { severity: 'critical', members: [{ ...member, ...over }] }, startedAtMs: START_MS - 8_000 })
  it('that contradict the alarm call the act off', async () => {
    world = aWorld()
    world.health(START_MS - 20_000, 60)
    expect(await refusedBy('evidence', alarmed())).toContain('mean of latency over 9 samples is 60')
  })
  it('that confirm it, say nothing of it or come from before it do not', async () => {
    for (const [latencyMs, over] of [
      [900, {}],
      [undefined, {}],
      [60, { metric: 'errors' }],
      [60, { observed: 65, expected: 20 }]
    ] as const) {
      world = aWorld()
      world.health(START_MS - 20_000, latencyMs)
      await runOne(world, alarmed(over))
      expect(world.driver.orders, JSON.stringify([latencyMs, over])).toHaveLength(1)
      await world.worker.close()
    }
    // What comes and goes is no contradiction, nor what was well before.
    for (const ill of [
      [8_000, 0],
      [8_000, 7_000]
    ] as const) {
      world = aWorld()
      world.health(START_MS - 20_000, 60)
      world.health(START_MS - ill[0], 900)
      world.health(START_MS - ill[1], ill[1] === 0 ? 900 : 60)
      await runOne(world, alarmed({ observed: 5_000 }))
      expect(world.driver.orders, ill.join()).toHaveLength(1)
      await world.worker.close()
    }
  })
})
