// The tiers above the base, as the scorer runs them: who gets memory, what they find that the base tier cannot, what survives.

import { describe, expect, it } from 'vitest'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import type { PointView } from '../../../schemas/otlp.ts'
import { type SeriesBudget, unlimitedBudget } from '../../../detectors/score/budget.ts'
import { explainEntities, explainSeries } from '../../../detectors/score/explain.ts'
import { RichTier, IMPORTANCE } from '../../../detectors/score/rich/tier.ts'
import { aPoint, aScorer, at, chance, type FedScorer } from './builders.ts'

const ENTITY = 'shop/orders@orders-1'
const MINUTE_S = 60
const noRest = (): boolean => false

/** Shows what `points` makes of each minute. */
function everyMinute(fed: FedScorer, from: number, to: number, points: (minute: number) => PointView[]): void {
  for (let minute = from; minute < to; minute++) fed.feed(points(minute), at(minute * MINUTE_S))
}

const of = (fed: { anomalies: readonly Anomaly[] }, detector: string): Anomaly[] => fed.anomalies.filter(anomaly => anomaly.detector === detector)

const DAY_ROWS = 288
const ROW_S = 300

/** Orders by the time of day, every five minutes: many from nine to six, few else, until the day on which nobody comes. */
function orders(row: number, quietDay: number, { gaussian }: ReturnType<typeof chance>): number {
  const hour = (row % DAY_ROWS) / 12
  const isOpen = hour >= 9 && hour < 18 && Math.floor(row / DAY_ROWS) !== quietDay
  return (isOpen ? 80 : 20) + 2 * gaussian()
}

describe('rich tier', () => {
  it('tells a course that was never there before, though each value was', () => {
    const fed = aScorer()
    const dice = chance(1)
    for (let row = 0; row < 14 * DAY_ROWS; row++) {
      fed.feed([aPoint({ name: 'order.count', unit: '', timeMs: at(row * ROW_S), value: orders(row, 10, dice) })], at(row * ROW_S))
    }
    const day = at(10 * DAY_ROWS * ROW_S)
    const found = of(fed, 'novelty').filter(({ status, sinceMs }) => status === 'open' && sinceMs >= day)[0]!
    expect(found.sinceMs).toBeGreaterThan(day + 9 * 3_600_000)
    expect(found.sinceMs).toBeLessThan(day + 13 * 3_600_000)
    expect(found).toMatchObject({ metric: 'order.count', direction: 'below', entity: ENTITY })
    expect(found.score).toBeGreaterThanOrEqual(found.threshold)
    expect(found.reason).toMatch(/^order\.count of shop\/orders@orders-1 .* since \d\d:\d\d:\d\d UTC; expected .* of a normal series\.$/)
    const last = fed.anomalies.filter(({ id }) => id === found.id).at(-1)!
    expect(last).toMatchObject({ status: 'close', severity: found.severity })
  })

  it('is fed rows of a minute by a series of seconds, and each value by a slow one', () => {
    const fast = aScorer()
    for (let second = 0; second < 3_600; second += 10) fast.feed([aPoint({ timeMs: at(second), value: second % 60 })])
    const slow = aScorer()
    for (let second = 0; second < 36_000; second += 300) slow.feed([aPoint({ timeMs: at(second), value: second % 7 })])
    expect(explainSeries(fast.scorer, ENTITY)[0]!.rich).toMatchObject({ rows: 60, rowsMissing: 304 })
    expect(explainSeries(slow.scorer, ENTITY)[0]!.rich).toMatchObject({ rows: 120, rowsMissing: 244 })
  })

  it('gives slots by importance, spares those with an open anomaly, and takes those of series that stopped', () => {
    const budget: SeriesBudget = { ...unlimitedBudget(), slotsLeft: 2 }
    const tier = new RichTier(budget)
    expect([tier.grant(10, IMPORTANCE.ordinary, noRest), tier.grant(11, IMPORTANCE.key, noRest)]).toEqual([-1, -1])
    expect(tier.grant(12, IMPORTANCE.ordinary, noRest)).toBe(-1)
    expect(tier.slotOf(12)).toBe(-1)
    expect(tier.grant(12, IMPORTANCE.troubled, noRest)).toBe(10)
    expect([tier.slotOf(10), tier.slotOf(12), tier.size]).toEqual([-1, 0, 2])
    expect(tier.grant(13, IMPORTANCE.key, noRest)).toBe(12)
    expect(tier.grant(14, IMPORTANCE.key, noRest)).toBe(-1)
    expect(tier.grant(14, IMPORTANCE.ordinary, series => series === 11)).toBe(11)
    expect(tier.bytes).toBeLessThan(2 ** 18)
  })
})

/** Load, and four metrics that follow it; from `breaksAt` one follows no more, within what it always was. */
function machine(minute: number, breaksAt: number, dice: ReturnType<typeof chance>): PointView[] {
  const load = 50 + 40 * Math.sin((2 * Math.PI * minute) / 97) + 5 * dice.gaussian()
  const values = {
    load,
    'io.rate': 3 * load,
    'net.rate': 200 + 2 * load,
    'disk.usage': 30 + load / 2,
    'thread.count': minute >= breaksAt ? 160 - load : 10 + load
  }
  return Object.entries(values).map(([name, value]) => aPoint({ name, unit: '', timeMs: at(minute * MINUTE_S), value: value + dice.gaussian() }))
}

describe('models of entities', () => {
  it('tell metrics that no longer fit each other, and name the one', () => {
    const fed = aScorer()
    const dice = chance(2)
    everyMinute(fed, 0, 1_500, minute => machine(minute, 1_200, dice))
    expect(explainEntities(fed.scorer, ENTITY)[0]!.model).toMatchObject({ columns: 5, ready: true })
    const found = of(fed, 'multivariate').find(({ observedAtMs, status }) => status !== 'close' && observedAtMs >= at(1_200 * MINUTE_S))!
    expect(found.metric).toBe('thread.count')
    expect(found.observedAtMs).toBeLessThanOrEqual(at(1_215 * MINUTE_S))
    expect(found.reason).toMatch(
      /^The 5 metrics of shop\/orders@orders-1 together are unlike anything seen of it, since .*: thread\.count is .* where the others let expect .*;.*entity\.$/
    )
  })

  it('are given up for others when the memory is used up and their entity is gone', () => {
    const fed = aScorer({ memoryMax: 2 ** 20 })
    const dice = chance(3)
    expect(fed.scorer.tiers.models.size).toBe(0)
    everyMinute(fed, 0, 60, minute => machine(minute, 1e9, dice))
    expect(fed.scorer.tiers.models.size).toBe(1)
    const row = fed.scorer.tiers.models.modelOf(0)!
    expect(row.columns.length).toBe(5)
    fed.scorer.tiers.models.end(0)
    expect(fed.scorer.tiers.models.size).toBe(0)
  })
})

describe('what the tiers found', () => {
  const breaks = { spike: 1_500, machine: 1_650 }
  const minutes = 1_900
  const traffic = (seed: number): PointView[][] => {
    const dice = chance(seed)
    return Array.from({ length: minutes }, (_, minute) => [
      aPoint({ name: 'queue.depth', unit: '', timeMs: at(minute * MINUTE_S), value: 50 + 5 * dice.gaussian() + (minute === breaks.spike ? 400 : 0) }),
      ...machine(minute, breaks.machine, dice)
    ])
  }

  it('is the same from a checkpoint taken at any time', () => {
    const all = traffic(4)
    const whole = aScorer()
    for (const [minute, points] of all.entries()) whole.feed(points, at(minute * MINUTE_S))
    expect(of(whole, 'novelty').length).toBeGreaterThan(0)
    expect(of(whole, 'multivariate').length).toBeGreaterThan(0)
    const saved = new Map<string, Uint8Array>()
    const first = aScorer()
    const cuts = new Set([1, 29, 30, 31, 400, 1_501, 1_560, 1_652, 1_700])
    for (const [minute, points] of all.entries()) {
      if (cuts.has(minute)) {
        for (const [name, bytes] of first.scorer.takeDirty()) saved.set(name, bytes)
        const second = aScorer({}, { parts: new Map(saved) })
        for (const [index, later] of all.slice(minute).entries()) second.feed(later, at((minute + index) * MINUTE_S))
        expect([...first.anomalies, ...second.anomalies], `cut ${minute}`).toEqual(whole.anomalies)
      }
      first.feed(points, at(minute * MINUTE_S))
    }
  })

  it('does not change when points come twice, and in another order within a minute', () => {
    const all = traffic(5)
    const once = aScorer()
    const twice = aScorer()
    const turned = aScorer()
    for (const [minute, points] of all.entries()) {
      once.feed(points, at(minute * MINUTE_S))
      twice.feed([...points, ...points], at(minute * MINUTE_S))
      turned.feed(points.toReversed(), at(minute * MINUTE_S))
    }
    const story = (fed: FedScorer): string[] => fed.anomalies.map(({ id, status, score, reason }) => `${id} ${status} ${score} ${reason}`).sort()
    expect(story(once).length).toBeGreaterThan(0)
    expect(story(twice)).toEqual(story(once))
    expect(story(turned)).toEqual(story(once))
  })
})
