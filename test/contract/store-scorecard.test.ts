// Control records in their tables, and M1–M10 computed from them: the figures are worked out by hand here.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { recordRows } from '../../pipeline/store/rows/record-rows.ts'
import { anomalyRecord } from '../../schemas/anomaly.ts'
import { canaryRecord } from '../../schemas/canary.ts'
import { commandRecord } from '../../schemas/command.ts'
import { controlRecord } from '../../schemas/control.ts'
import { decisionRecord } from '../../schemas/decision.ts'
import { encodeRecord, type RecordType } from '../../schemas/envelope.ts'
import { incidentRecord } from '../../schemas/incident.ts'
import { modelRecord } from '../../schemas/model.ts'
import { outcomeRecord } from '../../schemas/outcome.ts'
import { type Edge, edgeRecord } from '../../schemas/topology.ts'
import { playCanary } from '../support/canary-run.ts'
import { aCommand, aDecision, aLabel, aMember, aModel, anAnomaly, anIncident, anOutcome, aStep, INCIDENT_ID, NOW_MS, S } from '../support/store-records.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

let opened: TestStore
let inserts = 0

async function put<T>(type: RecordType<T>, record: T): Promise<void> {
  const input = encodeRecord(type, record)
  const result = recordRows({ value: input.value, headers: input.headers ?? {} })
  if (!result.ok) throw new Error(result.reason)
  for (const { table, row } of result.rows) await opened.store.insert(table, [row], { token: `record-${++inserts}` })
}

async function scorecard(): Promise<Record<string, { value: number | null; met: boolean | null; samples: number }>> {
  const rows = await opened.store.query<{ id: string; value: number | null; met: boolean | null; samples: number }>('SELECT * FROM homeostat_scorecard')
  return Object.fromEntries(rows.map(row => [row.id, row]))
}

beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())
beforeEach(async () => {
  await opened.remove()
  opened = await openTestStore()
})

describe('record tables', () => {
  test('every record type has its table and comes back with its values', async () => {
    const check = { name: 'latency', type: 'metric', result: 'pass', value: 0.2, samples: 9, expect: 'value < 1', detail: '', atMs: NOW_MS } as const
    await put(anomalyRecord, anAnomaly())
    await put(
      outcomeRecord,
      anOutcome('outcome-1', INCIDENT_ID, 'decision-1', { steps: [aStep({ checks: [check, { ...check, result: 'no_data', value: null }], undo: 'undone' })] })
    )
    await put(edgeRecord, { environment: 'lab', source: 'shop/gateway', target: 'shop/orders', instrumented: true, lastSeenMs: NOW_MS } satisfies Edge)
    await put(controlRecord, { kind: 'kill_switch', scope: 'environment/lab', on: true, reason: 'drill', atMs: NOW_MS, by: 'ann' })
    await put(commandRecord, aCommand())
    await put(modelRecord, aModel())
    await put(canaryRecord, playCanary(1, { requestsPerWindow: 50, windows: 40, errorRatio: { canary: 0.3, baseline: 0 } }).record)
    const one = async (sql: string): Promise<unknown> => (await opened.store.query(sql))[0]
    expect(await one('SELECT AnomalyId, Observed, Expected, Attributes, Score, Shadow, Samples FROM homeostat_anomalies')).toEqual({
      AnomalyId: 'anomaly-1',
      Observed: 2,
      Expected: null,
      Attributes: { route: '/cart' },
      Score: 4.5,
      Shadow: false,
      Samples: 100
    })
    expect(await one('SELECT Verdict, ServiceName, TraceId, StepsCount, StepsApplied, StepsUndone FROM homeostat_outcomes')).toEqual({
      Verdict: 'healed',
      ServiceName: 'orders',
      TraceId: INCIDENT_ID,
      StepsCount: 1,
      StepsApplied: 1,
      StepsUndone: 1
    })
    expect(await opened.store.query('SELECT CheckName, Result, Value, Samples FROM homeostat_checks ORDER BY RecordId')).toEqual([
      { CheckName: 'latency', Result: 'pass', Value: 0.2, Samples: 9 },
      { CheckName: 'latency', Result: 'no_data', Value: null, Samples: 9 }
    ])
    expect(await one('SELECT Source, Target, Instrumented FROM homeostat_edges_latest')).toEqual({
      Source: 'shop/gateway',
      Target: 'shop/orders',
      Instrumented: true
    })
    expect(await one(`SELECT Kind, Subject, Environment, Attributes['on'] AS on FROM homeostat_control`)).toEqual({
      Kind: 'kill_switch',
      Subject: 'environment/lab',
      Environment: 'lab',
      on: 'true'
    })
    expect(await one('SELECT CommandId, Fence, StepsCount FROM homeostat_commands')).toEqual({ CommandId: 'command-1', Fence: 7, StepsCount: 0 })
    expect(
      await one(
        'SELECT ServiceName, CanaryVersion, State, Quarantined, CanaryRequests, toBool(ErrorDifferenceLower > 0.02) AS Sure FROM homeostat_canaries_latest'
      )
    ).toEqual({
      ServiceName: 'orders',
      CanaryVersion: '2.0.0',
      State: 'failed',
      Quarantined: true,
      CanaryRequests: 200,
      Sure: true
    })
    expect(await one('SELECT ModelName, Brier, BaselineBrier, HeldOutPositives FROM homeostat_models')).toEqual({
      ModelName: 'failure',
      Brier: 0.1,
      BaselineBrier: 0.2,
      HeldOutPositives: 4
    })
  })

  test('the latest version of an incident is its state, and a record delivered twice is one row that keeps when it was first stored', async () => {
    await put(
      incidentRecord,
      anIncident(INCIDENT_ID, { version: 1, status: 'open', resolution: null, healedAtMs: null, resolvedAtMs: null, updatedAtMs: NOW_MS - 50 * S })
    )
    await put(incidentRecord, anIncident(INCIDENT_ID, { version: 2 }))
    await put(incidentRecord, anIncident(INCIDENT_ID, { version: 2 }))
    const [first] = await opened.store.query<{ at: string }>('SELECT min(StoredAt) AS at FROM homeostat_incidents WHERE Version = 2')
    expect(await opened.store.query('SELECT Version, Status, StoredAt FROM homeostat_incidents_latest')).toEqual([
      { Version: 2, Status: 'resolved', StoredAt: first!.at }
    ])
    expect(await opened.store.query('SELECT count() AS n FROM homeostat_incidents FINAL')).toEqual([{ n: 2 }])
  })
})

describe('the scorecard', () => {
  test('an empty store measures nothing, which is neither good nor bad', async () => {
    const rows = await scorecard()
    expect(Object.keys(rows)).toEqual(['M1', 'M2', 'M3', 'M4', 'M5', 'M6', 'M7', 'M8', 'M9', 'M10'])
    for (const row of Object.values(rows)) expect(row).toMatchObject({ value: null, met: null, samples: 0 })
  })

  test('M1, M2, M5, M6: recovery, automation, start and escalation by incident', async () => {
    await put(incidentRecord, anIncident('i1'))
    await put(decisionRecord, aDecision('d1', 'i1'))
    await put(outcomeRecord, anOutcome('o1', 'i1', 'd1', { escalated: false }))
    // Approved by a person: healed, but not automated. Began 30 s after the opening.
    await put(incidentRecord, anIncident('i2', { healedAtMs: NOW_MS - 80 * S }))
    await put(decisionRecord, aDecision('d2', 'i2', { autonomy: 'approve' }))
    await put(outcomeRecord, anOutcome('o2', 'i2', 'd2', { begunAtMs: NOW_MS - 60 * S }))
    // Handed over, never healed.
    await put(incidentRecord, anIncident('i3', { status: 'escalated', resolution: 'escalated', healedAtMs: null, resolvedAtMs: null }))
    // Still open: counts for escalation only.
    await put(incidentRecord, anIncident('i4', { status: 'open', resolution: null, healedAtMs: null, resolvedAtMs: null }))
    const rows = await scorecard()
    expect(rows.M1).toMatchObject({ samples: 2, met: true })
    expect(rows.M1!.value).toBeCloseTo((60 + 20) / 2, 3)
    expect(rows.M2!.value).toBeCloseTo(1 / 3, 6)
    expect(rows.M2!.met).toBe(true)
    expect(rows.M5).toMatchObject({ samples: 2, met: true })
    expect(rows.M5!.value).toBeCloseTo((10 + 30) / 2, 3)
    expect(rows.M6).toMatchObject({ value: 0.25, samples: 4, met: false })
  })

  test('M3, M7, M8: of the commands that acted', async () => {
    await put(outcomeRecord, anOutcome('o1', 'i', 'd1', { cost: 1 }))
    await put(outcomeRecord, anOutcome('o1', 'i', 'd1', { cost: 1 })) // Delivered twice.
    await put(outcomeRecord, anOutcome('o2', 'i', 'd2', { verdict: 'harmful', cost: 5, steps: [aStep({ undo: 'undone' })] }))
    await put(outcomeRecord, anOutcome('o3', 'i', 'd3', { verdict: 'inconclusive', cost: 3 }))
    await put(outcomeRecord, anOutcome('o4', 'i', 'd4', { verdict: 'refused', begunAtMs: null, refusedBy: 'expiry' }))
    const rows = await scorecard()
    expect(rows.M3).toMatchObject({ samples: 3, met: false })
    expect(rows.M3!.value).toBeCloseTo(1 / 3, 6)
    expect(rows.M7!.value).toBeCloseTo(1 / 3, 6)
    expect(rows.M8).toMatchObject({ value: 3, met: null })
  })

  test('M7: the rollback of a canary is one, though no step was undone', async () => {
    await put(commandRecord, { ...aCommand(), id: 'c1', cause: { entity: 'shop/orders@2.0.0', signature: 'canary' } })
    await put(commandRecord, { ...aCommand(), id: 'c2', cause: { entity: 'shop/orders@1.0.0', signature: 'canary_undecided' } })
    await put(outcomeRecord, anOutcome('o1', 'i', 'd1', { commandId: 'c1' }))
    await put(outcomeRecord, anOutcome('o2', 'i', 'd2', { commandId: 'c2' }))
    expect((await scorecard()).M7).toMatchObject({ value: 0.5, samples: 2, met: false })
  })

  test('M4: labelled as false, or gone by itself and never confirmed', async () => {
    const gone = { resolution: 'self_healed', attempts: 0 } as const
    await put(incidentRecord, anIncident('i1', { members: [aMember('a1')] })) // Remediated, no label: true.
    await put(incidentRecord, anIncident('i2', { members: [aMember('a2')] })) // Remediated, but labelled false.
    await put(incidentRecord, anIncident('i3', { ...gone, members: [aMember('a3')] })) // By itself, no label: false.
    await put(incidentRecord, anIncident('i4', { ...gone, members: [aMember('a4')] })) // By itself, confirmed: true.
    await put(controlRecord, aLabel('a2', 'true_positive', NOW_MS - 5 * S))
    await put(controlRecord, aLabel('a2', 'false_positive'))
    await put(controlRecord, aLabel('a4', 'true_positive'))
    expect((await scorecard()).M4).toMatchObject({ value: 0.5, samples: 4, met: false })
  })

  test('M9: entities with metrics or spans in the last five minutes, of those seen in a day', async () => {
    const seen = (Entity: string, Signal: string, agoS: number): Promise<void> => {
      const at = String(Math.floor(Date.now() / 1_000) - agoS)
      const row = { Environment: 'lab', Entity, Signal, ServiceName: Entity, FirstSeen: at, LastSeen: at }
      return opened.store.insert('homeostat_entities', [row], { token: `seen-${++inserts}` })
    }
    await seen('fresh', 'metric', 10)
    await seen('fresh', 'log', 10)
    await seen('spans', 'span', 100)
    await seen('logs-only', 'log', 10)
    await seen('silent', 'metric', 3_600)
    await seen('gone', 'metric', 2 * 86_400)
    expect((await scorecard()).M9).toMatchObject({ value: 0.5, samples: 4, met: false })
  })

  test('M10: from the moment a record was made to when it is readable', async () => {
    const decidedAtMs = Date.now() - 20 * S
    await put(decisionRecord, aDecision('d1', 'i1', { decidedAtMs }))
    const storedWithinS = (Date.now() - decidedAtMs) / S
    const { M10 } = await scorecard()
    expect(M10).toMatchObject({ samples: 1, met: true })
    expect(M10!.value).toBeGreaterThanOrEqual(20)
    expect(M10!.value).toBeLessThanOrEqual(storedWithinS)
  })
})
