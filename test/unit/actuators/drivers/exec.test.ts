import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { execDriver, type ExecCommands } from '../../../../actuators/drivers/exec.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { DriverOrder } from '../../../../schemas/ports.ts'
import { INJECTIONS, PAYLOADS } from './injection-payloads.ts'

const folder = mkdtempSync(join(tmpdir(), 'homeostat-exec-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const never = new AbortController().signal
const witness = join(folder, 'effects')
const script = join(folder, 'act.cjs')
writeFileSync(
  script,
  `require('node:fs').appendFileSync(${JSON.stringify(witness)}, process.env.HOMEOSTAT_IDEMPOTENCY_KEY + '\\n'); console.log('done', ...process.argv.slice(2))`
)

const command = (over: Partial<ExecCommands[string]> = {}): ExecCommands[string] => ({
  ...{
    argv: [process.execPath, script, '{zone}', '{target}'],
    parameters: { zone: '[a-z]+-[0-9]' },
    targets: ['orders', 'payments'],
    class: 'opaque',
    timeout: 60_000
  },
  ...over
})
const anOrder = (verb: string, key: string, over: Partial<DriverOrder> = {}): DriverOrder => ({
  ...{ idempotencyKey: key, target: 'orders', verb, args: { zone: 'eu-1' }, fence: 1, deadlineMs: Date.now() + 120_000 },
  ...over
})

describe('exec driver', () => {
  it('hands over exactly the template, whatever a value holds', async () => {
    const commands = { show: command({ argv: ['/usr/bin/printf', '[%s][%s]', '{value}', 'end'], parameters: { value: '[^]*' } }) }
    const driver = execDriver({ commands })
    let ran = 0
    let refused = 0
    for (const payload of INJECTIONS) {
      const order = anOrder('show', 'k', { args: { value: payload } })
      try {
        driver.check(order)
      } catch (error) {
        expect(error).toMatchObject({ code: 'step_refused' })
        await expect(driver.apply(order, never)).rejects.toMatchObject({ code: 'step_refused' })
        refused++
        continue
      }
      expect((await driver.apply(order, never)).detail).toBe(`exit 0: [${payload}][end]`)
      ran++
    }
    expect(ran).toBeGreaterThan(300)
    expect(refused).toBeGreaterThan(50)
    expect(ran + refused).toBeGreaterThanOrEqual(500)
  })

  it('refuses every payload as target, verb, argument name and key', async () => {
    const driver = execDriver({ commands: { drain: command() } })
    for (const payload of PAYLOADS) {
      for (const wrong of [{ target: payload }, { verb: payload }, { args: { zone: 'eu-1', [payload]: 'x' } }, { args: { zone: payload } }]) {
        // An own property of that name, as JSON would make it.
        const order = anOrder('drain', 'k', JSON.parse(JSON.stringify(wrong)) as Partial<DriverOrder>)
        if (payload === '__proto__' && 'args' in wrong) order.args = JSON.parse('{"zone":"eu-1","__proto__":"x"}') as Record<string, unknown>
        expect(() => driver.check(order), JSON.stringify(wrong)).toThrow(AppError)
      }
    }
    for (const key of ['a\u0000b', 'a\nb', '', 'x'.repeat(200)])
      await expect(driver.apply(anOrder('drain', key), never)).rejects.toMatchObject({ code: 'step_refused' })
  })

  it('calls a failing program failed, and one that is ended unknown', async () => {
    const node = (code: string, more = {}) => command({ argv: [process.execPath, '-e', code], parameters: {}, ...more })
    const driver = execDriver({
      commands: {
        fails: node('console.error("no such zone"); process.exit(3)'),
        hangs: node('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)', { timeout: 300 }),
        dies: node('process.kill(process.pid, "SIGKILL")'),
        missing: command({ argv: [join(folder, 'nothing-here')], parameters: {} })
      }
    })
    const order = (verb: string) => anOrder(verb, 'k', { args: {} })
    await expect(driver.apply(order('fails'), never)).rejects.toMatchObject({ code: 'driver_failed', message: expect.stringContaining('exit 3: no such zone') })
    await expect(driver.apply(order('hangs'), never)).rejects.toMatchObject({ code: 'driver_unknown' })
    await expect(driver.apply(order('dies'), never)).rejects.toMatchObject({ code: 'driver_unknown' })
    await expect(driver.apply(order('missing'), never)).rejects.toMatchObject({ code: 'driver_failed' })
  })

  it('keeps head and tail of a flood of output', async () => {
    const flood = command({ argv: [process.execPath, '-e', 'console.log("first" + "x".repeat(1e6) + "last")'], parameters: {} })
    const { detail } = await execDriver({ commands: { flood } }).apply(anOrder('flood', 'k', { args: {} }), never)
    expect(detail.length).toBeLessThan(1_000)
    expect(detail).toMatch(/last$/)
  })

  it('refuses a configuration that could not be safe', () => {
    for (const broken of [{ argv: ['sh'] }, { argv: ['/bin/x', '{nothing}'] }, { parameters: { zone: '[' } }, { targets: ['-rf'] }]) {
      expect(() => execDriver({ commands: { drain: command(broken) } })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    }
  })

  it('gives the program nothing of our environment', async () => {
    process.env.HOMEOSTAT_TEST_SECRET = 'leak'
    const show = command({ argv: [process.execPath, '-p', 'JSON.stringify(Object.keys(process.env).sort())'], parameters: {} })
    const { detail } = await execDriver({ commands: { show } }).apply(anOrder('show', 'k', { args: {} }), never)
    delete process.env.HOMEOSTAT_TEST_SECRET
    expect(JSON.parse(detail.replace('exit 0: ', ''))).toEqual(['HOMEOSTAT_FENCE', 'HOMEOSTAT_IDEMPOTENCY_KEY', 'LC_ALL', 'PATH'])
  })
})
