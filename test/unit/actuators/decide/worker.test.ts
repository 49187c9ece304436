// The decide and diagnose workers on a log: the loop closes, and a crash neither doubles nor loses a decision.

import { expect, test } from 'vitest'
import type { DecideState } from '../../../../actuators/decide/state.ts'
import { commandVerifier } from '../../../../actuators/execute/signer.ts'
import { anomalyRecord } from '../../../../schemas/anomaly.ts'
import { controlRecord } from '../../../../schemas/control.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { deadLetterTopic, TOPICS } from '../../../../schemas/topics.ts'
import { absence, absenceAtOnce, closing } from '../../detectors/diagnose/builders.ts'
import { killSwitch, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'
import { rig, signer } from './worker-rig.ts'

const SILENT = absenceAtOnce('lab/orders@orders-1', 'process.memory.usage')

test('an anomaly becomes an incident, a decision, a signed command; the healed outcome and the closed anomaly resolve it', async () => {
  const { open, put, settle, incidents, decisions, commands, answer, pages } = rig()
  const workers = await open()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_500)
  expect(commands()).toHaveLength(1)
  expect(commandVerifier({ keys: { [signer.keyId]: signer.publicKeyPem } }).verify(commands()[0]!)).toBeUndefined()
  expect(incidents().at(-1)).toMatchObject({ status: 'acting', attempts: 1 })
  await settle(10_000)
  await answer('healed')
  await put(TOPICS.anomalies.name, anomalyRecord, closing(SILENT, 12))
  await settle(30_000)
  expect(incidents().at(-1)).toMatchObject({ status: 'resolved', resolution: 'remediated' })
  expect(decisions().map(decision => decision.outcome)).toEqual(['act'])
  expect(pages).toEqual([])
  await workers.close()
  await workers.close()
})

test('what is saved of the last decision is what is asked again, without its guards', async () => {
  const { open, put, settle, decisions, checkpoints } = rig()
  const workers = await open()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_500)
  const { policy, runbook, target, commandId, decidedAtMs, incidentId } = decisions()[0]!
  const saved = (await checkpoints.load('decide'))!.parts.get('state')!
  const { inner } = JSON.parse(Buffer.from(saved).toString()) as { inner: DecideState }
  expect(inner.watches[incidentId]!.last).toEqual({ policy, runbook, target, commandId, decidedAtMs })
  await workers.close()
})

test('a restart goes on where it was: budgets, fences and answers are kept, nothing is decided twice', async () => {
  const { open, put, settle, decisions, commands, answer, pages, clock } = rig()
  let workers = await open()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_000)
  await workers.close()
  workers = await open()
  await settle(5_000)
  expect(commands()).toHaveLength(1)
  await answer('ineffective')
  await settle(2_000)
  await workers.close()
  workers = await open()
  await settle(5_000)
  expect(commands()).toHaveLength(2)
  expect(commands()[1]!.fence).toBeGreaterThan(commands()[0]!.fence)
  await answer('ineffective')
  await settle(60_000)
  await workers.close()
  workers = await open()
  await settle(60_000)
  expect(decisions().map(decision => decision.outcome)).toEqual(['act', 'blocked', 'act', 'escalate'])
  expect(pages).toHaveLength(1)
  expect(clock.sleeping).toBeGreaterThan(0)
  await workers.close()
})

test('policies that change are in force for open incidents: at once, after a restart, and once', async () => {
  const { open, put, settle, decisions, commands } = rig()
  const watching = policySet(policyYaml(), runbookYaml())
  const asking = policySet(policyYaml('autonomy: approve'), runbookYaml())
  const acting = policySet(policyYaml('autonomy: auto'), runbookYaml())
  let workers = await open(watching)
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(2_000)
  await workers.decide.usePolicies(asking)
  await settle(2_000)
  await workers.close()
  workers = await open(asking)
  await settle(2_000)
  await workers.close()
  workers = await open(acting) // Changed while nothing ran.
  await settle(2_000)
  await workers.close()
  workers = await open(acting)
  await settle(2_000)
  const versions = [watching, asking, acting].map(set => set.policies[0]!.version)
  expect(decisions().map(({ outcome, policyVersion }) => [outcome, policyVersion])).toEqual([
    ['would_act', versions[0]],
    ['ask', versions[1]],
    ['act', versions[2]]
  ])
  expect(commands()).toHaveLength(1)
  await workers.close()
})

test('a crash at any moment around a change of policies decides each once', async () => {
  for (let survivors = 1; survivors < 8; survivors++) {
    const { open, put, settle, decisions, commands, checkpoints } = rig('')
    const acting = policySet(policyYaml('autonomy: auto'), runbookYaml())
    const first = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(2_000)
    await first.decide.usePolicies(acting)
    await settle(1_000)
    await first.close()
    checkpoints.rewind(survivors)
    const second = await open(acting)
    await settle(3_000)
    expect(new Set(commands().map(({ id }) => id)).size, `after ${survivors} saves`).toBe(1)
    const [acted] = decisions().filter(({ outcome }) => outcome === 'act')
    expect(acted!.policyVersion).toBe(acting.policies[0]!.version)
    await second.close()
  }
})

test('a crash after every write repeats ids and decides nothing anew', async () => {
  // Harsher than the disk: only the first saves survive, though what was published after the lost ones stays in the log.
  for (let survivors = 0; survivors < 8; survivors++) {
    const { open, put, settle, commands, decisions, incidents, checkpoints } = rig()
    const first = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(3_000)
    await first.close()
    checkpoints.rewind(survivors)
    const second = await open()
    await settle(3_000)
    expect(new Set(commands().map(command => command.id)).size, `after ${survivors} saves`).toBe(1)
    expect(new Set(commands().map(command => command.steps[0]!.idempotencyKey)).size).toBe(1)
    expect(new Set(decisions().map(decision => decision.id)).size).toBe(1)
    expect(new Set(incidents().map(incident => incident.id)).size).toBe(1)
    await second.close()
  }
})

test('what cannot be written now is written later, once', async () => {
  const { open, put, settle, log, commands, decisions } = rig()
  const workers = await open()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  log.failAppends(new AppError('log_unavailable', 'the broker is away'))
  await new Promise(resolve => setImmediate(resolve))
  log.failAppends(undefined)
  await settle(5_000)
  expect(commands()).toHaveLength(1)
  expect(decisions()).toHaveLength(1)
  await workers.close()
})

test('a kill switch on the control topic stops the next decision, turning it off lets it act', async () => {
  const { open, put, settle, commands, decisions } = rig()
  const workers = await open()
  await put(TOPICS.control.name, controlRecord, killSwitch('global', true))
  await settle()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(2_000)
  expect(commands()).toEqual([])
  expect(decisions().at(-1)).toMatchObject({ outcome: 'blocked', blockedBy: ['kill_switch'] })
  await put(TOPICS.control.name, controlRecord, killSwitch('global', false, T0 + 5_000))
  await settle(1_000)
  expect(commands()).toHaveLength(1)
  await workers.close()
})

test('a page waits for a channel that is down, across a restart, and goes out once', async () => {
  const { open, put, settle, answer, pages, failPages } = rig('autonomy: auto\nattempts: {max: 1, window: 1h}')
  let workers = await open()
  failPages(true)
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_000)
  await answer('ineffective')
  await settle(10_000)
  expect(pages).toEqual([])
  await workers.close()
  failPages(false)
  workers = await open()
  await settle(10_000)
  expect(pages).toHaveLength(1)
  await settle(60_000)
  expect(pages).toHaveLength(1)
  await workers.close()
})

test('a record that cannot be read goes to the dead letters and stops nothing', async () => {
  const { open, put, settle, log, commands } = rig()
  const workers = await open()
  await log.append(TOPICS.anomalies.name, [{ key: 'lab', value: new TextEncoder().encode('{'), headers: { ce_type: 'homeostat.anomaly.v1' } }])
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(2_000)
  expect(log.records(deadLetterTopic(TOPICS.anomalies.name))).toHaveLength(1)
  expect(commands()).toHaveLength(1)
  await workers.close()
})

test('a storm that arrives at once is one incident and one record of it', async () => {
  const { open, put, settle, incidents } = rig('autonomy: observe')
  const storm = Array.from({ length: 200 }, (_, index) => absence(`lab/orders@orders-${index}`, 'telemetry', { atS: index % 5 }))
  await put(TOPICS.anomalies.name, anomalyRecord, ...storm)
  const workers = await open()
  await settle()
  expect(incidents()).toHaveLength(1)
  expect(incidents()[0]!.members.length + incidents()[0]!.membersOmitted).toBe(200)
  await workers.close()
})

test('healthy ticks write no checkpoint', async () => {
  const { open, settle, checkpoints } = rig()
  const workers = await open()
  await settle(60_000)
  expect(checkpoints.saves()).toBe(0)
  await workers.close()
})
