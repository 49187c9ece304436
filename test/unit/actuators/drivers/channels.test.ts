import { createHmac } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { alertmanagerEscalation } from '../../../../actuators/drivers/alertmanager.ts'
import { pagerDutyEscalation } from '../../../../actuators/drivers/pagerduty.ts'
import { slackEscalation } from '../../../../actuators/drivers/slack.ts'
import { webhookEscalation } from '../../../../actuators/drivers/webhook.ts'
import type { Escalation, Page } from '../../../../schemas/ports.ts'
import { PAYLOADS } from './injection-payloads.ts'
import { openRecorder, type Recorder } from './recorder.ts'

const INCIDENT = 'f'.repeat(32)
const SECRET = 's3cr3t-t0ken'
const page = (over: Partial<Page> = {}): Page => ({
  action: 'trigger',
  dedupKey: INCIDENT,
  idempotencyKey: 'delivery-1',
  severity: 'critical',
  summary: 'shop/orders is silent: three attempts did not help',
  urgency: 'page',
  owner: 'team-orders',
  details: { incidentId: INCIDENT, environment: 'prod', target: 'shop/orders@orders-1', policy: 'orders', attempts: 3 },
  ...over
})

let recorder: Recorder
beforeEach(async () => {
  recorder = await openRecorder()
})
afterEach(() => recorder.close())

const channels: Readonly<Record<string, () => Escalation>> = {
  webhook: () => webhookEscalation({ url: `${recorder.url}/hook/${SECRET}`, secret: SECRET }),
  slack: () => slackEscalation({ url: `${recorder.url}/services/${SECRET}` }),
  pagerduty: () => pagerDutyEscalation({ url: `${recorder.url}/v2/enqueue`, routingKey: SECRET }),
  alertmanager: () => alertmanagerEscalation({ url: `${recorder.url}/am/`, token: SECRET })
}
const sent = () => recorder.requests.at(-1)!

describe.each(Object.entries(channels))('channel %s', (_name, open) => {
  it('fails retriably and without its secret when the other side refuses, hangs up or is away', async () => {
    const answers: Recorder['answer'][] = [
      (request, response) => void response.writeHead(500).end(`no: ${request.url} ${request.body} ${request.headers.authorization}`),
      (_request, response) => void response.writeHead(302, { location: `${recorder.url}/elsewhere` }).end(),
      (_request, response) => void response.destroy()
    ]
    for (const answer of answers) {
      recorder.answer = answer
      const failure = await open()
        .notify(page())
        .catch((error: Error) => error)
      expect(failure).toMatchObject({ code: 'escalation_failed', retriable: true })
      expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toContain(SECRET)
    }
    expect(recorder.requests.map(({ url }) => url)).not.toContain('/elsewhere')
    const gone = open()
    await recorder.close()
    await expect(gone.notify(page())).rejects.toMatchObject({ code: 'escalation_failed' })
  })

  it('carries any text as text: whole JSON of the same shape, and no header of its own', async () => {
    const channel = open()
    await channel.notify(page())
    const shape = shapeOf(sent().json())
    const names = Object.keys(sent().headers).sort()
    for (const payload of PAYLOADS) {
      await channel.notify(page({ summary: payload === '' ? 'x' : payload, details: { ...page().details, target: payload === '' ? 'x' : payload } }))
      expect(shapeOf(sent().json())).toEqual(shape)
      expect(Object.keys(sent().headers).sort()).toEqual(names)
    }
  })

  it('takes no URL that is not HTTP, and does not repeat it', () => {
    for (const url of ['file:///etc/passwd', `nonsense-${SECRET}`]) {
      for (const make of [webhookEscalation, slackEscalation, alertmanagerEscalation, (o: { url: string }) => pagerDutyEscalation({ ...o, routingKey: 'x' })]) {
        expect(() => make({ url })).toThrow(expect.objectContaining({ code: 'config_invalid', message: expect.not.stringContaining(SECRET) }))
      }
    }
  })
})

/** The keys of an object, deep; texts and numbers stand for themselves no more. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf)
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shapeOf(item)]))
  return typeof value
}

describe('webhook', () => {
  it('signs what it sends, and names the delivery so that a repeat can be told', async () => {
    await channels.webhook!().notify(page())
    const { body, headers } = sent()
    const [, atS, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['homeostat-signature']))!
    expect(signature).toBe(createHmac('sha256', SECRET).update(`${atS}.${body}`).digest('hex'))
    expect(headers['idempotency-key']).toBe('delivery-1')
    const { idempotencyKey: _, ...told } = page()
    expect(JSON.parse(body)).toEqual({ source: 'homeostat', ...told })
  })
})

describe('PagerDuty', () => {
  it('triggers with what a person needs, acknowledges and resolves by the incident', async () => {
    recorder.answer = (_request, response) => void response.writeHead(202).end('{"status":"success"}')
    const channel = channels.pagerduty!()
    for (const action of ['trigger', 'acknowledge', 'resolve'] as const) await channel.notify(page({ action }))
    const [trigger, acknowledge, resolve] = recorder.requests.map(({ json }) => json())
    expect(trigger).toMatchObject({
      routing_key: SECRET,
      event_action: 'trigger',
      dedup_key: INCIDENT,
      payload: {
        summary: page().summary,
        source: 'shop/orders@orders-1',
        severity: 'critical',
        group: 'prod',
        custom_details: { owner: 'team-orders', attempts: 3 }
      }
    })
    expect(acknowledge).toEqual({ routing_key: SECRET, event_action: 'acknowledge', dedup_key: INCIDENT })
    expect(resolve).toEqual({ routing_key: SECRET, event_action: 'resolve', dedup_key: INCIDENT })
  })

  it('keeps within the limits of the API', async () => {
    await channels.pagerduty!().notify(page({ summary: 'x'.repeat(5_000), details: { incidentId: INCIDENT, logs: 'x'.repeat(600_000) } }))
    expect(sent().json().payload.summary).toHaveLength(1_024)
    expect(sent().body.length).toBeLessThan(512 * 1_024)
  })
})

describe('Slack', () => {
  it('says what, how bad, whose, and which incident; a missing owner is said', async () => {
    await channels.slack!().notify(page({ owner: null }))
    const { text, attachments } = sent().json()
    expect(text).toBe('*Needs you:* shop/orders is silent: three attempts did not help')
    for (const fact of ['critical', 'nobody is named as its owner', INCIDENT, 'shop/orders@orders-1']) expect(attachments[0].text).toContain(fact)
    await channels.slack!().notify(page({ action: 'resolve' }))
    expect(sent().json().text).toMatch(/^\*Over:\*/)
  })

  it('lets no text mention a channel or hide a link', async () => {
    await channels.slack!().notify(page({ summary: '<!channel> <https://evil.example|fix> *x* `y`', details: { target: '<@U1>' } }))
    expect(sent().body).not.toMatch(/<[!@h]/)
    expect(sent().json().text).toBe('*Needs you:* &lt;!channel&gt; &lt;https://evil.example|fix&gt;  x   y ')
  })
})

describe('Alertmanager', () => {
  it('names one alert by labels that stay the same, and ends it', async () => {
    const channel = channels.alertmanager!()
    await channel.notify(page())
    await channel.notify(page({ action: 'acknowledge' }))
    await channel.notify(page({ action: 'resolve', summary: 'over', details: { environment: 'prod', resolution: 'remediated' } }))
    expect(recorder.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual(Array(2).fill(['/am/api/v2/alerts', `Bearer ${SECRET}`]))
    const [[open], [over]] = recorder.requests.map(({ json }) => json()) as [Record<string, any>[], Record<string, any>[]]
    expect(over!.labels).toEqual(open!.labels)
    expect(open!.labels).toEqual({
      ...{ alertname: 'HomeostatIncident', homeostat_incident: INCIDENT, severity: 'critical', urgency: 'page', owner: 'team-orders', environment: 'prod' }
    })
    expect(Date.parse(open!.endsAt) - Date.now()).toBeGreaterThan(6 * 86_400_000)
    expect(Date.parse(over!.endsAt)).toBeLessThanOrEqual(Date.now())
  })
})
