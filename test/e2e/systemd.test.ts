// The systemd driver against a real systemd, booted in private namespaces (test/support/systemd-world.sh).

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemdDriver } from '../../actuators/drivers/systemd.ts'
import { AppError } from '../../schemas/errors.ts'
import type { DriverOrder } from '../../schemas/ports.ts'
import { driverContract } from '../contract/driver.ts'
import { bootSystemd, type SystemdWorld, systemdMissing } from '../support/systemd-world.ts'
import { PAYLOADS } from '../unit/actuators/drivers/injection-payloads.ts'

const UNIT = 'shop.service'
const UNIT_TEXT = `[Unit]
Description=A service of the test
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sleep 86399
[Install]
WantedBy=multi-user.target
`
const missing = systemdMissing()
if (missing !== undefined && process.env.CI === 'true') throw new Error(`the systemd test cannot run: ${missing}`)
if (missing !== undefined) process.stderr.write(`skipped: systemd driver against a real systemd: ${missing}\n`)

const never = new AbortController().signal
let world: SystemdWorld
let fence = 0
const anOrder = (verb: string, key: string): DriverOrder => ({
  idempotencyKey: key,
  target: UNIT,
  verb,
  args: {},
  fence: ++fence,
  deadlineMs: Date.now() + 120_000
})
const invocation = (): string => world.run('show', '--property=InvocationID', '--value', UNIT)

describe.skipIf(missing !== undefined)(`systemd driver${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'homeostat-systemd-state-'))
  const open = (over: object = {}) =>
    systemdDriver({ units: [UNIT, 'missing.service'], verbs: ['restart', 'start', 'stop', 'reset-failed'], stateDir, systemctl: world.systemctl, ...over })

  beforeAll(async () => {
    world = await bootSystemd(UNIT, UNIT_TEXT)
  })
  afterAll(async () => {
    await world?.close()
    rmSync(stateDir, { recursive: true, force: true })
  })

  driverContract(
    'systemd',
    async () => {
      const seen = new Map<string, string>()
      if (world.run('show', '--property=ActiveState', '--value', UNIT) !== 'active') world.run('start', UNIT)
      return {
        open,
        source: {
          file: 'systemd.ts',
          factory: 'systemdDriver',
          options: { units: [UNIT], verbs: ['restart'], stateDir, systemctl: world.systemctl }
        },
        order(verb, key) {
          seen.set(key, invocation())
          return anOrder(verb, key)
        },
        // Effects of one key: activations since its order was made, 0 or 1 as systemd numbers them.
        effects: async key => (seen.get(key) === invocation() ? 0 : 1),
        async crash(order, when) {
          if (when === 'after') await open().apply(order, never)
        },
        async close() {}
      }
    },
    {
      verbs: ['restart', 'start', 'stop', 'reset-failed'],
      skip: ['start', 'stop', 'reset-failed'].map(verb => ({ verb, why: 'leaves an active unit as it is, or activates nothing; tested below' })),
      refused: [
        { what: 'a unit that is not listed', order: { target: 'sshd.service' } },
        { what: 'an option as unit', order: { target: '--root=/' } },
        { what: 'a verb that is not listed', order: { verb: 'mask' } },
        { what: 'any argument', order: { args: { force: true } } }
      ],
      keepsFences: true
    }
  )

  it('observes what systemd says', async () => {
    const { state, facts } = await open().observe(UNIT)
    expect(state).toBe('running')
    expect(facts).toMatchObject({ activeState: 'active', subState: 'running', result: 'success', restarts: 0 })
    expect(facts.pid).toBeGreaterThan(1)
    expect(Math.abs(Date.now() - (facts.startedAtMs as number))).toBeLessThan(600_000)
    expect((await open().observe('missing.service')).state).toBe('unknown')
  })

  it('restart gives another main process, start and stop bring about a state', async () => {
    const mainPid = () => world.run('show', '--property=MainPID', '--value', UNIT)
    const before = mainPid()
    await open().apply(anOrder('restart', 'r1'), never)
    expect(mainPid()).not.toBe(before)
    await open().apply(anOrder('stop', 's1'), never)
    await open().apply(anOrder('stop', 's2'), never)
    expect((await open().observe(UNIT)).state).toBe('stopped')
    await open().apply(anOrder('start', 's3'), never)
    const started = mainPid()
    await open().apply(anOrder('start', 's4'), never)
    expect(mainPid()).toBe(started)
  })

  it('shows a killed unit as failed and resets it', async () => {
    world.run('kill', '--signal=KILL', UNIT)
    await expect.poll(() => open().observe(UNIT)).toMatchObject({ state: 'failed', facts: { result: 'signal' } })
    await open().apply(anOrder('reset-failed', 'f1'), never)
    expect((await open().observe(UNIT)).state).toBe('stopped')
    await open().apply(anOrder('start', 'f2'), never)
  })

  it('fails without effect for a unit that does not exist', async () => {
    await expect(open().apply({ ...anOrder('restart', 'm1'), target: 'missing.service' }, never)).rejects.toMatchObject({ code: 'driver_failed' })
  })

  it('does not restart again when someone else restarted it after a crash', async () => {
    // A systemctl that can be asked and does nothing else: as if we had died just before it acted.
    const deaf = join(stateDir, 'deaf.sh')
    writeFileSync(deaf, '#!/bin/bash\n[[ " $* " == *" show "* ]] && exec "$@"\nexit 1\n', { mode: 0o755 })
    const order = anOrder('restart', 'other-1')
    await expect(open({ systemctl: [deaf, ...world.systemctl] }).apply(order, never)).rejects.toMatchObject({ code: 'driver_failed' })
    expect(await open().wasApplied!(order)).toBe('no')
    world.run('restart', UNIT)
    const once = invocation()
    expect(await open().wasApplied!(order)).toBe('yes')
    expect(await open().apply(order, never)).toMatchObject({ detail: expect.stringContaining('already') })
    expect(invocation()).toBe(once)
  })

  it('waits for a systemctl that outlived its actuator before it says that nothing happened', async () => {
    const slow = join(stateDir, 'slow.sh')
    const [begun, looked, goOn] = [join(stateDir, 'begun'), join(stateDir, 'looked'), join(stateDir, 'go-on')]
    const wait = `{ touch ${begun}; until [[ -e ${goOn} ]]; do sleep 0.05; done; }`
    writeFileSync(slow, `#!/bin/bash\n[[ " $* " == *" show "* ]] && echo -n x >> ${looked} || ${wait}\nexec "$@"\n`, { mode: 0o755 })
    const looks = (): number => readFileSync(looked, 'utf8').length
    const order = anOrder('restart', 'slow-1')
    const before = invocation()
    const applied = open({ systemctl: [slow, ...world.systemctl] }).apply(order, never)
    await expect.poll(() => existsSync(begun)).toBe(true)
    expect(invocation()).toBe(before)
    const looksBefore = looks()
    const asked = open({ systemctl: [slow, ...world.systemctl] }).wasApplied!(order)
    await expect.poll(looks).toBeGreaterThan(looksBefore + 1)
    writeFileSync(goOn, '')
    expect(await asked).toBe('yes')
    await applied
  })

  it('refuses every payload as unit, verb, argument and key', async () => {
    const driver = open()
    for (const payload of PAYLOADS) {
      for (const wrong of [{ target: payload }, { verb: payload }, { args: JSON.parse(`{${JSON.stringify(payload)}:1}`) }]) {
        expect(() => driver.check({ ...anOrder('restart', 'k'), ...wrong }), JSON.stringify(wrong)).toThrow(AppError)
      }
    }
    expect(() => systemdDriver({ units: ['a b'], verbs: ['restart'], stateDir })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    expect(() => systemdDriver({ units: ['-H'], verbs: ['restart'], stateDir })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
  })
})
