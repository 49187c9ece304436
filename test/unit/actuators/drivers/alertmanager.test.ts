// The Alertmanager channel against a real Alertmanager (Debian's prometheus-alertmanager): what it holds, and what it sends on.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { alertmanagerEscalation } from '../../../../actuators/drivers/alertmanager.ts'
import type { Page } from '../../../../schemas/ports.ts'
import { openRecorder, type Recorder } from './recorder.ts'

const PROGRAM = 'prometheus-alertmanager'
const isMissing = spawnSync(PROGRAM, ['--version']).error !== undefined
if (isMissing && process.env.CI === 'true') throw new Error(`${PROGRAM} is not installed: .ci/run installs it`)
if (isMissing) process.stderr.write(`skipped: the Alertmanager channel against a real one: ${PROGRAM} is not installed\n`)

const page = (over: Partial<Page> = {}): Page => ({
  ...{ action: 'trigger', dedupKey: 'a'.repeat(32), severity: 'critical', summary: 'orders is silent', urgency: 'page', owner: 'team-orders' },
  details: { environment: 'prod', target: 'shop/orders@orders-1' },
  ...over
})

describe.skipIf(isMissing)(`a real Alertmanager${isMissing ? ' (skipped: not installed)' : ''}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-alertmanager-'))
  let receiver: Recorder
  let server: ChildProcess
  let url: string
  beforeAll(async () => {
    receiver = await openRecorder()
    const config = join(folder, 'alertmanager.yml')
    writeFileSync(
      config,
      `route: {receiver: hook, group_by: ['...'], group_wait: 100ms, group_interval: 100ms, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: '${receiver.url}/hook', send_resolved: true}]}]\n`
    )
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    const flags = [`--config.file=${config}`, `--storage.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`, '--cluster.listen-address=']
    server = spawn(PROGRAM, flags, { stdio: 'ignore' })
    await until(async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok === true)
  }, 30_000)
  afterAll(async () => {
    server?.kill('SIGTERM')
    await receiver?.close()
    rmSync(folder, { recursive: true, force: true })
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
  }, 30_000)

  it('says what it does not take', async () => {
    const wrong = alertmanagerEscalation({ url: `${url}/nowhere` })
    await expect(wrong.notify(page())).rejects.toMatchObject({ code: 'escalation_failed', message: expect.stringContaining('404') })
  })
})

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

async function until(holds: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const endMs = Date.now() + withinMs
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms`)
    await pause(50)
  }
}
