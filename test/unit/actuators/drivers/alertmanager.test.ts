// The Alertmanager channel against a real Alertmanager (Debian's prometheus-alertmanager): what it holds, and what it sends on.

import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { alertmanagerEscalation } from '../../../../actuators/drivers/alertmanager.ts'
import type { Page } from '../../../../schemas/ports.ts'
import { alertmanagerMissing, type AlertmanagerWorld, openAlertmanager, until } from './alertmanager-world.ts'
import { openRecorder, type Recorder } from './recorder.ts'

const page = (over: Partial<Page> = {}): Page => ({
  ...{ action: 'trigger', dedupKey: 'a'.repeat(32), severity: 'critical', summary: 'orders is silent', urgency: 'page', owner: 'team-orders' },
  details: { environment: 'prod', target: 'shop/orders@orders-1' },
  ...over
})

describe.skipIf(alertmanagerMissing !== undefined)(`a real Alertmanager${alertmanagerMissing ? ` (skipped: ${alertmanagerMissing})` : ''}`, () => {
  let receiver: Recorder
  let server: AlertmanagerWorld
  let url: string
  beforeAll(async () => {
    receiver = await openRecorder()
    server = await openAlertmanager({ url: `${receiver.url}/hook` })
    url = server.url
  })
  afterAll(async () => {
    await server?.close()
    await receiver?.close()
  })
  const alerts = async (): Promise<{ labels: Record<string, string>; annotations: Record<string, string> }[]> =>
    (await fetch(`${url}/api/v2/alerts?active=true`)).json() as never
  const hooks = (status: string) => receiver.requests.filter(({ json }) => json().status === status)

  it('three deliveries of one page are one alert and one notification; its end is told once', async () => {
    const channel = alertmanagerEscalation({ url })
    for (let repeat = 0; repeat < 3; repeat++) await channel.notify(page())
    await until(() => hooks('firing').length > 0)
    expect(await alerts()).toMatchObject([{ labels: { alertname: 'HomeostatIncident', owner: 'team-orders' }, annotations: { summary: 'orders is silent' } }])
    await channel.notify(page({ action: 'acknowledge' }))
    for (let repeat = 0; repeat < 2; repeat++) await channel.notify(page({ action: 'resolve', summary: 'over' }))
    await until(() => hooks('resolved').length > 0)
    expect(await alerts()).toEqual([])
    await pause(500)
    expect([hooks('firing').length, hooks('resolved').length]).toEqual([1, 1])
    expect(hooks('resolved')[0]!.json()).toMatchObject({ version: '4', alerts: [{ status: 'resolved', labels: { homeostat_incident: 'a'.repeat(32) } }] })
  })

  it('says what it does not take', async () => {
    const wrong = alertmanagerEscalation({ url: `${url}/nowhere` })
    await expect(wrong.notify(page())).rejects.toMatchObject({ code: 'escalation_failed', message: expect.stringContaining('404') })
  })
})
