// Decide without a checkpoint: its state is rebuilt from what was published, and hears nothing of it a second time.

import { expect, test } from 'vitest'
import { anomalyRecord } from '../../../../schemas/anomaly.ts'
import { type Control, controlRecord } from '../../../../schemas/control.ts'
import { incidentRecord } from '../../../../schemas/incident.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { absenceAtOnce } from '../../detectors/diagnose/builders.ts'
import { anIncident, killSwitch, policySet, policyYaml, T0 } from './builders.ts'
import { group, memberNames, stagedYaml } from './stages-world.ts'
import { rig } from './worker-rig.ts'

const SILENT = absenceAtOnce('lab/orders@orders-1', 'process.memory.usage')

test('without a checkpoint the state is rebuilt from what was published', async () => {
  const { open, put, settle, commands, decisions, answer, checkpoints, pages } = rig()
  let workers = await open()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_000)
  await answer('ineffective')
  await settle(20_000)
  await answer('ineffective')
  await settle(20_000)
  expect(decisions().map(decision => decision.outcome)).toEqual(['act', 'blocked', 'act', 'escalate'])
  await workers.close()
  checkpoints.rewind(0)
  workers = await open()
  await settle(60_000)
  expect(commands()).toHaveLength(2)
  expect(decisions()).toHaveLength(4)
  expect(pages).toHaveLength(1)
  await workers.close()
})

test('a rebuilt state knows who was called for what stays blocked: not again, and its end is told', async () => {
  const { open, put, settle, decisions, checkpoints, pages } = rig('autonomy: auto\nevidence: {causeScoreMin: 1}\nescalate: {blockedFor: 10s}')
  const incident = anIncident()
  await put(TOPICS.incidents.name, incidentRecord, incident)
  let workers = await open()
  await settle(15_000)
  expect(decisions().map(({ calledPeople }) => calledPeople)).toEqual([false, true])
  await workers.close()
  checkpoints.rewind(0)
  workers = await open()
  await settle(30_000)
  await put(TOPICS.incidents.name, incidentRecord, { ...incident, version: 100, status: 'resolved', resolution: 'self_healed', resolvedAtMs: T0 })
  await settle(5_000)
  expect(pages.map(({ action, dedupKey }) => [action, dedupKey])).toEqual([
    ['trigger', incident.id],
    ['resolve', incident.id]
  ])
  await workers.close()
})

test('a rebuilt state goes on counting how long an incident has been blocked', async () => {
  const { open, put, settle, checkpoints, pages } = rig('autonomy: auto\nevidence: {causeScoreMin: 1}\nescalate: {blockedFor: 60s}')
  await put(TOPICS.incidents.name, incidentRecord, anIncident())
  let workers = await open()
  await settle(40_000)
  await workers.close()
  checkpoints.rewind(0)
  workers = await open()
  await settle(15_000)
  expect(pages).toEqual([])
  await settle(10_000)
  expect(pages.map(({ action }) => action)).toEqual(['trigger'])
  await workers.close()
})

test('a rebuilt state keeps what was promised: people are called later about a target that they knew of', async () => {
  const { open, put, settle, answer, decisions, checkpoints, pages } = rig('autonomy: auto\nattempts: {max: 1, window: 1h}\nescalate: {blockedFor: 60s}')
  let workers = await open()
  const first = anIncident()
  await put(TOPICS.incidents.name, incidentRecord, first)
  await settle(1_000)
  await answer('ineffective')
  await settle(1_000)
  await put(TOPICS.incidents.name, incidentRecord, { ...first, version: 100, status: 'resolved', resolution: 'self_healed', resolvedAtMs: T0 })
  await put(TOPICS.incidents.name, incidentRecord, anIncident({ id: 'incident-2', openedAtMs: T0 + 3_000 }))
  await settle(1_000)
  expect(decisions().at(-1)).toMatchObject({ incidentId: 'incident-2', outcome: 'escalate', calledPeople: false })
  const called = () => pages.filter(({ dedupKey }) => dedupKey === 'incident-2').map(({ action }) => action)
  await workers.close()
  checkpoints.rewind(0)
  workers = await open()
  await settle(30_000)
  expect(called()).toEqual([])
  await settle(40_000)
  expect(called()).toEqual(['trigger'])
  await workers.close()
})

test('a rebuilt state goes on with what a person released after automation had given up', async () => {
  const { open, put, settle, answer, decisions, checkpoints, clock } = rig()
  let workers = await open()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_000)
  await answer('unknown')
  await settle(1_000)
  expect(decisions().at(-1)!.outcome).toBe('escalate')
  await put<Control>(TOPICS.control.name, controlRecord, { kind: 'release_target', target: 'lab/orders@orders-1', by: 'ada', atMs: clock.nowMs() })
  await settle(10_000)
  expect(decisions().at(-1)!.outcome).toBe('act')
  await workers.close()
  checkpoints.rewind(0)
  workers = await open()
  await answer('ineffective')
  await settle(60_000)
  expect(decisions().at(-1)).toMatchObject({ outcome: 'escalate', attempt: 3 })
  await workers.close()
})

test('a rebuilt state hears no word twice: a kill switch that was off in between stays on', async () => {
  const { open, put, settle, log, commands, decisions, incidents } = rig()
  await put(TOPICS.incidents.name, incidentRecord, anIncident())
  await put(TOPICS.control.name, controlRecord, killSwitch('global', true), killSwitch('global', false, T0 + 1), killSwitch('global', true, T0 + 2))
  const workers = await open()
  await settle(5_000)
  expect(commands()).toEqual([])
  expect(decisions().map(decision => decision.blockedBy)).toEqual([['kill_switch']])
  const group = (await log.groups()).filter(({ group }) => group === 'homeostat-decide')
  expect(group.map(({ topic, committed }) => [topic, committed])).toEqual(
    expect.arrayContaining([
      [TOPICS.control.name, 3],
      [TOPICS.incidents.name, incidents().length]
    ])
  )
  await workers.close()
})

test('a rebuilt state holds the newest of what was published twice, and nothing that is over', async () => {
  const { open, put, settle, commands, decisions } = rig()
  const [first, second] = [anIncident({ id: 'first' }), anIncident({ id: 'second' })]
  await put(TOPICS.incidents.name, incidentRecord, first, { ...first, version: first.version + 1, status: 'resolved', resolvedAtMs: T0 }, first)
  const newer = { ...second, version: second.version + 1, healedAtMs: T0 }
  await put(TOPICS.incidents.name, incidentRecord, second, newer, second)
  const workers = await open()
  await put(TOPICS.incidents.name, incidentRecord, first) // A straggler.
  await settle(5_000)
  expect(decisions()).toEqual([])
  expect(commands()).toEqual([])
  await workers.close()
})

test('a rebuilt quarantine outlives a release from before the harm, and ends with one from after it', async () => {
  for (const isReleased of [false, true]) {
    const { open, put, settle, decisions, answer, checkpoints, clock } = rig()
    const release = (): Promise<void> =>
      put<Control>(TOPICS.control.name, controlRecord, { kind: 'release_target', target: 'lab/orders@orders-1', by: 'ada', atMs: clock.nowMs() })
    const workers = await open()
    await release()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(1_000)
    await answer('harmful')
    await settle(1_000)
    expect(decisions().map(decision => decision.outcome)).toEqual(['act', 'escalate'])
    await workers.close()
    if (isReleased) await release()
    checkpoints.rewind(0)
    const rebuilt = await open()
    await settle(60_000)
    await put(TOPICS.incidents.name, incidentRecord, anIncident({ openedAtMs: clock.nowMs() }))
    await settle(1_000)
    const guard = decisions()
      .findLast(decision => decision.incidentId === 'incident-1')!
      .guards.find(({ guard }) => guard === 'target_frozen')!
    expect(guard.inputs.quarantinedSinceMs).toEqual(isReleased ? null : expect.any(Number))
    // What was given up is judged again after the release only.
    expect(decisions().filter(decision => decision.incidentId !== 'incident-1').length > 2).toBe(isReleased)
    await rebuilt.close()
  }
})

test('a level that harm cost is still lost when the checkpoint is, and what a person gave back stays given', async () => {
  for (const isGranted of [false, true]) {
    const { open, put, settle, decisions, answer, checkpoints, clock } = rig()
    let workers = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(1_000)
    await answer('harmful')
    await settle(1_000)
    if (isGranted)
      await put<Control>(TOPICS.control.name, controlRecord, { kind: 'autonomy', policy: 'orders', reason: 'repaired', by: 'ada', atMs: clock.nowMs() })
    await settle(1_000)
    await workers.close()
    checkpoints.rewind(0)
    workers = await open()
    await put<Control>(TOPICS.control.name, controlRecord, { kind: 'release_target', target: 'lab/orders@orders-1', by: 'ada', atMs: clock.nowMs() })
    await settle(30_000)
    expect(decisions().at(-1)!.outcome).toBe(isGranted ? 'act' : 'ask')
    expect(
      decisions()
        .at(-1)!
        .guards.find(guard => guard.guard === 'autonomy')!.inputs
    ).toMatchObject({
      demotions: isGranted ? 0 : 1,
      level: isGranted ? 'auto' : 'approve'
    })
    await workers.close()
  }
})

test('a rollout is not gone on with by a state that was rebuilt: how far it came is not known, and people have it', async () => {
  const { open, put, settle, commands, decisions, answer, checkpoints, pages, incidents } = rig()
  const policies = policySet(policyYaml('autonomy: auto', 'orders', 'cause.service == "orders"', '[staged]'), stagedYaml())
  let workers = await open(policies)
  await put(TOPICS.control.name, controlRecord, group(memberNames(3)))
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  await settle(1_000)
  expect(commands().map(({ rollout }) => rollout?.stage)).toEqual([1])
  await workers.close()
  checkpoints.rewind(0)
  workers = await open(policies)
  await answer('healed')
  await settle(200_000) // Diagnose believes it for its grace, then the sign that stays says otherwise.
  expect(commands()).toHaveLength(1)
  expect(incidents().at(-1)!.healedAtMs).toBeNull()
  expect(decisions().at(-1)).toMatchObject({ outcome: 'escalate', reason: expect.stringContaining('how far it came is not known') })
  expect(pages).toHaveLength(1)
  await workers.close()
})
