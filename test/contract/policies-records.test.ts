// Records that were stored come back for `policies simulate` as what they were, a page at a time; and metrics for `policies lint`.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { askHistory } from '../../pipeline/cli/policies-history.ts'
import { readRecords } from '../../pipeline/cli/policies-records.ts'
import { readPolicyDocuments } from '../../actuators/decide/policy-documents.ts'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { recordRows } from '../../pipeline/store/rows/record-rows.ts'
import { commandRecord } from '../../schemas/command.ts'
import { configSchema } from '../../schemas/config.ts'
import { type Control, controlRecord } from '../../schemas/control.ts'
import { decisionRecord } from '../../schemas/decision.ts'
import { encodeRecord, type RecordType } from '../../schemas/envelope.ts'
import { incidentRecord } from '../../schemas/incident.ts'
import { outcomeRecord } from '../../schemas/outcome.ts'
import { aCommand, aDecision, anIncident, anOutcome, INCIDENT_ID, NOW_MS, S } from '../support/store-records.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'
import { virtualClock } from '../support/virtual-clock.ts'

let opened: TestStore
const sql = async <Row>(statement: string): Promise<Row[]> => (await readOnlyQuery(opened.store, statement, { rowsMax: 10_000 })) as Row[]

async function put<T>(type: RecordType<T>, ...records: T[]): Promise<void> {
  for (const [index, record] of records.entries()) {
    const input = encodeRecord(type, record)
    const result = recordRows({ value: input.value, headers: input.headers ?? {} })
    if (!result.ok) throw new Error(result.reason)
    for (const { table, row } of result.rows) await opened.store.insert(table, [row], { token: `${type.type}-${type.id(record)}-${index}` })
  }
}

beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())

const FROM_MS = NOW_MS - 200 * S
const TO_MS = NOW_MS + 100 * S
const read = () => readRecords({ sql }, { fromMs: FROM_MS, toMs: TO_MS }, () => undefined)

test('every record comes back with what deciding reads of it', async () => {
  const incidents = [
    anIncident('opened', {
      version: 2,
      healedAtMs: null,
      resolvedAtMs: null,
      resolution: null,
      unknownEntities: ['shop/cart@cart-1'],
      updatedAtMs: NOW_MS - 5 * S
    }),
    anIncident('opened')
  ]
  const decision = aDecision('decision-1', INCIDENT_ID)
  const none = aDecision('decision-2', INCIDENT_ID, {
    policy: null,
    runbook: null,
    target: null,
    outcome: 'none',
    blockedBy: ['no_policy'],
    decidedAtMs: NOW_MS
  })
  const outcome = anOutcome('outcome-1', INCIDENT_ID, 'decision-1', { refusedBy: 'expiry', begunAtMs: null })
  const command = aCommand()
  const controls: Control[] = [
    { kind: 'kill_switch', scope: 'global', on: false, reason: 'over', by: 'ada', atMs: NOW_MS },
    {
      kind: 'change',
      id: 'c1',
      environment: 'lab',
      target: '*',
      actor: 'pipeline',
      what: 'deploy',
      fromMs: NOW_MS - S,
      toMs: null,
      by: 'pipeline',
      atMs: NOW_MS + S
    },
    { kind: 'group', environment: 'lab', group: 'shop/orders', size: 4, by: 'ada', atMs: NOW_MS + 2 * S },
    { kind: 'error_budget', environment: 'lab', service: '*', remainingRatio: -0.25, burnRate: 14.5, by: 'slo', atMs: NOW_MS + 3 * S },
    { kind: 'approval', incidentId: INCIDENT_ID, decisionId: 'decision-1', approved: true, by: "o'hara", atMs: NOW_MS + 4 * S }
  ]
  await put(incidentRecord, ...incidents)
  await put(decisionRecord, decision, none)
  await put(outcomeRecord, outcome)
  await put(commandRecord, command)
  await put(controlRecord, ...controls)
  const { history, unreadable } = await read()
  expect(unreadable).toBe(0)
  expect(history.incidents).toEqual(incidents)
  expect(history.commands).toEqual([command])
  expect(history.outcomes).toEqual([{ ...outcome, steps: [], evidence: { signals: [], logs: [], spans: [], facts: {} } }])
  expect(history.controls).toEqual(controls)
  expect(history.decisions).toMatchObject([
    { id: 'decision-1', policy: decision.policy, runbook: decision.runbook, target: decision.target, blockedBy: decision.blockedBy },
    { id: 'decision-2', policy: null, runbook: null, target: null, outcome: 'none' }
  ])
})

test('of what people said before the window the last word of each subject counts, however old it is', async () => {
  const old: Control[] = [
    { kind: 'kill_switch', scope: 'environment/lab', on: true, reason: 'drill', by: 'ada', atMs: NOW_MS - 90 * 86_400 * S },
    { kind: 'kill_switch', scope: 'environment/lab', on: false, reason: 'over', by: 'ada', atMs: NOW_MS - 80 * 86_400 * S }
  ]
  await put(controlRecord, ...old)
  expect((await read()).history.controls.filter(({ atMs }) => atMs < FROM_MS)).toEqual([old[1]])
})

test('more rows than a page are read whole, in order, once', async () => {
  const count = 4_500
  const rows = Array.from({ length: count }, (_, index) => {
    const control: Control = {
      kind: 'group',
      environment: 'lab',
      group: `g${index % 7}`,
      size: index,
      by: 'ada',
      atMs: NOW_MS + 10 * S + Math.floor(index / 10)
    }
    const { value, headers } = encodeRecord(controlRecord, control)
    const made = recordRows({ value, headers: headers ?? {} })
    if (!made.ok) throw new Error(made.reason)
    return { ...made.rows[0]!.row, RecordId: `group-${index}` }
  })
  await opened.store.insert('homeostat_control', rows, { token: 'many' })
  const sizes = (await read()).history.controls.flatMap(control => (control.kind === 'group' && control.atMs >= NOW_MS + 10 * S ? [control.size] : []))
  expect(sizes.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, index) => index))
})

test('a metric is known by its samples of the last day, by entity, attributes and window', async () => {
  const check = (name: string, more: string) => `{name: ${name}, type: metric, window: 10s, expect: value > 0, ${more}}`
  const text = `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: {name: r}\nspec:\n  risk: low\n  signatures: [silent]\n  steps:\n    - {name: s, action: {driver: d, verb: v}, verify: {checks: [${[
    check('anybody', 'metric: queue.depth'),
    check('one', 'metric: queue.depth, entity: shop/orders@orders-1'),
    check('other', 'metric: queue.depth, entity: shop/cart@cart-1'),
    check('pool', 'metric: queue.depth, attributes: {pool: b}'),
    check('none', "metric: que'ue")
  ].join(', ')}]}}\n`
  const points = Array.from({ length: 30 }, (_, index) => ({
    ServiceName: 'orders',
    ResourceAttributes: { 'service.namespace': 'shop', 'service.name': 'orders', 'service.instance.id': 'orders-1' },
    MetricName: 'queue.depth',
    Attributes: { pool: index % 3 === 0 ? 'b' : 'a' },
    TimeUnix: new Date(Math.floor(NOW_MS / 10_000) * 10_000 - 60_000 + index * 2_000).toISOString().replace('T', ' ').replace('Z', ''),
    Value: index
  }))
  await opened.store.insert('otel_metrics_gauge', points, { token: 'points' })
  const { documents, problems } = readPolicyDocuments([{ file: 'r.yaml', text }])
  expect(problems).toEqual([])
  const config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  const ports = { openHistory: async () => ({ sql, close: async () => undefined }), clock: virtualClock(NOW_MS) } as never
  const { answers, metrics } = await askHistory(ports, { config, file: undefined, overrides: new Map() }, documents)
  expect(metrics).toEqual(['queue.depth'])
  expect([...answers.values()]).toEqual([
    { samples: 30, samplesInWindowMax: 5 },
    { samples: 30, samplesInWindowMax: 5 },
    { samples: 0, samplesInWindowMax: 0 },
    { samples: 10, samplesInWindowMax: 2 },
    { samples: 0, samplesInWindowMax: 0 }
  ])
})
