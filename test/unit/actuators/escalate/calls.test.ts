import { describe, expect, test } from 'vitest'
import {
  acknowledgeCall,
  advanceCall,
  type Call,
  type CallState,
  configuredOwner,
  endCall,
  isCallDue,
  type News,
  openCall,
  PAGES_MAX,
  worsenCall
} from '../../../../actuators/escalate/calls.ts'
import { type EscalationRules, escalationSchema } from '../../../../schemas/escalation.ts'

const T0 = 1_800_000_000_000
const MINUTE = 60_000
const channel = { kind: 'webhook', url: 'http://127.0.0.1:1/' } as const
const rules: EscalationRules = escalationSchema.parse({
  channels: { default: channel, ada: channel, bob: channel, chat: channel, boss: channel },
  onCall: {
    default: { page: [{ channels: ['default'] }] },
    orders: {
      page: [
        { channels: ['ada'], timeout: '5m' },
        { channels: ['bob', 'chat'], timeout: '10m' }
      ],
      ticket: ['chat']
    }
  },
  owners: [{ service: 'shop/*', owner: 'orders' }]
})

const news = (over: Partial<News> = {}): News => ({
  ...{ incidentId: 'i1', environment: 'prod', entity: 'shop/orders@orders-1', channels: ['default'], severity: 'critical', summary: 'orders is silent' },
  details: { incidentId: 'i1', environment: 'prod' },
  ...over
})

function rig(over: Partial<EscalationRules> = {}) {
  const state: CallState = { calls: {}, pages: [], maintenance: {} }
  const used = { ...rules, ...over }
  return {
    state,
    open(fields: Partial<News> = {}, { owner = 'orders' as string | null, atMs = T0, isAgain = false } = {}): Call {
      const call = openCall(state, news(fields), isAgain, atMs)
      call.owner ??= owner
      advanceCall(state, call, used, atMs)
      return call
    },
    pass(call: Call, ms: number) {
      if (isCallDue(state, call, used, T0 + ms)) advanceCall(state, call, used, T0 + ms)
    },
    said: () => state.pages.map(({ channel, page }) => `${page.action} ${channel}`)
  }
}

describe('one call an incident', () => {
  test('news of an open call tell nobody again', () => {
    const { open, said } = rig()
    for (let repeat = 0; repeat < 5; repeat++) open({ summary: `news ${repeat}` }, { isAgain: true })
    expect(said()).toEqual(['trigger ada'])
  })

  test('every delivery has a key of its own, and all carry the incident as dedup key', () => {
    const { open, pass, state } = rig()
    const call = open()
    pass(call, 5 * MINUTE)
    endCall(state, 'i1', 'over', {})
    expect(new Set(state.pages.map(({ id }) => id)).size).toBe(state.pages.length)
    expect(new Set(state.pages.map(({ page }) => page.dedupKey))).toEqual(new Set(['i1']))
  })

  test('nobody is called before it is known whose it is; an incident that ends before that tells nobody', () => {
    const { state, said } = rig()
    const call = openCall(state, news(), false, T0)
    expect(isCallDue(state, call, rules, T0 + MINUTE)).toBe(false)
    expect(endCall(state, 'i1', 'over', {})).toBe(true)
    expect(said()).toEqual([])
    expect(state.calls).toEqual({})
  })
})

describe('on call', () => {
  test('the next step is called when nobody acknowledges in time, and the end of the steps is known', () => {
    const { open, pass, said } = rig()
    const call = open()
    pass(call, 5 * MINUTE - 1)
    expect(said()).toEqual(['trigger ada'])
    pass(call, 5 * MINUTE)
    expect(said()).toEqual(['trigger ada', 'trigger bob', 'trigger chat'])
    pass(call, 15 * MINUTE)
    expect(call.isExhausted).toBe(true)
    pass(call, 60 * MINUTE)
    expect(said()).toHaveLength(3)
  })

  test('rounds walk the steps again under the same key', () => {
    const onCall = { orders: { ...rules.onCall.orders!, rounds: 2 } }
    const { open, pass, said } = rig({ onCall })
    const call = open()
    for (const minute of [5, 15, 20]) pass(call, minute * MINUTE)
    expect(said()).toEqual(['trigger ada', 'trigger bob', 'trigger chat', 'trigger ada', 'trigger bob', 'trigger chat'])
  })

  test('an acknowledgement ends the steps and tells whoever was called who has it; a second one says nothing new', () => {
    const { open, pass, state, said } = rig()
    const call = open()
    expect(acknowledgeCall(state, 'i1', 'ada')).toBe(true)
    expect(acknowledgeCall(state, 'i1', 'bob')).toBe(false)
    expect(acknowledgeCall(state, 'another', 'bob')).toBe(false)
    pass(call, 60 * MINUTE)
    expect(said()).toEqual(['trigger ada', 'acknowledge ada'])
    expect(state.pages[1]!.page).toMatchObject({ summary: 'ada has it: orders is silent', details: { by: 'ada' } })
  })

  test('automation that gives up after somebody had taken the question calls again', () => {
    const { open, state, said } = rig()
    open()
    acknowledgeCall(state, 'i1', 'ada')
    open({ summary: 'three attempts did not help' }, { isAgain: true, atMs: T0 + MINUTE })
    expect(said()).toEqual(['trigger ada', 'acknowledge ada', 'trigger ada'])
    expect(state.pages.at(-1)!.page.summary).toBe('three attempts did not help')
  })

  test('other channels of the policy hear at once beside whoever is on call; a policy without `default` calls only its own', () => {
    const both = rig()
    both.open({ channels: ['boss', 'default'] })
    expect(both.said()).toEqual(['trigger ada', 'trigger boss'])
    const own = rig()
    const call = own.open({ channels: ['boss'] })
    own.pass(call, 24 * 60 * MINUTE)
    expect(own.said()).toEqual(['trigger boss'])
  })

  test('a missing or unknown owner calls the default, and the page says that nobody is named', () => {
    for (const owner of [null, 'nobody-we-know', '__proto__']) {
      const { open, said, state } = rig()
      open({}, { owner })
      expect(said()).toEqual(['trigger default'])
      expect(state.pages[0]!.page.owner).toBe(owner)
    }
  })
})

describe('page against ticket', () => {
  test('what is below the severity to page from is a ticket: no steps, and an end', () => {
    const { open, pass, said, state } = rig()
    const call = open({ severity: 'info' })
    pass(call, 60 * MINUTE)
    endCall(state, 'i1', 'over', {})
    expect(said()).toEqual(['trigger chat', 'resolve chat'])
    expect(state.pages[0]!.page.urgency).toBe('ticket')
  })

  test('a ticket whose incident gets worse becomes a page, once; both are ended, each as it was told', () => {
    const { open, said, state } = rig()
    const call = open({ severity: 'info' })
    expect(worsenCall(call, 'critical', rules, T0 + MINUTE)).toBe(true)
    expect(worsenCall(call, 'critical', rules, T0 + MINUTE)).toBe(false)
    advanceCall(state, call, rules, T0 + MINUTE)
    endCall(state, 'i1', 'over', {})
    expect(said()).toEqual(['trigger chat', 'trigger ada', 'resolve chat', 'resolve ada'])
    expect(state.pages.map(({ page }) => `${page.severity} ${page.urgency}`)).toEqual(['info ticket', 'critical page', 'info ticket', 'critical page'])
  })
})

describe('the end', () => {
  test('everyone who was called hears it, also in maintenance, also after an acknowledgement', () => {
    const { open, pass, said, state } = rig()
    const call = open()
    pass(call, 5 * MINUTE)
    acknowledgeCall(state, 'i1', 'bob')
    Object.assign(state.maintenance, { m: { match: '*', fromMs: T0, toMs: T0 + 600 * MINUTE } })
    expect(endCall(state, 'i1', 'over', { resolution: 'self_healed' })).toBe(true)
    expect(said().slice(-3)).toEqual(['resolve ada', 'resolve bob', 'resolve chat'])
    expect(state.pages.at(-1)!.page.details).toEqual({ resolution: 'self_healed', environment: 'prod', target: 'shop/orders@orders-1' })
    expect(endCall(state, 'i1', 'over', {})).toBe(false)
  })

  test('maintenance holds calling back and not for ever', () => {
    for (const match of ['shop/orders@orders-1', 'shop/orders', 'orders', 'prod', '*', '']) {
      const { open, pass, said, state } = rig()
      Object.assign(state.maintenance, { m: { match, fromMs: T0, toMs: T0 + 30 * MINUTE } })
      const call = open()
      pass(call, 29 * MINUTE)
      expect(said(), match).toEqual([])
      pass(call, 30 * MINUTE)
      expect(said(), match).toEqual(['trigger ada'])
    }
    const other = rig()
    Object.assign(other.state.maintenance, { m: { match: 'shop/payments', fromMs: T0, toMs: T0 + 30 * MINUTE } })
    other.open()
    expect(other.said()).toEqual(['trigger ada'])
  })

  test('a full queue drops the oldest beginnings, and no end', () => {
    const { open, state } = rig()
    for (let index = 0; index < PAGES_MAX; index++) open({ incidentId: `i${index}` })
    for (let index = 0; index < PAGES_MAX; index++) endCall(state, `i${index}`, 'over', {})
    expect(state.pages).toHaveLength(PAGES_MAX)
    expect(state.pages.every(({ page }) => page.action === 'resolve')).toBe(true)
  })
})

test('the configuration names owners by service; the first match counts', () => {
  const owners = [
    { service: 'shop/orders', owner: 'a' },
    { service: 'shop/*', owner: 'b' },
    { service: '*-db@*', owner: 'c' },
    { service: '@web-*', owner: 'd' }
  ]
  const owned = Object.entries({
    'shop/orders@o-1': 'a',
    'shop/orders': 'a',
    'shop/cart': 'b',
    'x/y-db@1': 'c',
    '@web-7': 'd',
    'shopx/y': undefined,
    shop: undefined
  })
  for (const [entity, owner] of owned) expect(configuredOwner(entity, { owners }), entity).toBe(owner)
})

test('a step that names a channel that is not there is refused with the owner', () => {
  const parsed = escalationSchema.safeParse({ channels: {}, onCall: { orders: { page: [{ channels: ['ada'] }] } } })
  expect(parsed.error?.issues).toMatchObject([{ path: ['onCall', 'orders'], message: /no channel ada/ }])
})
