import { describe, expect, it } from 'vitest'
import type { PointView } from '../../../schemas/otlp.ts'
import { aCounter, aDelta, aHistogram, aPoint, aScorer, at, chance } from './builders.ts'

const MEMORY = { name: 'process.memory.usage', unit: 'By' }
const MB = 1e6

describe('scorer: state', () => {
  /** A busy minute and a half of four entities with all kinds of points; errors begin at 70 s. */
  function traffic(seed: number): PointView[][] {
    const { gaussian, uniform } = chance(seed)
    const totals = new Map<string, number>()
    const seconds: PointView[][] = []
    for (let second = 0; second < 100; second++) {
      const points: PointView[] = []
      for (const entity of ['a', 'b', 'c@1', 'c@2']) {
        const broken = entity === 'b' && second >= 70
        const total = (totals.get(entity) ?? 0) + 10 + (broken ? 500 : 0)
        totals.set(entity, total)
        points.push(
          aPoint({ entity, ...MEMORY, timeMs: at(second), value: 60 * MB + MB * gaussian() + (broken ? 200 * MB : 0) }),
          aCounter({ entity, name: 'io.errors', timeMs: at(second), value: total }),
          aHistogram([0.01, 0.02, 0.03, 0.04, broken ? 3 : 0.05], { entity, timeMs: at(second), startMs: at(second - 1) }),
          aDelta({ entity, name: 'homeostat.span.errors', timeMs: at(second), startMs: at(second - 1) + 0.001, value: broken ? 9 : uniform() < 0.02 ? 1 : 0 }),
          aDelta({ entity, name: 'homeostat.span.requests', timeMs: at(second), startMs: at(second - 1) + 0.001, value: 10 })
        )
      }
      seconds.push(points)
    }
    return seconds
  }
  const SETTINGS = { window: '1s', lateness: '1s', warmupPoints: 30, rules: [{ name: 'mem', metric: 'process.memory.usage', above: 100 * MB, for: '3s' }] }

  it('gives the same verdicts from a checkpoint taken at any second as without one', () => {
    const seconds = traffic(4)
    const whole = aScorer(SETTINGS)
    for (const [second, points] of seconds.entries()) whole.feed(points, at(second))
    expect(whole.opened().length).toBeGreaterThanOrEqual(4)
    for (const cut of [0, 1, 29, 30, 69, 71, 72, 73, 75, 90]) {
      const first = aScorer(SETTINGS)
      const saved = new Map<string, Uint8Array>()
      for (const [second, points] of seconds.slice(0, cut).entries()) {
        first.feed(points, at(second))
        // Several incremental saves, as the worker writes them.
        if (second % 10 === 3) for (const [name, bytes] of first.scorer.takeDirty()) saved.set(name, bytes)
      }
      for (const [name, bytes] of first.scorer.takeDirty()) saved.set(name, bytes)
      const second = aScorer(SETTINGS, { parts: saved })
      for (const [index, points] of seconds.slice(cut).entries()) second.feed(points, at(cut + index))
      expect([...first.anomalies, ...second.anomalies], `cut ${cut}`).toEqual(whole.anomalies)
    }
  })

  it('does not depend on the order of series within a second', () => {
    const seconds = traffic(5)
    const verdicts = (shuffle: (points: PointView[], second: number) => PointView[]) => {
      const fed = aScorer(SETTINGS)
      for (const [second, points] of seconds.entries()) fed.feed(shuffle([...points], second), at(second))
      return fed.anomalies.map(anomaly => `${anomaly.id} ${anomaly.status} ${anomaly.score}`).sort()
    }
    const inOrder = verdicts(points => points)
    expect(inOrder.length).toBeGreaterThan(0)
    expect(verdicts(points => points.reverse())).toEqual(inOrder)
    const { uniform } = chance(8)
    expect(
      verdicts(points =>
        points
          .map(point => [uniform(), point] as const)
          .sort((a, b) => a[0] - b[0])
          .map(([, point]) => point)
      )
    ).toEqual(inOrder)
  })

  it('does not depend on who overtakes whom within the lateness', () => {
    const overtaking = { ...SETTINGS, window: '5s', lateness: '3s' }
    for (const seed of [11, 12, 13]) {
      const seconds = traffic(seed)
      const inOrder = aScorer(overtaking)
      for (const [second, points] of seconds.entries()) inOrder.feed(points, at(second))
      const { uniform } = chance(seed)
      // Arrivals: each export of an entity up to 2.9 s late, so that several others overtake it.
      const arrivals = seconds
        .flatMap((points, second) =>
          ['a', 'b', 'c@1', 'c@2'].map(entity => ({ atS: second + 2.9 * uniform(), points: points.filter(point => point.resource.entity === entity) }))
        )
        .sort((a, b) => a.atS - b.atS)
      const overtaken = aScorer(overtaking)
      for (const { atS, points } of arrivals) overtaken.feed(points, at(atS))
      for (const fed of [inOrder, overtaken]) fed.feed([], at(130))
      const story = (fed: typeof inOrder): string[] => fed.anomalies.map(({ detectedAtMs: _, ...anomaly }) => JSON.stringify(anomaly)).sort()
      expect(overtaken.scorer.stats.late).toBe(0)
      expect(story(inOrder).length).toBeGreaterThanOrEqual(3)
      expect(story(overtaken), `seed ${seed}`).toEqual(story(inOrder))
    }
  })

  it.each([1_000, 300_000])('takes a backlog of a new series in one request whole, points %d ms apart', intervalMs => {
    const backlog = Array.from({ length: 300 }, (_, index) => aPoint({ timeMs: at(0) + index * intervalMs, value: 50 + (index % 7) }))
    const fed = aScorer()
    fed.feed(backlog, at(0) + 300 * intervalMs)
    fed.feed([], at(20) + 300 * intervalMs)
    expect(fed.scorer.stats).toMatchObject({ points: 300, scored: 300, late: 0, duplicate: 0 })
  })

  it('changes nothing when every point is delivered twice', () => {
    const seconds = traffic(6)
    const once = aScorer(SETTINGS)
    const twice = aScorer(SETTINGS)
    for (const [second, points] of seconds.entries()) {
      once.feed(points, at(second))
      twice.feed([...points, ...points], at(second))
    }
    expect(twice.anomalies).toEqual(once.anomalies)
    expect(twice.scorer.stats.scored).toBe(once.scorer.stats.scored)
  })

  it('gives the ids again when the state is lost and the log is read with other keys', () => {
    const seconds = traffic(7)
    const rekeyed = (point: PointView): PointView => ({ ...point, keyLow: point.keyLow ^ 0x5bd1e995, keyHigh: point.keyHigh ^ 0x1b873593 })
    const first = aScorer(SETTINGS)
    const second = aScorer(SETTINGS)
    for (const [index, points] of seconds.entries()) {
      first.feed(points, at(index))
      second.feed(points.map(rekeyed), at(index))
    }
    expect(second.anomalies).toEqual(first.anomalies)
    expect(first.anomalies.length).toBeGreaterThan(0)
  })
})
