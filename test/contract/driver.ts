// The contract of every driver, run on each of them: refusals without effect, nothing of a payload beyond its place, one effect a
// key, and a crash at every step resolved by the verb's class, as the executor resolves it.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverOrder } from '../../schemas/ports.ts'
import { INJECTIONS } from '../unit/actuators/drivers/injection-payloads.ts'

/** A driver on something real, and a witness that counts effects without asking the driver. */
export interface DriverRig {
  /** A driver as a fresh process would open it, on the same target. */
  open(): Driver
  /** How another process opens it: a file of actuators/drivers, its factory, and JSON options. */
  source: { file: string; factory: string; options: object }
  /** What reached the target of an accepted order beyond the template, since the last call; for drivers that take free text. */
  escapes?(order: DriverOrder): string[]
  /** Brings the target into a state in which an order of `verb` has an effect to count. */
  prepare?(verb: string): Promise<void>
  /** An order that works, of `verb`. */
  order(verb: string, key: string): DriverOrder
  /** Effects of the key on the target so far. */
  effects(key: string): Promise<number>
  /**
   * Makes the next apply of a freshly opened driver die: `before` its effect, or `after` it, before anything of it is
   * remembered. Resolves when that much has happened; the driver in question is not used again.
   */
  crash(order: DriverOrder, when: 'before' | 'after'): Promise<void>
  close(): Promise<void>
}

export interface DriverContractOptions {
  verbs: readonly string[]
  /** Orders that must be refused. */
  refused: readonly { what: string; order: Partial<Pick<DriverOrder, 'target' | 'verb' | 'args'>> }[]
  /** Verbs whose effect has no number of its own (stop when stopped): crash tests do not count them. */
  skip?: readonly { verb: string; why: string }[]
  /** Whether the driver keeps fences; one that passes them on to the target does not. */
  keepsFences: boolean
}

/** A driver's name, its rig, and what is particular about it. */
export type DriverSubject = readonly [name: string, openRig: () => Promise<DriverRig>, options: DriverContractOptions]

export function driverContract(name: string, openRig: () => Promise<DriverRig>, options: DriverContractOptions): void {
  describe(`driver contract: ${name}`, () => {
    let rig: DriverRig
    let keys = 0
    const key = () => `contract-${name}-${++keys}`
    beforeEach(async () => {
      rig = await openRig()
    })
    afterEach(() => rig.close())
    const never = new AbortController().signal

    it('names a class for every verb, and can be asked where it says detectable', () => {
      const driver = rig.open()
      for (const verb of options.verbs) expect(['convergent', 'detectable', 'opaque']).toContain(driver.verbs[verb])
      if (Object.values(driver.verbs).includes('detectable')) expect(driver.wasApplied).toBeTypeOf('function')
    })

    it.each(options.refused)('refuses $what before anything happens', async ({ order: wrong }) => {
      const driver = rig.open()
      const order = { ...rig.order(options.verbs[0]!, key()), ...wrong }
      expect(() => driver.check(order)).toThrow(expect.objectContaining({ code: 'step_refused' }))
      await expect(driver.apply(order, never)).rejects.toMatchObject({ code: 'step_refused' })
      expect(await rig.effects(order.idempotencyKey)).toBe(0)
    })

    it('answers an observation of facts that are JSON values', async () => {
      const { target } = rig.order(options.verbs[0]!, key())
      const { state, facts } = await rig.open().observe(target)
      expect(['running', 'stopped', 'failed', 'unknown']).toContain(state)
      for (const value of Object.values(facts)) expect(['string', 'number', 'boolean']).toContain(typeof value)
    })

    for (const verb of options.verbs) {
      const skipped = options.skip?.find(skip => skip.verb === verb)
      it.skipIf(skipped !== undefined)(`${verb}: one order, one effect, and a text that says so${skipped ? ` (${skipped.why})` : ''}`, async () => {
        await rig.prepare?.(verb)
        const driver = rig.open()
        const order = rig.order(verb, key())
        driver.check(order)
        const { detail } = await driver.apply(order, never)
        expect(detail).not.toBe('')
        expect(await rig.effects(order.idempotencyKey)).toBe(1)
        if (driver.verbs[verb] === 'detectable') expect(await rig.open().wasApplied!(order)).toBe('yes')
      })

      it.skipIf(skipped !== undefined)(`${verb}: a crash on either side of the effect is resolved to at most one`, async () => {
        for (const when of ['before', 'after'] as const) {
          await rig.prepare?.(verb)
          const order = rig.order(verb, key())
          await rig.crash(order, when)
          const resolved = await resume(rig.open(), order)
          const effects = await rig.effects(order.idempotencyKey)
          if (rig.open().verbs[verb] !== 'convergent') expect(effects, `${verb}, crash ${when} the effect`).toBeLessThanOrEqual(1)
          if (resolved === 'applied') expect(effects, `${verb}, crash ${when} the effect`).toBeGreaterThanOrEqual(1)
          if (rig.open().verbs[verb] === 'opaque') expect(resolved).toBe('unknown')
          else expect(resolved).toBe('applied')
        }
      })
    }

    for (const verb of options.verbs) {
      if (options.skip?.some(skip => skip.verb === verb)) continue
      it(`${verb}: kill -9 at every step is resolved to at most one effect`, { timeout: 600_000 }, async () => {
        const driverClass = rig.open().verbs[verb]
        let steps = 0
        for (let isWhole = false; !isWhole; ) {
          steps++
          expect(steps, 'an order ends').toBeLessThan(STEPS_MAX)
          await rig.prepare?.(verb)
          const order = rig.order(verb, key())
          isWhole = await applyAndDie(rig.source, order, steps)
          const resolved = isWhole ? 'applied' : await resume(rig.open(), order)
          const effects = await rig.effects(order.idempotencyKey)
          if (driverClass !== 'convergent') expect(effects, `${verb}, killed at step ${steps}`).toBeLessThanOrEqual(1)
          if (resolved === 'applied') expect(effects, `${verb}, killed at step ${steps}`).toBeGreaterThanOrEqual(1)
          if (!isWhole) expect(resolved, `${verb}, killed at step ${steps}`).toBe(driverClass === 'opaque' ? 'unknown' : 'applied')
        }
        expect(steps, 'there are steps to die at').toBeGreaterThan(3)
      })
    }

    it(`${INJECTIONS.length} payloads in every field: refused, or nothing beyond their place`, { timeout: 600_000 }, async () => {
      const driver = rig.open()
      const valid = rig.order(options.verbs[0]!, key())
      const fields: Record<string, (payload: string) => Partial<DriverOrder>> = {
        target: payload => ({ target: payload }),
        verb: payload => ({ verb: payload }),
        'name of an argument': payload => ({
          args: JSON.parse(`${JSON.stringify(valid.args).slice(0, -1)}${Object.keys(valid.args).length ? ',' : ''}${JSON.stringify(payload)}:"x"}`)
        }),
        key: payload => ({ idempotencyKey: payload }),
        ...Object.fromEntries(Object.keys(valid.args).map(name => [`argument ${name}`, (payload: string) => ({ args: { ...valid.args, [name]: payload } })]))
      }
      let refused = 0
      let carried = 0
      for (const [field, over] of Object.entries(fields)) {
        for (const payload of INJECTIONS) {
          const order = { ...valid, idempotencyKey: key(), deadlineMs: Date.now() + 120_000, ...over(payload) }
          const what = `${field}: ${JSON.stringify(payload.slice(0, 100))}`
          // A harmless key is taken; its order comes too late, so that only refusals are counted here.
          const signal = field === 'key' ? AbortSignal.abort() : never
          const failure = await driver.apply(order, signal).then(
            () => undefined,
            (error: AppError) => error
          )
          if (failure === undefined) {
            expect(rig.escapes, `${what} was accepted: the rig must judge it`).toBeDefined()
            expect(rig.escapes!(order), what).toEqual([])
            carried++
          } else {
            expect(['step_refused', 'driver_failed'], `${what}: ${failure.message}`).toContain(failure.code)
            refused++
          }
        }
      }
      expect(refused + carried).toBe(INJECTIONS.length * Object.keys(fields).length)
      expect(await rig.effects(valid.idempotencyKey)).toBe(0)
    })

    it('does nothing when its time is over before it begins', async () => {
      const driver = rig.open()
      const order = rig.order(options.verbs[0]!, key())
      await expect(driver.apply(order, AbortSignal.abort())).rejects.toMatchObject({ code: expect.stringMatching(/^driver_/) })
      expect(await rig.effects(order.idempotencyKey)).toBe(0)
    })

    it.runIf(options.keepsFences)('refuses an older fence', async () => {
      const driver = rig.open()
      const newer = rig.order(options.verbs[0]!, key())
      await driver.apply(newer, never)
      const older = { ...rig.order(options.verbs[0]!, key()), fence: newer.fence - 1 }
      await expect(driver.apply(older, never)).rejects.toMatchObject({ code: 'step_refused' })
      expect(await rig.effects(older.idempotencyKey)).toBe(0)
    })
  })
}

const STEPS_MAX = 300 // The longest order has about fifty.
const PROGRAM = `
  const { file, factory, options, order } = JSON.parse(process.argv[1])
  const driver = (await import(file))[factory](options)
  globalThis.crashArmed = true
  await driver.apply(order, new AbortController().signal)
  process.stdout.write('applied')
  process.exit(0)`

/** Applies the order in a process that is killed at its Nth step. @returns true when it had no such step: the order was applied */
async function applyAndDie(source: DriverRig['source'], order: DriverOrder, step: number): Promise<boolean> {
  const file = join(import.meta.dirname, '../../actuators/drivers', source.file)
  const preload = join(import.meta.dirname, 'drivers/crash-step.ts')
  const argv = ['--disable-warning=ExperimentalWarning', '--import', preload, '--input-type=module', '-e', PROGRAM, JSON.stringify({ ...source, file, order })]
  const child = spawn(process.execPath, argv, { env: { ...process.env, CRASH_AT: String(step) } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', chunk => {
      output += String(chunk)
    })
  }
  const signal = await new Promise<NodeJS.Signals | null>(resolve => child.once('exit', (_code, by) => resolve(by)))
  if (signal !== 'SIGKILL' && !output.endsWith('applied')) throw new Error(`step ${step} of ${order.verb}: neither killed nor applied: ${output}`)
  return signal !== 'SIGKILL'
}

/** What the executor does with an order that was begun by a process that died. */
async function resume(driver: Driver, order: DriverOrder): Promise<'applied' | 'unknown'> {
  const driverClass = driver.verbs[order.verb]
  if (driverClass === 'opaque') return 'unknown'
  if (driverClass === 'detectable') {
    const answer = await driver.wasApplied!(order)
    if (answer === 'yes') return 'applied'
    if (answer === 'unknown') return 'unknown'
  }
  try {
    await driver.apply(order, new AbortController().signal)
    return 'applied'
  } catch (error) {
    if (error instanceof AppError && error.code === 'driver_unknown') return 'unknown'
    throw error
  }
}
