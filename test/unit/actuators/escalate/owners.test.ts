// Owners from telemetry: resource attributes in real tables.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { telemetryOwner } from '../../../../pipeline/roles/owners.ts'
import { logRows } from '../../../../pipeline/store/rows/log-rows.ts'
import { metricRows } from '../../../../pipeline/store/rows/metric-rows.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import { encodeOtlp } from '../../../support/otlp.ts'
import { openTestStore, type TestStore } from '../../../support/store-tools.ts'

const DEFAULTS = { entity: '', environment: 'lab' }
const NOW_MS = Date.now()
let opened: TestStore
let inserts = 0
beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())

const resource = (pairs: Record<string, string>) => ({ attributes: Object.entries(pairs).map(([key, stringValue]) => ({ key, value: { stringValue } })) })
async function insert(rows: readonly { table: string; row: Record<string, unknown> }[]): Promise<void> {
  for (const { table, row } of rows) await opened.store.insert(table, [row], { token: `owners-${++inserts}` })
}
const metric = (pairs: Record<string, string>, atMs: number) => {
  const metrics = [{ name: 'queue.size', gauge: { dataPoints: [{ timeUnixNano: `${atMs}000000`, asDouble: 1 }] } }]
  return insert(
    metricRows(encodeOtlp('metrics', { resourceMetrics: [{ resource: resource(pairs), scopeMetrics: [{ metrics }] }] }), DEFAULTS, atMs).rows as never
  )
}
const log = (pairs: Record<string, string>, atMs: number) => {
  const logRecords = [{ timeUnixNano: `${atMs}000000`, body: { stringValue: 'x' } }]
  return insert(logRows(encodeOtlp('logs', { resourceLogs: [{ resource: resource(pairs), scopeLogs: [{ logRecords }] }] }), DEFAULTS, atMs).rows as never)
}

test('the newest telemetry that names an owner counts; other services, other environments and old times do not', async () => {
  const orders = { 'service.namespace': 'shop', 'service.name': 'orders', 'service.instance.id': 'orders-1' }
  await metric({ ...orders, team: 'old-team' }, NOW_MS - 600_000)
  await log({ ...orders, 'service.owner': 'team-orders', team: 'unused' }, NOW_MS - 60_000)
  await metric(orders, NOW_MS - 1_000)
  await metric({ ...orders, 'service.name': 'cart', 'service.owner': 'team-cart', 'deployment.environment.name': 'prod' }, NOW_MS - 1_000)
  await metric({ ...orders, 'service.name': 'stale', team: 'gone' }, NOW_MS - 2 * 3_600_000)
  const ownerOf = telemetryOwner({ query: (sql, parameters) => opened.store.query(sql, parameters) }, ['service.owner', 'team'], systemClock)
  expect(await ownerOf('shop/orders@orders-1', 'lab')).toBe('team-orders')
  expect(await ownerOf('shop/orders', 'lab')).toBe('team-orders')
  expect(await ownerOf('shop/orders@orders-7', 'lab')).toBe('team-orders') // A sister instance says it.
  expect(await ownerOf('shop/cart@orders-1', 'prod')).toBe('team-cart')
  expect(await ownerOf('shop/cart@orders-1', 'staging')).toBeUndefined()
  expect(await ownerOf('shop/stale@orders-1', 'lab')).toBeUndefined()
  expect(await ownerOf("x' OR 1=1 --", 'lab')).toBeUndefined()
  expect(await telemetryOwner({ query: async () => Promise.reject(new Error('not asked')) }, [], systemClock)('shop/orders', 'lab')).toBeUndefined()
})
