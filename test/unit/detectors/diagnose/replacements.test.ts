// An instance that a sibling replaced is no incident; one that is missing is.

import { expect, test } from 'vitest'
import { BIRTHS_KEEP_MS, BIRTHS_MAX } from '../../../../detectors/diagnose/replacements.ts'
import { restore, snapshot } from '../../../../detectors/diagnose/state.ts'
import type { Instance } from '../../../../schemas/topology.ts'
import { absence, anAnomaly, closing, reducer, T0 } from './builders.ts'

const PATIENCE_S = 50
const OVERLAP_S = 5 * PATIENCE_S
const OLD = 'lab/orders@orders-6f7c-1'
const NEW = 'lab/orders@orders-9b2d-1'

/** News of an instance that was first heard `bornS` seconds after T0. */
function news(entity: string, state: Instance['state'], bornS: number, fields: Partial<Instance> = {}): Instance {
  const firstSeenMs = T0 + bornS * 1_000
  const lastSeenMs = firstSeenMs + { new: 20_000, settled: 90_000, lost: 30_000 }[state]
  return { environment: 'lab', entity, state, firstSeenMs, lastSeenMs, patienceMs: PATIENCE_S * 1_000, ...fields }
}
/** An absence since `atS`, told when its sender's patience is over. */
const silence = (entity: string, atS: number, fields: object = {}) =>
  absence(entity, 'telemetry', { atS, detectedAtMs: T0 + (atS + PATIENCE_S) * 1_000, ...fields })

function fleet() {
  const made = reducer()
  return {
    ...made,
    hear: (instance: Instance) => made.feed({ kind: 'instance', record: instance }, (instance.lastSeenMs - T0) / 1_000),
    open: () => [...made.state.open.values()].map(({ incident }) => incident),
    ignored: () => made.effects.flatMap(effect => (effect.kind === 'ignored' ? [effect.reason] : []))
  }
}

test('an instance that a sibling replaced while both ran opens no incident', () => {
  const { hear, see, published, ignored } = fleet()
  hear(news(NEW, 'new', 960))
  see(silence(OLD, 1_000))
  hear(news(NEW, 'settled', 960))
  see(closing(silence(OLD, 1_000), 4_600))
  expect(published).toEqual([])
  expect(ignored()).toEqual(['replaced', 'unknown_close'])
})

test('a rolling release of a whole service is none either, and a replay of it is the same', () => {
  const { hear, see, published } = fleet()
  for (let replay = 0; replay < 2; replay++) {
    for (const number of [1, 2, 3, 4]) {
      hear(news(`lab/orders@orders-9b2d-${number}`, 'new', 1_000 + number * 120))
      see(silence(`lab/orders@orders-6f7c-${number}`, 1_040 + number * 120))
      hear(news(`lab/orders@orders-9b2d-${number}`, 'settled', 1_000 + number * 120))
    }
  }
  expect(published).toEqual([])
})

test('one that is started after the other has ended counts as well', () => {
  const { hear, see, published } = fleet()
  hear(news(NEW, 'new', 1_025))
  see(silence(OLD, 1_000))
  expect(published).toEqual([])
})

test.each<[string, Instance | undefined]>([
  ['a scale-down: nobody is new', undefined],
  ['a birth long before', news(NEW, 'settled', 1_000 - OVERLAP_S - 1)],
  ['a birth in another environment', news(NEW, 'new', 990, { environment: 'prod' })],
  ['a birth of another service', news('lab/payments@payments-9', 'new', 990)],
  ['a birth of a service with the same beginning', news('lab/orders-web@orders-9b2d-1', 'new', 990)],
  ['a birth of itself', news(OLD, 'new', 1_000 - OVERLAP_S - 600)]
])('%s: the silence is told', (_what, born) => {
  const { hear, see, open } = fleet()
  if (born !== undefined) hear(born)
  see(silence(OLD, 1_000))
  expect(open()).toMatchObject([{ unknownEntities: [OLD] }])
})

test('one birth makes good one end: of two that fall silent the second is told', () => {
  const { hear, see, open } = fleet()
  hear(news(NEW, 'new', 990))
  see(silence(OLD, 1_000), silence('lab/orders@orders-6f7c-2', 1_005))
  expect(open()).toMatchObject([{ unknownEntities: ['lab/orders@orders-6f7c-2'] }])
})

test('trouble that is no silence is told whoever is new', () => {
  const { hear, see, open } = fleet()
  hear(news(NEW, 'new', 990))
  see(anAnomaly({ entity: OLD, metric: 'http.server.errors', atS: 1_000 }))
  expect(open()).toHaveLength(1)
})

test('a replacement that is lost before it settled gives back the absence that it made good', () => {
  const { hear, see, open } = fleet()
  hear(news(NEW, 'new', 990))
  see(silence(OLD, 1_000))
  expect(open()).toEqual([])
  hear(news(NEW, 'lost', 990, { lastSeenMs: T0 + 1_200_000 }))
  expect(open()).toMatchObject([{ unknownEntities: [OLD], startedAtMs: T0 + 1_000_000 }])
})

test('unless the absence has ended meanwhile', () => {
  const { hear, see, published } = fleet()
  hear(news(NEW, 'new', 990))
  see(silence(OLD, 1_000), closing(silence(OLD, 1_000), 1_100))
  hear(news(NEW, 'lost', 990, { lastSeenMs: T0 + 1_200_000 }))
  expect(published).toEqual([])
})

test('a replacement that settled and falls silent is told, also when the next one is there already', () => {
  for (const hasNext of [false, true]) {
    const { hear, see, open } = fleet()
    hear(news(NEW, 'new', 990))
    see(silence(OLD, 1_000))
    hear(news(NEW, 'settled', 990))
    if (hasNext) hear(news('lab/orders@orders-9b2d-2', 'new', 1_150))
    see(silence(NEW, 1_100))
    expect(open()).toMatchObject([{ unknownEntities: [NEW] }])
  }
})

test('a sibling that was silent before it was needed stands in for nobody', () => {
  const { hear, see, open } = fleet()
  hear(news(NEW, 'settled', 900))
  see(silence(NEW, 990), silence(OLD, 1_000))
  expect(open().flatMap(incident => incident.unknownEntities)).toEqual([OLD, NEW].sort())
})

test('an absence that was told ends when a new sibling has settled, and says who replaced it', () => {
  const { hear, see, tick, open, incidents } = fleet()
  see(silence(OLD, 1_000))
  hear(news(NEW, 'new', 1_100))
  expect(open()).toMatchObject([{ unknownEntities: [OLD] }])
  hear(news(NEW, 'settled', 1_100))
  expect(open()).toMatchObject([{ unknownEntities: [], members: [{ closedAtMs: T0 + 1_190_000 }] }])
  expect(open()[0]!.members[0]!.reason).toContain(`Replaced by ${NEW}.`)
  tick(1_260)
  expect(incidents()).toMatchObject([{ status: 'resolved', resolution: 'self_healed' }])
})

test('of two absences that were told, one new sibling ends one', () => {
  const { hear, see, open } = fleet()
  see(silence(OLD, 1_000), silence('lab/orders@orders-6f7c-2', 1_001))
  hear(news(NEW, 'new', 1_100))
  hear(news(NEW, 'settled', 1_100))
  hear(news(NEW, 'settled', 1_100))
  expect(open()).toMatchObject([{ unknownEntities: ['lab/orders@orders-6f7c-2'] }])
})

test('births travel through a snapshot, with what is held back for them', () => {
  const first = fleet()
  first.hear(news(NEW, 'new', 990))
  first.see(silence(OLD, 1_000))
  const next = reducer({ state: restore(JSON.parse(JSON.stringify(snapshot(first.state)))) })
  next.see(silence(OLD, 1_000))
  expect(next.published).toEqual([])
  next.feed({ kind: 'instance', record: news(NEW, 'lost', 990, { lastSeenMs: T0 + 1_200_000 }) }, 1_200)
  expect(next.published.at(-1)).toMatchObject({ unknownEntities: [OLD] })
})

test('births are bounded by number and by age, and what one held back is told when it is forgotten', () => {
  const { hear, see, state, open } = fleet()
  for (let number = 0; number < BIRTHS_MAX + 100; number++) hear(news(`lab/web@web-${number}`, 'new', number / 10))
  expect(state.births.size).toBe(BIRTHS_MAX)
  hear(news(NEW, 'new', 1_000))
  see(silence(OLD, 1_000))
  expect(open()).toEqual([])
  hear(news('lab/web@late', 'new', 1_000 + BIRTHS_KEEP_MS / 1_000))
  expect([...state.births.keys()]).toEqual(['lab/lab/web@late'])
  expect(open()).toMatchObject([{ unknownEntities: [OLD] }])
})
