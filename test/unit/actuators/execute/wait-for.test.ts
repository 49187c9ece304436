// A step that waits: nothing is done before its condition holds, nothing at all when it does not hold in time.

import { afterEach, expect, it } from 'vitest'
import { actWorker } from '../../../../actuators/execute/executor.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { incidentRecord } from '../../../../schemas/incident.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { anIncident } from '../decide/builders.ts'
import { aCommand, actions, aStep, aWorld, ENVIRONMENT, fakeDriver, healsAfter, outcomesOf, runOne, START_MS, type World } from './world.ts'

let world: World
afterEach(() => world.worker.close())

const TIMEOUT_MS = 120_000
const tcp = { name: 'dependency', type: 'tcp', address: '127.0.0.1:5432', timeout: 1_000 } as const

/** A world in which the dependency answers from `atMs` after the start on. */
function aWorldAnswering(fromMs: number): World {
  const made = aWorld({
    options: {
      tcpProbe: async () => {
        if (made.clock.nowMs() < START_MS + fromMs) throw new AppError('timeout', 'no answer within 1000 ms')
      }
    }
  })
  healsAfter(made, 1_000)
  return made
}

const aWaitingCommand = () => aCommand({ steps: [aStep('restart', { waitFor: { timeout: TIMEOUT_MS, checks: [tcp] } })] })

it('acts once what it waits for holds, and says how long it waited', async () => {
  world = aWorldAnswering(70_000)
  await world.worker.start()
  await world.send(aWaitingCommand())
  await world.clock.advance(69_000) // Past the expiry of the command: it began to wait in time.
  expect(world.driver.orders).toEqual([])
  expect(world.outcomes()).toEqual([])
  await world.clock.advance(60_000)
  const [outcome] = world.outcomes()
  expect(outcome).toMatchObject({ verdict: 'healed', refusedBy: null })
  expect(outcome!.steps).toMatchObject([{ result: 'applied', waited: { sinceMs: START_MS, untilMs: START_MS + 70_000 } }])
  expect(actions(world)).toEqual([1])
})

it('gives up at its timeout without having done anything', async () => {
  world = aWorldAnswering(Number.POSITIVE_INFINITY)
  const [outcome] = await runOne(world, aWaitingCommand(), TIMEOUT_MS + 5_000)
  expect(outcome).toMatchObject({ verdict: 'refused', refusedBy: 'wait_for', begunAtMs: null, cost: 0, escalated: false })
  expect(outcome!.reason).toContain('waited 120 s in vain for dependency (no answer: no answer within 1000 ms)')
  expect(outcome!.steps).toMatchObject([{ result: 'refused', waited: { sinceMs: START_MS } }])
  expect(world.driver.orders).toEqual([])
  expect(world.pages).toEqual([])
})

it('does not take what cannot be known for what it waits for', async () => {
  world = aWorld()
  const unseen = { name: 'unseen', type: 'state', driver: 'absent', expect: 'facts.state == "running"' } as const
  const steps = [aStep('restart', { waitFor: { timeout: 10_000, checks: [unseen] } })]
  const [outcome] = await runOne(world, aCommand({ steps }), 20_000)
  expect(outcome).toMatchObject({ refusedBy: 'wait_for' })
  expect(world.driver.orders).toEqual([])
})

it('ends the wait when the kill switch is on', async () => {
  world = aWorldAnswering(Number.POSITIVE_INFINITY)
  await world.worker.start()
  await world.send(aWaitingCommand())
  await world.clock.advance(10_000)
  await world.say({ kind: 'kill_switch', scope: `environment/${ENVIRONMENT}`, on: true, reason: 'drill', by: 'ann', atMs: world.clock.nowMs() })
  await world.clock.advance(2_000)
  expect(world.outcomes()).toMatchObject([{ verdict: 'refused', refusedBy: 'kill_switch' }])
  expect(world.driver.orders).toEqual([])
})

it('ends the wait when the incident is over: there is nothing left to act upon', async () => {
  world = aWorldAnswering(Number.POSITIVE_INFINITY)
  const command = aWaitingCommand()
  await world.worker.start()
  await world.send(command)
  await world.clock.advance(10_000)
  const resolved = anIncident({ id: command.incidentId, environment: ENVIRONMENT, version: 2, status: 'resolved', resolution: 'self_healed' })
  await world.log.append(TOPICS.incidents.name, [encodeRecord(incidentRecord, resolved)])
  await world.clock.advance(3_000)
  expect(world.outcomes()).toMatchObject([{ verdict: 'refused', refusedBy: 'cleared', steps: [{ waited: { sinceMs: START_MS } }] }])
  expect(world.driver.orders).toEqual([])
})

it('goes on with the same wait after a crash, neither longer nor anew', async () => {
  world = aWorldAnswering(Number.POSITIVE_INFINITY)
  await world.worker.start()
  await world.send(aWaitingCommand())
  await world.clock.advance(100_000)
  await world.worker.close()
  expect(outcomesOf(world.log)).toEqual([])
  const next = actWorker(world.options)
  await next.start()
  await world.clock.advance(TIMEOUT_MS - 100_000 + 1_000)
  expect(world.outcomes()).toMatchObject([{ refusedBy: 'wait_for', steps: [{ waited: { sinceMs: START_MS } }] }])
  await next.close()
})

it('is not lengthened by a clock that is set back', async () => {
  world = aWorldAnswering(Number.POSITIVE_INFINITY)
  await world.worker.start()
  await world.send(aWaitingCommand())
  await world.clock.advance(10_000)
  world.clock.setWallMs(world.clock.nowMs() - 3_600_000)
  await world.clock.advance(TIMEOUT_MS)
  expect(world.outcomes()).toMatchObject([{ refusedBy: 'wait_for' }])
})

it('is for the step that has it: the next step begins in the time that the wait left it', async () => {
  world = aWorld({ driver: fakeDriver() })
  world.driver.onEffect = order => order.verb === 'heavy' && world.health(world.clock.nowMs(), 60)
  const steps = [aStep('restart', { waitFor: { timeout: TIMEOUT_MS, checks: [tcp] } }), aStep('heavy')]
  const [outcome] = await runOne(world, aCommand({ steps }))
  expect(outcome!.steps).toMatchObject([
    { verdict: 'ineffective', waited: { sinceMs: START_MS, untilMs: START_MS } },
    { verdict: 'healed', waited: null }
  ])
})
