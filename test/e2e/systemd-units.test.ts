// The shipped unit, as it stands, under a real systemd (private namespaces): with all its confinement Homeostat starts, answers, and ends in order.
//
// What a foreign machine has is put in place of /opt/homeostat and the user homeostat; the log is the embedded one, so that no cluster is needed.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePorts } from '../../infra/lab/ports.ts'
import { bootSystemd, type SystemdWorld, systemdMissing } from '../support/systemd-world.ts'

const ROOT = join(import.meta.dirname, '../..')
const UNIT = 'homeostat@intake.service'
/** The world's own, and empty in it. */
const HIDDEN = /^\/(?:run|tmp|opt|var\/(?:tmp|log|lib))\//
const missing = HIDDEN.test(ROOT) ? `${ROOT} is hidden in the systemd of the test` : systemdMissing()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(`the test of the units cannot run: ${missing}`)
if (missing !== undefined) console.warn(`skipped: the shipped unit under a real systemd: ${missing}`)

const overlay = (healthPort: number): string => `
[Service]
User=nobody
Group=nogroup
BindReadOnlyPaths=${ROOT}:/opt/homeostat
Environment=HOMEOSTAT_CONFIG=/opt/homeostat/infra/systemd/homeostat.yaml
Environment=HOMEOSTAT_ROLES=intake,detect
Environment=HOMEOSTAT_LOG__KIND=embedded HOMEOSTAT_SELF__ENDPOINT=off
Environment=HOMEOSTAT_INTAKE__GRPC__PORT=0 HOMEOSTAT_INTAKE__HTTP__PORT=0 HOMEOSTAT_HEALTH__LISTEN__PORT=${healthPort}
`

describe.skipIf(missing !== undefined)('homeostat@.service under a real systemd', () => {
  let world: SystemdWorld
  let healthPort: number

  beforeAll(async () => {
    ;[healthPort] = (await freePorts(1)) as [number]
    world = await bootSystemd(UNIT, readFileSync(join(ROOT, 'infra/systemd/homeostat@.service'), 'utf8') + overlay(healthPort))
  })
  afterAll(async () => {
    await world?.close()
  })

  const show = (property: string): string => world.run('show', `--property=${property}`, '--value', UNIT)

  test('becomes ready inside its confinement', async () => {
    const answer = (): Promise<string> =>
      fetch(`http://127.0.0.1:${healthPort}/readyz`).then(
        async response => (response.ok ? '200' : await response.text()),
        (cause: unknown) => `${cause}; ${show('ActiveState')} ${show('Result')} ${show('ExecMainStatus')}, restarts ${show('NRestarts')}`
      )
    await expect.poll(answer).toBe('200')
    expect(show('NRestarts')).toBe('0')
  })

  test('is confined', () => {
    const status = readFileSync(`/proc/${hostPid(world, show('MainPID'))}/status`, 'utf8')
    expect(/NoNewPrivs:\s+(\d)/.exec(status)?.[1]).toBe('1')
    expect(/Seccomp:\s+(\d)/.exec(status)?.[1]).toBe('2')
    expect(/CapBnd:\s+(\S+)/.exec(status)?.[1]).toMatch(/^0+$/)
    expect(/Uid:\s+(\d+)/.exec(status)?.[1]).not.toBe('0')
  })

  test('ends in order when it is stopped', () => {
    world.run('stop', UNIT)
    expect([show('ActiveState'), show('Result'), show('ExecMainStatus')]).toEqual(['inactive', 'success', '0'])
  })
})

/** Process id out here of a process whose id in the world is known. */
function hostPid(world: SystemdWorld, inner: string): string {
  const manager = world.systemctl[world.systemctl.indexOf('-t') + 1]!
  const children = readFileSync(`/proc/${manager}/task/${manager}/children`, 'utf8').trim().split(' ')
  const found = children.find(pid => /NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] === inner)
  if (found === undefined) throw new Error(`no process ${inner} in the world`)
  return found
}
