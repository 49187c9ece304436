// From open to resolved: what a verdict, time and lingering alerts do to an incident.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EXPIRE_AFTER_MS, HEALED_GRACE_FACTOR } from '../../../../detectors/diagnose/lifecycle.ts'
import { restore, snapshot } from '../../../../detectors/diagnose/state.ts'
import { absence, aDecision, anAnomaly, anOutcome, CONFIG, closing, reducer, T0 } from './builders.ts'

const ORDERS = 'lab/orders@orders-1'
const SILENT = absence(ORDERS, 'process.memory.usage', { atS: 1 })
const ERRORS = anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 2 })

function acting() {
  const made = reducer()
  made.see(SILENT, ERRORS)
  const incident = made.published.at(-1)!
  made.feed({ kind: 'decision', record: aDecision(incident) }, 10)
  return { ...made, incident, last: () => made.published.at(-1)! }
}

test('an incident whose members all closed resolves by itself after resolveAfter', () => {
  const { see, tick, published } = reducer()
  see(ERRORS, closing(ERRORS, 20))
  tick(79)
  expect(published.at(-1)!.status).toBe('open')
  tick(81)
  expect(published.at(-1)).toMatchObject({ status: 'resolved', resolution: 'self_healed', healedAtMs: T0 + 20_000, resolvedAtMs: T0 + 81_000 })
})

test('a command makes it acting, counted once however often the decision is read', () => {
  const { feed, incident, last, published } = acting()
  expect(last()).toMatchObject({ status: 'acting', attempts: 1 })
  const count = published.length
  feed({ kind: 'decision', record: aDecision(incident) }, 11)
  expect(published).toHaveLength(count)
})

test('a healed verdict resolves as soon as the last alert has decayed, healed from when the checks passed', () => {
  const { feed, see, tick, incident, last } = acting()
  feed({ kind: 'outcome', record: anOutcome(incident) }, 30)
  expect(last()).toMatchObject({ status: 'open', healedAtMs: T0 + 15_000 })
  see(closing(SILENT, 40))
  tick(60)
  expect(last().status).toBe('open')
  see(closing(ERRORS, 90))
  expect(last()).toMatchObject({ status: 'resolved', resolution: 'remediated', healedAtMs: T0 + 15_000 })
})

test('a member that stays open beyond the grace keeps the incident open, unhealed', () => {
  const { feed, tick, incident, last } = acting()
  feed({ kind: 'outcome', record: anOutcome(incident) }, 30)
  const graceS = (CONFIG.resolveAfter * HEALED_GRACE_FACTOR) / 1_000
  tick(30 + graceS)
  expect(last().healedAtMs).toBe(T0 + 15_000)
  tick(31 + graceS)
  expect(last()).toMatchObject({ status: 'open', healedAtMs: null })
})

test('what the action itself causes does not keep a healed incident open', () => {
  const { feed, see, incident, last } = acting()
  see(anAnomaly({ entity: ORDERS, metric: 'process.memory.usage', direction: 'below', atS: 12 }))
  feed({ kind: 'outcome', record: anOutcome(incident) }, 30)
  see(closing(SILENT, 40), closing(ERRORS, 41))
  expect(last()).toMatchObject({ status: 'resolved', resolution: 'remediated' })
})

test('new trouble of the healed target that lasts contradicts the verdict before the grace is over', () => {
  const { feed, see, tick, incident, last } = acting()
  feed({ kind: 'outcome', record: anOutcome(incident) }, 30)
  see(absence(ORDERS, 'telemetry', { atS: 35 }))
  tick(35 + CONFIG.resolveAfter / 1_000 - 1)
  expect(last().healedAtMs).toBe(T0 + 15_000)
  tick(35 + CONFIG.resolveAfter / 1_000)
  expect(last()).toMatchObject({ status: 'open', healedAtMs: null })
})

test.each([
  ['a blip of the target that passes', ORDERS, 'http.server.errors', 35],
  ['a busy processor after the restart', ORDERS, 'process.cpu.utilization', 35],
  ['a late symptom from before the healed moment', ORDERS, 'http.server.errors', 14],
  ['trouble of a neighbour', 'lab/gateway', 'homeostat.span.duration', 35]
])('%s does not contradict the verdict', (_what, entity, metric, atS) => {
  const { feed, see, tick, incident, last } = acting()
  feed({ kind: 'outcome', record: anOutcome(incident) }, 30)
  const blip = anAnomaly({ entity, metric, atS })
  see(blip)
  tick(70)
  expect(last().healedAtMs).toBe(T0 + 15_000)
  see(closing(blip, 75), closing(SILENT, 75), closing(ERRORS, 76))
  expect(last()).toMatchObject({ status: 'resolved', resolution: 'remediated' })
})

test.each(['partial', 'ineffective', 'harmful', 'inconclusive', 'unknown', 'refused'] as const)(
  'a %s verdict makes it undecided again and heals nothing',
  verdict => {
    const { feed, incident, last } = acting()
    feed({ kind: 'outcome', record: anOutcome(incident, { verdict, healedAtMs: null }) }, 30)
    expect(last()).toMatchObject({ status: 'open', healedAtMs: null, attempts: 1 })
  }
)

test('an incident does not close by itself while its command runs', () => {
  const { see, tick, last } = acting()
  see(closing(SILENT, 15), closing(ERRORS, 15))
  tick(300)
  expect(last().status).toBe('acting')
})

test('an outcome that is read before its decision leaves nothing acting', () => {
  const { see, feed, published } = reducer()
  see(SILENT)
  const incident = published.at(-1)!
  feed({ kind: 'outcome', record: anOutcome(incident, { verdict: 'ineffective', healedAtMs: null }) }, 30)
  feed({ kind: 'decision', record: aDecision(incident) }, 31)
  expect(published.at(-1)).toMatchObject({ status: 'open', attempts: 1 })
})

test('an escalated incident that ends by itself says so, one that a command healed is remediated', () => {
  const given = reducer()
  given.see(ERRORS)
  given.feed({ kind: 'decision', record: aDecision(given.published.at(-1)!, { outcome: 'escalate', commandId: null }) }, 5)
  expect(given.published.at(-1)!.status).toBe('escalated')
  given.see(closing(ERRORS, 20))
  given.tick(100)
  expect(given.published.at(-1)).toMatchObject({ status: 'resolved', resolution: 'escalated' })
})

test('trouble after the end is a new incident, a straggling record of the old one is not', () => {
  const { see, tick, incidents, published } = reducer()
  see(ERRORS, closing(ERRORS, 20))
  tick(21)
  tick(100)
  const count = published.length
  see(ERRORS, closing(ERRORS, 20))
  expect(published).toHaveLength(count)
  see(anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.errors', atS: 110 }))
  expect(incidents()).toHaveLength(2)
})

test('an incident that nothing closes expires after a day', () => {
  const { see, tick, published } = reducer()
  see(ERRORS)
  tick(2 + EXPIRE_AFTER_MS / 1_000 + 2)
  expect(published.at(-1)).toMatchObject({ status: 'resolved', resolution: 'expired' })
})

test('silent entities are listed as unknown until they are heard again', () => {
  const { see, published } = reducer()
  see(SILENT)
  expect(published.at(-1)!.unknownEntities).toEqual([ORDERS])
  see(closing(SILENT, 20))
  expect(published.at(-1)!.unknownEntities).toEqual([])
})

test('a state that went through its snapshot goes on exactly as the one that did not', () => {
  const script = (through: boolean) => {
    const made = reducer()
    made.see(SILENT, ERRORS)
    const next = reducer({ edges: [], state: through ? restore(JSON.parse(JSON.stringify(snapshot(made.state)))) : made.state })
    const incident = made.published.at(-1)!
    next.feed({ kind: 'decision', record: aDecision(incident) }, 10)
    next.feed({ kind: 'outcome', record: anOutcome(incident) }, 30)
    next.see(SILENT, anAnomaly({ entity: 'lab/orders', metric: 'homeostat.span.errors', atS: 9 }), closing(SILENT, 40), closing(ERRORS, 41))
    next.tick(500)
    return next.published
  }
  expect(script(true)).toEqual(script(false))
})

test('a wobble just before the trouble does not move the onset, and closing does not rewrite what was seen', () => {
  const { see, published } = reducer()
  const wobble = anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.duration', severity: 'warning', atS: 1 })
  see(wobble)
  expect(published.at(-1)!.startedAtMs).toBe(wobble.sinceMs)
  see({ ...ERRORS, severity: 'critical' })
  expect(published.at(-1)!.startedAtMs).toBe(ERRORS.sinceMs)
  see({ ...closing(ERRORS, 20), reason: 'errors are back at 0' })
  expect(published.at(-1)!.members.map(({ reason }) => reason)).toEqual([wobble.reason, ERRORS.reason])
})

test('once all trouble has closed, what merely comes back does not become the cause', () => {
  const { see, published } = reducer()
  see({ ...ERRORS, severity: 'critical' }, closing(ERRORS, 20))
  const [cause] = published.at(-1)!.causes
  see(anAnomaly({ entity: 'lab/gateway', metric: 'homeostat.span.requests', severity: 'warning', direction: 'above', atS: 21 }))
  expect(published.at(-1)!.causes[0]).toMatchObject({ entity: cause!.entity, signature: cause!.signature, open: false })
})

test.each([
  ['the later one', 15_000, 40_000],
  ['the earlier one', 40_000, 15_000]
])(
  'of several members one is healed while another is being verified: the incident waits for both, and is healed when the last was, heard of last: %s',
  (_, firstMs, secondMs) => {
    const { feed, see, tick, incident, last } = acting()
    feed({ kind: 'decision', record: aDecision(incident, { id: 'decision-2', commandId: 'command-2', attempt: 2 }) }, 11)
    feed({ kind: 'outcome', record: anOutcome(incident, { commandId: 'command-2', attempt: 2, healedAtMs: T0 + firstMs }) }, 30)
    see(closing(SILENT, 31), closing(ERRORS, 31))
    tick(200)
    expect(last().status).not.toBe('resolved')
    feed({ kind: 'outcome', record: anOutcome(incident, { healedAtMs: T0 + secondMs }) }, 201)
    expect(last()).toMatchObject({ status: 'resolved', resolution: 'remediated', healedAtMs: T0 + 40_000 })
  }
)

test('of several members one is healed and a later one is not: the incident goes on at once, whatever came in between', () => {
  const { feed, incident, last } = acting()
  feed({ kind: 'outcome', record: anOutcome(incident, { commandId: 'member-2', attempt: 2 }) }, 30)
  expect(last().healedAtMs).toBe(T0 + 15_000)
  feed({ kind: 'outcome', record: anOutcome(incident, { attempt: 1, verdict: 'ineffective' }) }, 31) // Given up before, heard of late.
  feed({ kind: 'outcome', record: anOutcome(incident, { commandId: 'member-3', attempt: 3, verdict: 'refused' }) }, 32)
  expect(last().healedAtMs).toBe(T0 + 15_000)
  feed({ kind: 'outcome', record: anOutcome(incident, { commandId: 'member-4', attempt: 4, verdict: 'ineffective' }) }, 33)
  expect(last()).toMatchObject({ status: 'open', healedAtMs: null })
})

test('of several members that are acted on side by side the outcomes say the same in whatever order they come, and the last ends the acting', () => {
  const VERDICTS = ['healed', 'healed', 'ineffective', 'refused', 'undone'] as const
  let healed = 0
  const verdicts = fc.array(fc.record({ verdict: fc.constantFrom(...VERDICTS), healedS: fc.integer({ min: 12, max: 40 }) }), { minLength: 2, maxLength: 5 })
  const shuffled = verdicts.chain(members => {
    const places = fc.shuffledSubarray([...members.keys()], { minLength: members.length })
    return fc.record({ members: fc.constant(members), order: places, other: places })
  })
  fc.assert(
    fc.property(shuffled, ({ members, order, other }) => {
      const end = (places: readonly number[]) => {
        const { feed, incident, last } = acting()
        for (const index of members.keys())
          feed({ kind: 'decision', record: aDecision(incident, { id: `decision-${index}`, commandId: `member-${index}`, attempt: index + 2 }) }, 11)
        feed({ kind: 'outcome', record: anOutcome(incident, { verdict: 'refused' }) }, 30)
        for (const index of places) {
          expect(last().status).toBe('acting')
          const { verdict, healedS } = members[index]!
          const healedAtMs = verdict === 'healed' ? T0 + healedS * 1_000 : null
          feed({ kind: 'outcome', record: anOutcome(incident, { commandId: `member-${index}`, attempt: index + 2, verdict, healedAtMs }) }, 31)
        }
        return { status: last().status, healedAtMs: last().healedAtMs }
      }
      const ended = end(order)
      expect(end(other)).toEqual(ended)
      const telling = members.findLast(({ verdict }) => verdict !== 'refused')
      expect(ended.healedAtMs !== null).toBe(telling?.verdict === 'healed')
      if (ended.healedAtMs !== null) healed++
    }),
    { seed: 8 }
  )
  expect(healed).toBeGreaterThan(10) // Else the test says little.
})

test('a command whose outcome does not come in time is awaited no more; what becomes of it later still counts', () => {
  for (const isLate of [false, true]) {
    const { feed, see, tick, published } = reducer()
    see(SILENT, ERRORS)
    const incident = published.at(-1)!
    feed({ kind: 'decision', record: aDecision(incident, { outcomeByMs: T0 + 300_000 }) }, 10)
    see(closing(SILENT, 15))
    tick(299)
    expect(published.at(-1)!.status).toBe('acting')
    tick(300)
    expect(published.at(-1)!.status).toBe('open')
    if (isLate) feed({ kind: 'outcome', record: anOutcome(incident, { recordedAtMs: T0 + 310_000 }) }, 310)
    see(closing(ERRORS, 320))
    tick(400)
    expect(published.at(-1)).toMatchObject({ status: 'resolved', resolution: isLate ? 'remediated' : 'self_healed' })
  }
})
