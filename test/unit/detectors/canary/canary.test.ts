import { describe, expect, it } from 'vitest'
import { type CanaryEffect, type CanaryEvent, reduceCanary } from '../../../../detectors/canary/canary.ts'
import { CANARIES_MAX, emptyBook, restore, snapshot, SOURCES_MAX } from '../../../../detectors/canary/state.ts'
import type { Anomaly } from '../../../../schemas/anomaly.ts'
import type { CanaryOrder } from '../../../../schemas/control.ts'
import { anOrder, aWindow, playCanary, T0 } from '../../../support/canary-run.ts'

const GOOD = Array.from({ length: 50 }, (_, index) => 0.01 + index / 10_000)

/** A book that is fed and remembers what came out; `second` is its clock and the windows' start. */
function rig() {
  const book = emptyBook()
  const effects: CanaryEffect[] = []
  const feed = (event: CanaryEvent, second: number): CanaryEffect[] => {
    const made = reduceCanary(book, event, T0 + second * 1_000)
    effects.push(...made)
    return made
  }
  return {
    book,
    feed,
    order: (fields: Partial<CanaryOrder>, second = 0) => feed({ kind: 'order', record: anOrder({ atMs: T0 + second * 1_000, ...fields }) }, second),
    /** Both arms, 50 requests each, a second. */
    serve(fromSecond: number, toSecond: number, errors: { canary?: number; baseline?: number } = {}): void {
      for (let second = fromSecond; second < toSecond; second++) {
        feed({ kind: 'window', record: aWindow({ second, durations: GOOD, errors: errors.canary ?? 0 }) }, second + 2)
        feed({ kind: 'window', record: aWindow({ second, version: '1.0.0', durations: GOOD, errors: errors.baseline ?? 0 }) }, second + 2)
      }
    },
    tick: (second: number) => feed({ kind: 'tick' }, second),
    state: (id = 'c1') => book.canaries.get(id)?.record.state,
    anomalies: (): Anomaly[] => effects.flatMap(effect => (effect.kind === 'anomaly' ? [effect.record] : []))
  }
}

describe('a canary', () => {
  it('that fails raises one anomaly of service@version, is quarantined, and the anomaly closes when it no longer serves', () => {
    const { order, serve, state, tick, anomalies, book } = rig()
    order({})
    serve(0, 20, { canary: 8 })
    expect(state()).toBe('failed')
    expect(anomalies()).toMatchObject([
      { status: 'open', detector: 'canary', entity: 'shop/orders@2.0.0', service: 'orders', severity: 'critical', metric: 'homeostat.release.error_difference' }
    ])
    expect(anomalies()[0]!.reason).toMatch(/16\.0 % of \d+ requests fail, 0\.0 % of \d+ in the baseline/)
    tick(23)
    expect(anomalies().length).toBe(1)
    tick(40)
    expect(anomalies().map(({ id, status }) => [id, status])).toEqual([
      [anomalies()[0]!.id, 'open'],
      [anomalies()[0]!.id, 'close']
    ])
    expect(book.canaries.get('c1')!.record.quarantined).toBe(true)
  })

  it('is not judged by windows that began before it did, nor twice by a window that is told again', () => {
    const { order, feed, serve, book } = rig()
    order({}, 10)
    expect(feed({ kind: 'window', record: aWindow({ second: 9, durations: GOOD }) }, 12)).toEqual([{ kind: 'ignored', reason: 'early' }])
    serve(10, 13)
    serve(10, 13)
    serve(13, 16)
    expect(book.canaries.get('c1')!.arms.canary.requests).toBe(5 * GOOD.length) // The last window is still open.
  })

  it('waits until both arms are past a window: a fault that hits both is seen in one of them first', () => {
    const { order, feed, serve, state } = rig()
    order({ samplesMin: 200 })
    serve(0, 4)
    for (let second = 4; second < 12; second++) feed({ kind: 'window', record: aWindow({ second, durations: GOOD, errors: 50 }) }, second + 2)
    expect(state()).toBe('running')
    for (let second = 4; second < 12; second++) feed({ kind: 'window', record: aWindow({ second, version: '1.0.0', durations: GOOD, errors: 50 }) }, 14)
    expect(state()).toBe('running')
  })

  it('does not wait for an arm that is gone', () => {
    const { order, feed, serve, book } = rig()
    order({})
    serve(0, 4)
    for (let second = 4; second < 20; second++) feed({ kind: 'window', record: aWindow({ second, durations: GOOD }) }, second + 2)
    expect(book.canaries.get('c1')!.arms.canary.requests).toBe(10 * GOOD.length)
    expect(book.canaries.get('c1')!.open.size).toBe(10)
  })

  it('that is paused gives no pass, but a failure ends it', () => {
    const good = rig()
    good.order({})
    good.order({ order: 'pause' }, 1)
    good.serve(1, 60)
    expect(good.state()).toBe('paused')
    good.order({ order: 'resume' }, 62)
    good.serve(60, 120)
    expect(good.state()).toBe('passed')
    const bad = rig()
    bad.order({})
    bad.order({ order: 'pause' }, 1)
    bad.serve(1, 30, { canary: 8 })
    expect(bad.state()).toBe('failed')
  })

  it.each(['running', 'paused', 'passed', 'inconclusive', 'no_data', 'released', 'refused'] as const)('that is %s can be aborted', wanted => {
    const { order, serve, tick, state, anomalies } = rig()
    order({ ...(wanted === 'refused' ? { baseline: '2.0.0' } : {}), decideWithinMs: 60_000 })
    if (wanted === 'paused') order({ order: 'pause' })
    if (wanted === 'passed') serve(0, 60)
    if (wanted === 'inconclusive') serve(0, 5)
    if (wanted === 'inconclusive' || wanted === 'no_data') tick(70)
    if (wanted === 'released') order({ order: 'release' })
    expect(state()).toBe(wanted)
    order({ order: 'abort' }, 71)
    expect(state()).toBe('aborted')
    expect(anomalies().filter(({ status, severity }) => status === 'open' && severity === 'critical').length).toBe(1)
    expect(anomalies().at(-1)).toMatchObject({
      attributes: { stopped_by: 'ann' },
      reason: "canary 2.0.0 of shop/orders: stopped by ann: a person's decision, whatever its figures say"
    })
    expect(order({ order: 'abort' }, 72)).toEqual([{ kind: 'ignored', reason: 'no_change' }])
  })

  it('can be aborted though its start was never read: the topic keeps the last order alone', () => {
    const { order, state, anomalies, feed } = rig()
    order({ order: 'abort' })
    expect(state()).toBe('aborted')
    expect(anomalies()).toMatchObject([{ status: 'open', entity: 'shop/orders@2.0.0' }])
    order({ id: 'c2', service: 'shop/payments', order: 'pause' })
    expect(state('c2')).toBe('paused')
    expect(feed({ kind: 'order', record: anOrder({ id: 'c3', order: 'release' }) }, 1)).toEqual([{ kind: 'ignored', reason: 'unknown_canary' }])
  })

  it('with too little traffic is inconclusive after its time, and a person is asked', () => {
    const { order, feed, tick, state, anomalies, book } = rig()
    order({ decideWithinMs: 60_000 })
    for (let second = 0; second < 60; second += 12) {
      feed({ kind: 'window', record: aWindow({ second, durations: [0.02] }) }, second + 2)
      feed({ kind: 'window', record: aWindow({ second, version: '1.0.0', durations: [0.02] }) }, second + 2)
    }
    tick(59)
    expect(state()).toBe('running')
    tick(60)
    expect(state()).toBe('inconclusive')
    expect(book.canaries.get('c1')!.record.reason).toMatch(/5 and 5 requests in 60 s, 200 an arm are needed/)
    expect(anomalies()).toMatchObject([{ status: 'open', severity: 'warning', metric: 'homeostat.release.undecided' }])
    order({ order: 'resume' }, 65)
    expect(state()).toBe('running')
    expect(anomalies().at(-1)).toMatchObject({ status: 'close', metric: 'homeostat.release.undecided' })
  })

  it('whose version nobody hears is no_data, not healthy', () => {
    const { order, feed, tick, state, book } = rig()
    order({ decideWithinMs: 60_000 })
    for (let second = 0; second < 20; second++) feed({ kind: 'window', record: aWindow({ second, version: '1.0.0', durations: GOOD }) }, second + 2)
    tick(60)
    expect(state()).toBe('no_data')
    expect(book.canaries.get('c1')!.record.reason).toMatch(/canary 2\.0\.0 served nothing/)
  })
})

describe('a quarantined version', () => {
  function quarantined() {
    const made = rig()
    made.order({})
    made.serve(0, 20, { canary: 8 })
    made.tick(60)
    return made
  }

  it('cannot start again under any id until a person releases it', () => {
    const { order, state, book } = quarantined()
    order({ id: 'c2', by: 'pipeline' }, 70)
    expect(state('c2')).toBe('refused')
    expect(book.canaries.get('c2')!.record.reason).toMatch(
      /2\.0\.0 is quarantined since canary c1 failed: a person releases it by `homeostat canary release c1`/
    )
    order({ by: 'pipeline' }, 71)
    expect(state()).toBe('failed')
    expect(book.canaries.get('c1')!.record).toMatchObject({ quarantined: true, reason: expect.stringMatching(/^start refused/) })
    order({ order: 'release' }, 72)
    expect(state()).toBe('released')
    order({ id: 'c3', by: 'pipeline' }, 73)
    expect(state('c3')).toBe('running')
  })

  it('that serves again is an anomaly anew', () => {
    const { feed, anomalies } = quarantined()
    expect(anomalies().length).toBe(2)
    feed({ kind: 'window', record: aWindow({ second: 15, durations: GOOD, shard: 3 }) }, 61) // A straggler from before its end.
    expect(anomalies().length).toBe(2)
    feed({ kind: 'window', record: aWindow({ second: 90, durations: GOOD }) }, 92)
    expect(anomalies().length).toBe(3)
    expect(anomalies()[2]).toMatchObject({ status: 'open', entity: 'shop/orders@2.0.0', reason: expect.stringMatching(/quarantined and serves again/) })
    expect(anomalies()[2]!.id).not.toBe(anomalies()[0]!.id)
  })

  it('that was aborted before its first window serves until a minute, or its windows, say otherwise', () => {
    const { order, tick, anomalies, feed } = rig()
    order({})
    order({ order: 'abort' }, 1)
    tick(20)
    expect(anomalies().length).toBe(1)
    feed({ kind: 'window', record: aWindow({ second: 20, durations: GOOD, windowMs: 10_000 }) }, 35)
    tick(64)
    expect(anomalies().length).toBe(1)
    tick(65)
    expect(anomalies().map(({ status }) => status)).toEqual(['open', 'close'])
  })

  it('says nothing of another service or environment', () => {
    const { order, state } = quarantined()
    order({ id: 'c2', service: 'shop/payments' }, 70)
    order({ id: 'c3', environment: 'lab-west' }, 70)
    expect([state('c2'), state('c3')]).toEqual(['running', 'running'])
  })
})

describe('the book of canaries', () => {
  it('goes on from its snapshot as if nothing had happened', () => {
    const whole = rig()
    const half = rig()
    for (const each of [whole, half]) {
      each.order({})
      each.serve(0, 6, { canary: 4 })
    }
    const saved = JSON.parse(JSON.stringify(snapshot(half.book)))
    half.book.canaries = restore(saved).canaries
    whole.serve(6, 20, { canary: 4 })
    half.serve(6, 20, { canary: 4 })
    expect(snapshot(half.book)).toEqual(snapshot(whole.book))
    expect(half.state()).toBe('failed')
  })

  it('gives the same verdict after the same requests when everything is read a second time', () => {
    const traffic = { requestsPerWindow: 30, windows: 60, errorRatio: { canary: 0.08, baseline: 0.01 } }
    const first = playCanary(7, traffic)
    expect(playCanary(7, traffic).effects).toEqual(first.effects)
    expect(first.record.state).toBe('failed')
  })

  it('refuses a second canary of a service while one runs, and a start that names one version twice', () => {
    const { order, state } = rig()
    order({})
    order({ id: 'c2', canary: '3.0.0' }, 1)
    expect(state('c2')).toBe('refused')
    order({ id: 'c3', service: 'shop/payments', baseline: '2.0.0' }, 1)
    expect(state('c3')).toBe('refused')
  })

  it('remembers a bounded number of canaries, never forgets a quarantine, and counts a bounded number of sources', () => {
    const { order, serve, feed, book } = rig()
    order({})
    serve(0, 20, { canary: 8 })
    for (let index = 0; index < CANARIES_MAX + 10; index++) {
      order({ id: `n${index}`, service: `shop/s${index}` }, 30)
      order({ id: `n${index}`, service: `shop/s${index}`, order: 'release' }, 31)
    }
    expect(book.canaries.size).toBe(CANARIES_MAX)
    expect(book.canaries.has('c1')).toBe(true)
    order({ id: 'last', service: 'shop/last' }, 40)
    for (let index = 0; index < SOURCES_MAX; index++)
      feed({ kind: 'window', record: aWindow({ second: 41, service: 'shop/last', entity: `shop/last@i${index}`, durations: [0.01] }) }, 42)
    expect(feed({ kind: 'window', record: aWindow({ second: 41, service: 'shop/last', entity: 'shop/last@more', durations: [0.01] }) }, 42)).toEqual([
      { kind: 'ignored', reason: 'sources_max' }
    ])
  })
})
