// The door for alerts: what becomes of an Alertmanager's webhook, and who may send one.

import { afterEach, describe, expect, test } from 'vitest'
import { diagnoseWorker } from '../../../../detectors/diagnose/worker.ts'
import { anomalyRecord } from '../../../../schemas/anomaly.ts'
import { decodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { type Incident, incidentRecord } from '../../../../schemas/incident.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { httpCall, intakeConfig, openTestIntake } from '../../../support/intake.ts'
import { countingMeter, quietLogger } from '../../../support/log-tools.ts'
import { checkpointStore } from '../../../../pipeline/log/checkpoint-store.ts'
import { memoryLog, type MemoryLog } from '../../../support/memory-log.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'
import { alertmanagerMissing, openAlertmanager, until } from '../../actuators/drivers/alertmanager-world.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const alertmanager = { ...intakeConfig().alertmanager, enabled: true }
async function door(config: Parameters<typeof openTestIntake>[0] = {}) {
  const open = await openTestIntake({ ...config, config: { alertmanager, ...config.config } })
  closers.push(() => open.intake.close())
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    httpCall(open.intake.addresses.http, {
      path: '/v1/alerts',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body)
    })
  return { ...open, post, anomalies: () => anomaliesIn(open.log) }
}
const anomaliesIn = (log: MemoryLog) =>
  log.records(TOPICS.anomalies.name).map(record => {
    const decoded = decodeRecord(anomalyRecord, record)
    if (!decoded.ok) throw new Error(decoded.reason)
    return decoded.record
  })

const STARTED = '2026-03-01T10:00:00.123Z'
const anAlert = (labels: Record<string, string> = {}, over: object = {}) => ({
  status: 'firing',
  labels: { alertname: 'HighErrorRate', severity: 'critical', job: 'shop/orders', instance: 'orders-1', environment: 'prod', ...labels },
  annotations: { summary: 'one in five requests fails' },
  startsAt: STARTED,
  endsAt: '0001-01-01T00:00:00Z',
  generatorURL: 'http://prometheus/graph',
  fingerprint: '0123456789abcdef',
  ...over
})
const aWebhook = (...alerts: object[]) => ({
  version: '4',
  groupKey: '{}',
  truncatedAlerts: 0,
  status: 'firing',
  receiver: 'homeostat',
  externalURL: 'http://am',
  alerts
})

describe('an alert', () => {
  test('is an anomaly of the entity that its labels name, since its start', async () => {
    const { post, anomalies } = await door()
    expect((await post(aWebhook(anAlert()))).status).toBe(200)
    expect(anomalies()).toMatchObject([
      {
        ...{ status: 'open', detector: 'alert:HighErrorRate', environment: 'prod', entity: 'shop/orders@orders-1', service: 'orders', severity: 'critical' },
        ...{ metric: 'alertmanager.errors', series: '0123456789abcdef', direction: 'above', observed: null, sinceMs: Date.parse(STARTED), shadow: false },
        ...{ reason: 'HighErrorRate: one in five requests fails', attributes: { job: 'shop/orders' } }
      }
    ])
  })

  test('keeps its id however often it comes, and closes under it', async () => {
    const { post, log, anomalies } = await door()
    for (let repeat = 0; repeat < 3; repeat++) await post(aWebhook(anAlert()))
    await post(aWebhook(anAlert({}, { status: 'resolved', endsAt: '2026-03-01T10:05:00Z' })))
    expect(new Set(anomalies().map(({ id }) => id)).size).toBe(1)
    expect(new Set(log.records(TOPICS.anomalies.name).map(({ headers }) => headers.ce_id)).size).toBe(2)
    expect(anomalies().at(-1)).toMatchObject({ status: 'close', observedAtMs: Date.parse('2026-03-01T10:05:00Z') })
  })

  test('names entity, kind, severity and environment by what it has', async () => {
    const { post, anomalies } = await door()
    const said: [Record<string, string>, object][] = [
      [
        { job: '', instance: '', service_name: 'pay', service_namespace: 'shop' },
        { entity: 'shop/pay', service: 'pay' }
      ],
      [
        { homeostat_entity: 'shop/cart@c-1', homeostat_kind: 'latency' },
        { entity: 'shop/cart@c-1', service: 'cart', metric: 'alertmanager.latency' }
      ],
      [
        { job: '', instance: 'web-7', alertname: 'HostOutOfMemory' },
        { entity: '@web-7', metric: 'alertmanager.saturation' }
      ],
      [
        { job: '', instance: '', alertname: 'Watchdog', severity: 'none', environment: '' },
        { entity: 'alert/Watchdog', severity: 'info', environment: 'test' }
      ],
      [
        { alertname: 'TooManyRequests', severity: '' },
        { metric: 'alertmanager.alerts', severity: 'warning' }
      ]
    ]
    for (const [labels, expected] of said) {
      await post(aWebhook(anAlert(labels)))
      expect(anomalies().at(-1)).toMatchObject(expected)
    }
  })

  test('of our own is left out, and counted', async () => {
    const { post, anomalies, meter } = await door()
    expect((await post(aWebhook(anAlert({ homeostat_incident: 'i1' })))).status).toBe(200)
    expect(anomalies()).toEqual([])
    expect(meter.total('homeostat.intake.alerts.own')).toBe(1)
  })
})

describe('the door', () => {
  test('is shut unless the configuration opens it', async () => {
    const { post } = await door({ config: { alertmanager: { ...alertmanager, enabled: false } } })
    expect((await post(aWebhook(anAlert()))).status).toBe(404)
  })

  test('asks for the tokens of intake, and takes nothing without one', async () => {
    const { post, anomalies } = await door({ config: { tokens: ['open-sesame'] } })
    expect((await post(aWebhook(anAlert()))).status).toBe(401)
    expect((await post(aWebhook(anAlert()), { authorization: 'Bearer wrong' })).status).toBe(401)
    expect(anomalies()).toEqual([])
    expect((await post(aWebhook(anAlert()), { authorization: 'Bearer open-sesame' })).status).toBe(200)
  })

  test('refuses for good what is no webhook, and asks to come again when the log is away', async () => {
    const log = memoryLog()
    const { post, anomalies, intake } = await door({ log })
    for (const body of ['{', '[]', { version: '3', alerts: [] }, aWebhook({ status: 'odd' }), aWebhook(anAlert({}, { labels: 'x' }))]) {
      expect((await post(body)).status, JSON.stringify(body)).toBe(400)
    }
    expect((await post('x'.repeat(5 * 2 ** 20))).status).toBe(413)
    expect((await post(aWebhook(anAlert()), { 'content-type': 'application/x-protobuf' })).status).toBe(415)
    expect((await httpCall(intake.addresses.http, { path: '/v1/alerts', method: 'GET' })).status).toBe(404)
    log.failAppends(new AppError('log_unavailable', 'the broker is away'))
    const answer = await post(aWebhook(anAlert()))
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '2'])
    log.failAppends(undefined)
    expect(anomalies()).toEqual([])
  })
})

describe.skipIf(alertmanagerMissing !== undefined)(`with a real Alertmanager${alertmanagerMissing ? ` (skipped: ${alertmanagerMissing})` : ''}`, () => {
  test('an alert opens an incident, another of the same service joins it, and their ends resolve it', async () => {
    const log = memoryLog()
    const { intake } = await door({ log, config: { tokens: ['open-sesame'] } })
    const server = await openAlertmanager({ url: `http://${intake.addresses.http}/v1/alerts`, token: 'open-sesame' })
    closers.push(server.close)
    const clock = virtualClock(Date.now())
    const ports = { log, clock, logger: quietLogger, meter: countingMeter(), checkpoints: checkpointStore(log, {}) }
    const diagnose = diagnoseWorker({ ...ports, config: { groupWindow: 60_000, resolveAfter: 20_000 } })
    await diagnose.start()
    closers.push(() => diagnose.close())
    const incidents = (): Incident[] =>
      log.records(TOPICS.incidents.name).flatMap(record => {
        const decoded = decodeRecord(incidentRecord, record)
        return decoded.ok ? [decoded.record] : []
      })
    const send = async (alertname: string, endsAt?: string) => {
      const labels = { alertname, severity: 'critical', job: 'shop/orders', instance: 'orders-1' }
      const body = JSON.stringify([{ labels, annotations: { summary: alertname }, ...(endsAt && { endsAt }) }])
      const answer = await fetch(`${server.url}/api/v2/alerts`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
      expect(answer.status).toBe(200)
    }
    const settle = async (ms = 0) => {
      await log.drained()
      await clock.advance(ms)
      await log.drained()
    }
    await send('HighErrorRate')
    await until(() => anomaliesIn(log).length === 1)
    await settle(1_000)
    expect(incidents().at(-1)).toMatchObject({ status: 'open', severity: 'critical', causes: [{ entity: 'shop/orders@orders-1', signature: 'errors' }] })
    await send('SlowAnswers')
    await until(() => anomaliesIn(log).length === 2)
    await settle(1_000)
    expect(new Set(incidents().map(({ id }) => id)).size).toBe(1)
    expect(
      incidents()
        .at(-1)!
        .members.map(({ metric }) => metric)
    ).toEqual(['alertmanager.errors', 'alertmanager.latency'])
    for (const alertname of ['HighErrorRate', 'SlowAnswers']) await send(alertname, new Date().toISOString())
    await until(() => anomaliesIn(log).filter(({ status }) => status === 'close').length === 2)
    await settle(60_000)
    expect(incidents().at(-1)).toMatchObject({ status: 'resolved', resolution: 'self_healed' })
  })
})
