import { describe, expect, test } from 'vitest'
import { acknowledgeCall, advanceCall, type CallState, endCall, openCall } from '../../../../actuators/escalate/calls.ts'
import { type CallSender, callSender } from '../../../../actuators/escalate/sender.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { type EscalationRules, escalationSchema } from '../../../../schemas/escalation.ts'
import type { Escalation, Page } from '../../../../schemas/ports.ts'
import { quietLogger } from '../../../support/log-tools.ts'
import { seededRandom, virtualClock } from '../../../support/virtual-clock.ts'

const T0 = 1_800_000_000_000
const hook = { kind: 'webhook', url: 'http://127.0.0.1:1/' } as const
const rules = escalationSchema.parse({
  channels: { default: hook, ada: hook, bob: hook },
  onCall: { orders: { page: [{ channels: ['ada'], timeout: '5m' }, { channels: ['bob'] }] } }
})

/** The sender on a state that lives as long as the test; `crash` forgets the sender between delivery and its note. */
function rig({ ownerOf, used = rules }: { ownerOf?: (entity: string) => Promise<string | undefined>; used?: EscalationRules } = {}) {
  const clock = virtualClock(T0)
  const state: CallState = { calls: {}, pages: [], maintenance: {} }
  const told: (Page & { channel: string; atMs: number })[] = []
  const counts = new Map<string, number>()
  const down = new Set<string>()
  let isForgetful = false
  const channel = (name: string): Escalation => ({
    async notify(page) {
      if (down.has(name)) {
        counts.set(`tries ${name}`, (counts.get(`tries ${name}`) ?? 0) + 1)
        throw new AppError('escalation_failed', `${name} is down`)
      }
      told.push({ ...page, channel: name, atMs: clock.nowMs() - T0 })
    }
  })
  const start = (): CallSender => {
    const sender = callSender({
      escalations: { default: channel('default'), ada: channel('ada'), bob: channel('bob') },
      rules: used,
      ownerOf,
      clock,
      random: seededRandom(1),
      logger: quietLogger,
      meter: {
        count: (name, value = 1, labels = {}) =>
          void counts.set(`${name} ${labels.result ?? ''}`.trim(), (counts.get(`${name} ${labels.result ?? ''}`.trim()) ?? 0) + value),
        gauge() {}
      },
      state: () => state,
      async sent(id) {
        if (isForgetful) return new Promise(() => {})
        state.pages = state.pages.filter(page => page.id !== id)
      },
      async advance(incidentId, owner) {
        const call = state.calls[incidentId]!
        if (owner !== undefined) call.owner ??= owner
        advanceCall(state, call, used, clock.nowMs())
      }
    })
    sender.start()
    return sender
  }
  const open = (incidentId = 'i1', channels = ['default']) =>
    openCall(state, { incidentId, environment: 'prod', entity: 'shop/orders', channels, severity: 'critical', summary: 's', details: {} }, false, clock.nowMs())
  return {
    ...{ clock, state, told, counts, down, start, open },
    forget: (on: boolean) => {
      isForgetful = on
    },
    said: () => told.map(({ action, channel }) => `${action} ${channel}`)
  }
}

describe('delivery', () => {
  test('the owner of the telemetry is called, and the next one when nobody acknowledges', async () => {
    const { start, open, clock, told, said } = rig({ ownerOf: async () => 'orders' })
    const sender = start()
    open()
    await clock.advance(10 * 60_000)
    expect(said()).toEqual(['trigger ada', 'trigger bob'])
    expect(told[0]).toMatchObject({ owner: 'orders', dedupKey: 'i1', atMs: expect.closeTo(0, -4) })
    expect(told[1]!.atMs - told[0]!.atMs).toBeGreaterThanOrEqual(5 * 60_000)
    expect(told[1]!.atMs - told[0]!.atMs).toBeLessThan(5 * 60_000 + 2_000)
    await sender.close()
  })

  test('a missing owner is counted, and a look-up that hangs or fails delays nobody for long', async () => {
    const asks = [async () => undefined, async () => Promise.reject(new AppError('store_unavailable', 'away')), () => new Promise<undefined>(() => {})]
    for (const ownerOf of asks) {
      const { start, open, clock, told, counts } = rig({ ownerOf })
      const sender = start()
      open()
      await clock.advance(10_000)
      expect(told).toMatchObject([{ channel: 'default', owner: null }])
      expect(told[0]!.atMs).toBeLessThan(5_000)
      expect(counts.get('homeostat.decide.calls.owner_missing')).toBe(1)
      await sender.close()
    }
  })

  test('a channel that is down is tried again with growing pauses, and holds up no other', async () => {
    const { start, open, clock, down, counts, told, said } = rig({ ownerOf: async () => 'orders' })
    const sender = start()
    down.add('ada')
    open('i1')
    open('i2', ['bob'])
    await clock.advance(60_000)
    expect(said()).toEqual(['trigger bob'])
    expect(counts.get('tries ada')).toBeGreaterThanOrEqual(4)
    expect(counts.get('tries ada')).toBeLessThanOrEqual(6) // 2, 4, 8, 16, 32 s and a little more.
    down.clear()
    await clock.advance(80_000)
    expect(said()).toEqual(['trigger bob', 'trigger ada'])
    expect(told.filter(({ channel }) => channel === 'ada')).toHaveLength(1)
    await sender.close()
  })

  test('of one incident a channel hears beginning, acknowledgement and end in their order, whatever failed', async () => {
    const { start, open, state, clock, down, said } = rig({ ownerOf: async () => 'orders' })
    const sender = start()
    down.add('ada')
    open()
    await clock.advance(5_000)
    acknowledgeCall(state, 'i1', 'ada')
    endCall(state, 'i1', 'over', {})
    await clock.advance(5_000)
    down.clear()
    await clock.advance(600_000)
    expect(said()).toEqual(['trigger ada', 'acknowledge ada', 'resolve ada'])
    await sender.close()
  })

  test('a crash between a delivery and its note repeats it under the same two keys, and nothing else', async () => {
    const { start, open, clock, told, forget, said } = rig({ ownerOf: async () => 'orders' })
    forget(true)
    start() // Never closed: it died.
    open()
    await clock.advance(2_000)
    expect(told).toHaveLength(1)
    forget(false)
    const second = start()
    await clock.advance(60_000)
    expect(said()).toEqual(['trigger ada', 'trigger ada'])
    expect(told[0]!.idempotencyKey).toBe(told[1]!.idempotencyKey)
    expect(told[0]!.dedupKey).toBe(told[1]!.dedupKey)
    await second.close()
  })

  test('a page is given up after a day, and counted', async () => {
    const { start, open, clock, down, state, counts } = rig({ ownerOf: async () => 'orders' })
    const sender = start()
    down.add('ada').add('bob')
    open()
    await clock.advance(25 * 3_600_000)
    expect(state.pages).toEqual([])
    expect(counts.get('homeostat.decide.pages given_up')).toBe(2)
    await sender.close()
  })
})
