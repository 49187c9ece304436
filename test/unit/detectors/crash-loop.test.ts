// Crash loops and readiness as supervisors report them: restart counts and 0/1 gauges.

import { describe, expect, it } from 'vitest'
import { POINT_KIND, type PointView, TEMPORALITY } from '../../../schemas/otlp.ts'
import { aPoint, aScorer, at, everySecond } from './builders.ts'

const POD = 'shop/checkout@checkout-1'
const SETTINGS = { window: '1s', lateness: '1s', warmupPoints: 30, absenceMin: '5s' }

/** A count that rises at each of these seconds. */
const restarts =
  (seconds: readonly number[], fields: Partial<Parameters<typeof aPoint>[0]> = {}) =>
  (second: number): PointView =>
    aPoint({
      entity: POD,
      name: 'k8s.container.restarts',
      unit: '{restart}',
      timeMs: at(second),
      value: seconds.filter(each => each <= second).length,
      ...fields
    })

describe('a crash loop', () => {
  it('opens at the third restart and closes when none came for longer than a back-off can last', () => {
    const fed = aScorer(SETTINGS)
    everySecond(fed, 0, 90, restarts([10, 15, 22, 34]))
    expect(fed.opened()).toMatchObject([
      { detector: 'crash_loop', entity: POD, severity: 'critical', direction: 'above', observed: 3, sinceMs: at(10), observedAtMs: at(22) }
    ])
    expect(fed.opened()[0]!.reason).toBe('shop/checkout@checkout-1 keeps crashing: 3 restarts within 12 s, since 08:00:10 UTC.')
    // The last gap was 12 s: 24 s without a restart are a back-off still, a second more is none.
    expect(fed.closed()).toMatchObject([{ id: fed.opened()[0]!.id, detector: 'crash_loop', observed: 4, observedAtMs: at(59) }])
  })

  it('is seen in every form of the count: gauge, sum of either kind', () => {
    for (const name of ['k8s.container.restarts', 'k8s.container.restart.count', 'kube_pod_container_status_restarts_total']) {
      for (const fields of [{}, { kind: POINT_KIND.sum, temporality: TEMPORALITY.cumulative, monotonic: true }]) {
        const fed = aScorer(SETTINGS)
        everySecond(fed, 0, 30, restarts([10, 15, 22], { name, ...fields }))
        expect(fed.opened(), name).toMatchObject([{ detector: 'crash_loop' }])
      }
    }
  })

  it('is none: one restart of a release, two within a minute, three far apart, what was counted before', () => {
    for (const seconds of [[50], [50, 60], [50, 500, 900], [0, 0, 0, 0, 0]]) {
      const fed = aScorer(SETTINGS)
      everySecond(fed, 0, 1_000, restarts(seconds))
      expect(fed.anomalies, String(seconds)).toEqual([])
    }
  })

  it('begins with the first restart after what ran well, however soon after a release', () => {
    const fed = aScorer(SETTINGS)
    everySecond(fed, 0, 90, restarts([35, 49, 53, 58]))
    expect(fed.opened()).toMatchObject([{ observed: 3, sinceMs: at(49), observedAtMs: at(58) }])
  })

  it('is one however slowly it turns: what counts is that no gap is longer than a back-off grows', () => {
    for (const seconds of [
      [40, 60, 100, 180],
      [40, 52, 64, 76],
      [40, 140, 300]
    ]) {
      const fed = aScorer(SETTINGS)
      everySecond(fed, 0, 310, restarts(seconds))
      expect(fed.opened(), String(seconds)).toMatchObject([{ observed: 3, sinceMs: at(40), observedAtMs: at(seconds[2]!) }])
    }
  })

  it('goes on over a new count: what was replaced and dies again is still dying', () => {
    const fed = aScorer(SETTINGS)
    everySecond(fed, 0, 60, second => {
      const count = [10, 15, 22].filter(each => each <= second).length
      const anew = [36, 45].filter(each => each <= second).length
      return restarts([])(second).timeMs >= at(30) ? restarts([], { value: anew })(second) : restarts([], { value: count })(second)
    })
    expect(fed.opened()).toHaveLength(1)
    expect(fed.closed()).toEqual([])
  })

  it('is over when nobody reports the count any more while the entity goes on', () => {
    const fed = aScorer(SETTINGS)
    const depth = (second: number): PointView => aPoint({ entity: POD, timeMs: at(second), value: 3 })
    everySecond(fed, 0, 30, second => [restarts([10, 15, 22])(second), depth(second)])
    everySecond(fed, 30, 120, depth)
    expect(fed.closed()).toMatchObject([{ detector: 'crash_loop' }])
  })

  it('goes on from a checkpoint as if nothing had happened', () => {
    const whole = aScorer(SETTINGS)
    everySecond(whole, 0, 90, restarts([10, 15, 22, 34]))
    for (const cut of [11, 16, 23, 40]) {
      const first = aScorer(SETTINGS)
      everySecond(first, 0, cut, restarts([10, 15, 22, 34]))
      const second = aScorer(SETTINGS, { parts: first.scorer.takeDirty() })
      everySecond(second, cut, 90, restarts([10, 15, 22, 34]))
      expect([...first.anomalies, ...second.anomalies], `cut ${cut}`).toEqual(whole.anomalies)
    }
  })
})

describe('readiness', () => {
  const ready = (from: number, to: number) => (second: number) =>
    aPoint({ entity: POD, name: 'k8s.container.ready', unit: '', timeMs: at(second), value: second >= from && second < to ? 0 : 1 })

  it('that is lost is an anomaly, and its return ends it', () => {
    const fed = aScorer(SETTINGS)
    everySecond(fed, 0, 100, ready(50, 80))
    expect(fed.opened()).toMatchObject([{ metric: 'k8s.container.ready', direction: 'below', severity: 'warning', observed: 0 }])
    expect(fed.closed()).toHaveLength(1)
  })

  it('that is lost for a moment is none', () => {
    const fed = aScorer(SETTINGS)
    everySecond(fed, 0, 100, ready(50, 52))
    expect(fed.anomalies).toEqual([])
  })
})
