// The contract of every driver, run on each of them: refusals without effect, one effect a key, and crash at each side of
// the effect resolved by the verb's class, as the executor resolves it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverOrder } from '../../schemas/ports.ts'

/** A driver on something real, and a witness that counts effects without asking the driver. */
export interface DriverRig {
  /** A driver as a fresh process would open it, on the same target. */
  open(): Driver
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

    it('does nothing when its time is over before it begins', async () => {
      const driver = rig.open()
      const order = rig.order(options.verbs[0]!, key())
      await expect(driver.apply(order, AbortSignal.abort())).rejects.toMatchObject({ code: expect.stringMatching(/^driver_/) })
      expect(await rig.effects(order.idempotencyKey)).toBe(0)
    })

    it.runIf(options.keepsFences)('refuses an older fence', async () => {
      const driver = rig.open()
      await driver.apply({ ...rig.order(options.verbs[0]!, key()), fence: 10 }, never)
      const older = { ...rig.order(options.verbs[0]!, key()), fence: 9 }
      await expect(driver.apply(older, never)).rejects.toMatchObject({ code: 'step_refused' })
      expect(await rig.effects(older.idempotencyKey)).toBe(0)
    })
  })
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
