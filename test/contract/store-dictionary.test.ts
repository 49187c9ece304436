// The data dictionary says the truth: every table, view and column stands in it, and its questions run.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const page = readFileSync(new URL('../../schemas/README.md', import.meta.url), 'utf8').replaceAll('\\_', '_')
const questions = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(match => match[1]!)

let opened: TestStore

beforeAll(async () => {
  opened = await openTestStore()
  await fill()
})
afterAll(() => opened.remove())

test('every table, view and column is named', async () => {
  const columns = await opened.store.query<{ table: string; name: string }>('SELECT table, name FROM system.columns WHERE database = currentDatabase()')
  expect(new Set(columns.map(column => column.table)).size).toBeGreaterThan(30)
  const words = new Set(page.match(/[\w.]+/g))
  // The dictionary writes a family of materialized columns once, by what differs.
  const shortened = (name: string): string => name.replace(/^__otel_materialized_k8s\.(?!cluster)/, '')
  const missing = columns.filter(
    ({ table, name }) => !words.has(table) || !(words.has(name) || words.has(shortened(name)) || page.includes(`…${shortened(name)}`))
  )
  expect(missing).toEqual([])
})

test('there are eight questions', () => {
  expect(questions).toHaveLength(8)
})

test.each(questions.map((sql, index) => [index + 1, sql] as const))('question %i has an answer', async (_, sql) => {
  expect((await readOnlyQuery(opened.store, sql, { rowsMax: 100 })).length).toBeGreaterThan(0)
})

/** One small history: an incident with its anomaly, decision, outcome and telemetry. */
async function fill(): Promise<void> {
  const seconds = Math.floor(Date.now() / 1_000)
  const at = (agoS: number): string => String(seconds - agoS)
  const common = { IncidentId: 'i', Environment: 'lab', RecordId: 'r' }
  const guards = JSON.stringify([{ guard: 'cooldown', verdict: 'wait', reason: 'too soon', inputs: { sinceMs: 5 } }])
  const rows: Record<string, object[]> = {
    homeostat_incidents: [{ ...common, Timestamp: at(10), ServiceName: 'orders', StartedAt: at(60), UpdatedAt: at(10), Version: 1 }],
    homeostat_anomalies: [
      { ...common, Timestamp: at(60), Status: 'open', Entity: 'orders', MetricName: 'latency', Since: at(70), DetectedAt: at(60), Score: 4 }
    ],
    homeostat_decisions: [{ ...common, Timestamp: at(50), Outcome: 'blocked', BlockedBy: ['cooldown'], Guards: guards }],
    homeostat_outcomes: [{ ...common, Timestamp: at(20), Runbook: 'restart', Verdict: 'healed', BegunAt: at(40), HealedAt: at(30), Cost: 1 }],
    otel_traces: [{ Timestamp: at(50), ServiceName: 'orders', SpanName: 'GET /', SpanKind: 'Server', Duration: 5_000_000 }],
    otel_logs: [{ Timestamp: at(50), ServiceName: 'orders', SeverityNumber: 17, Body: 'boom' }],
    otel_metrics_sum: [10, 20].map(ago => ({ TimeUnix: at(ago), MetricName: 'requests', Value: 100 - ago, IsMonotonic: true, AggregationTemporality: 2 }))
  }
  for (const [table, values] of Object.entries(rows)) await opened.store.insert(table, values as Record<string, unknown>[], { token: `fill/${table}` })
}
