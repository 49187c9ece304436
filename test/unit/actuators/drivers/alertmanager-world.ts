// A real Alertmanager (Debian's prometheus-alertmanager) that notifies one webhook.

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePorts } from '../../../../infra/lab/ports.ts'

const PROGRAM = 'prometheus-alertmanager'
/** Why it cannot run here, or undefined. In CI that is an error. */
export const alertmanagerMissing = spawnSync(PROGRAM, ['--version']).error === undefined ? undefined : `${PROGRAM} is not installed`
if (alertmanagerMissing !== undefined && process.env.CI === 'true') throw new Error(`${alertmanagerMissing}: .ci/run installs it`)
if (alertmanagerMissing !== undefined) process.stderr.write(`skipped: tests against a real Alertmanager: ${alertmanagerMissing}\n`)

export interface AlertmanagerWorld {
  url: string
  close(): Promise<void>
}

/** @param webhook what is notified of every alert by itself, within 100 ms, and of its end */
export async function openAlertmanager(webhook: { url: string; token?: string }): Promise<AlertmanagerWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-alertmanager-'))
  const config = join(folder, 'alertmanager.yml')
  const authorization = webhook.token === undefined ? '' : `, http_config: {authorization: {credentials: '${webhook.token}'}}`
  writeFileSync(
    config,
    `route: {receiver: hook, group_by: ['...'], group_wait: 100ms, group_interval: 100ms, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: '${webhook.url}', send_resolved: true${authorization}}]}]\n`
  )
  const [port] = await freePorts(1)
  const flags = [`--config.file=${config}`, `--storage.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`, '--cluster.listen-address=']
  const server = spawn(PROGRAM, flags, { stdio: 'ignore' })
  const ended = new Promise(resolve => server.once('exit', resolve))
  const url = `http://127.0.0.1:${port}`
  await until(async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok === true)
  return {
    url,
    async close() {
      server.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Looks each 50 ms. */
export async function until(holds: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  const endMs = Date.now() + withinMs
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms`)
    await pause(50)
  }
}
