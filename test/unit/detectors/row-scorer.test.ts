// Rows of a table through the live scorer: the same figures as a scorer that is fed the points, bit for bit.

import { describe, expect, it } from 'vitest'
import { openReplay } from '../../../detectors/backtest/replay.ts'
import { openRowScorer } from '../../../detectors/backtest/row-scorer.ts'
import { explainEntities, explainSeries } from '../../../detectors/score/explain.ts'
import { judgement } from '../../../detectors/score/telling.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { aPoint, aScorer, at, chance, detectConfig } from './builders.ts'

const ENTITY = 'shop/orders@orders-1'
const MINUTE_S = 60
const open = (columns: readonly { name: string; unit: string }[], overrides: Record<string, unknown> = {}) =>
  openRowScorer({ config: detectConfig(overrides), environment: 'test', entity: ENTITY, columns })

/** A file has no resource that could name one. */
const withoutService = (anomalies: readonly Anomaly[]): Anomaly[] => anomalies.map(anomaly => ({ ...anomaly, service: '' }))

describe('rows of one column', () => {
  it('have the score, the band and the anomalies of a scorer that is fed the same points', () => {
    const dice = chance(5)
    const rows = open([{ name: 'queue.depth', unit: '{item}' }])
    const fed = aScorer()
    const told = []
    let judged = 0
    for (let minute = 0; minute < 1_500; minute++) {
      const timeMs = at(minute * MINUTE_S)
      const value = 50 + 5 * dice.gaussian() + (minute >= 1_200 && minute < 1_230 ? 100 : 0)
      const before = minute >= 60 ? judgement(fed.scorer.table, 0, value, fed.settings) : undefined
      fed.feed([aPoint({ timeMs, value })], timeMs)
      const [after] = explainSeries(fed.scorer, ENTITY)
      const row = rows.take(timeMs, Float64Array.of(value))
      told.push(...rows.anomalies())
      expect(row.score).toBe(Math.max(0, before?.score ?? 0, after?.rich?.score ?? 0))
      if (before !== undefined && row.column === 0) {
        judged++
        expect([row.expected, row.lower, row.upper]).toEqual([before.expected, before.lower, before.upper])
      }
    }
    expect(judged).toBe(1_440)
    expect(told.filter(({ status }) => status === 'open').length).toBeGreaterThan(0)
    expect(told).toEqual(withoutService(fed.anomalies))
  })

  it('are anomalous from the row that opens an anomaly to the one before it closes, and name the detector', () => {
    const rows = open([{ name: 'queue.depth', unit: '' }])
    const dice = chance(6)
    const detectors: string[] = []
    for (let minute = 0; minute < 400; minute++)
      detectors.push(rows.take(at(minute * MINUTE_S), Float64Array.of(50 + dice.gaussian() + (minute >= 300 && minute < 310 ? 60 : 0))).detectors)
    expect(detectors.findIndex(text => text !== '')).toBeGreaterThanOrEqual(300)
    expect(detectors[302]).toContain('adaptive')
    expect(detectors[313]).toContain('adaptive')
    expect(detectors[314]).not.toContain('adaptive')
    expect(rows.anomalies()).toContainEqual(expect.objectContaining({ detector: 'adaptive', status: 'open', sinceMs: at(300 * MINUTE_S), entity: ENTITY }))
  })

  it('judges rows of seconds at once, also after a gap, and counts what is late or comes twice', () => {
    const rows = open([{ name: 'queue.depth', unit: '' }])
    const take = (second: number): number => rows.take(at(second), Float64Array.of(50 + (second % 3))).column
    for (let second = 0; second < 100; second++) expect(take(second)).toBe(0)
    expect(take(103)).toBe(0)
    expect([take(103), take(101), take(104)]).toEqual([-1, -1, 0])
    expect(rows.stats).toMatchObject({ points: 104, scored: 102, duplicate: 1, late: 1 })
  })

  it('knows no band before the warm-up is over, and says what could never matter', () => {
    const rows = open(
      [
        { name: 'share', unit: '' },
        { name: 'noise', unit: '' }
      ],
      { ignore: ['^noise$'] }
    )
    for (let minute = 0; minute < 61; minute++) {
      const row = rows.take(at(minute * MINUTE_S), Float64Array.of((minute % 2) / 10, minute))
      expect(Number.isNaN(row.expected)).toBe(minute < 60)
      expect(row.column).toBe(0)
    }
    expect(rows.columns).toMatchObject([
      { isJudged: true, deviationMin: 5 },
      { isJudged: false, deviationMax: 0 }
    ])
    expect(rows.columns[0]!.deviationMax).toBeLessThan(0.2)
  })
})

/** The same rows as OTLP requests through the reader, the shard and the scorer, as they come live. */
function replayed(names: readonly string[], rows: readonly { timeMs: number; values: Float64Array }[]): Anomaly[] {
  const attributes = ['shop', 'orders', 'orders-1'].map((stringValue, index) => ({
    key: ['service.namespace', 'service.name', 'service.instance.id'][index],
    value: { stringValue }
  }))
  const replay = openReplay({ config: detectConfig(), openReader, encodeDerived, environment: 'test' })
  for (const { timeMs, values } of rows) {
    const metrics = names.map((name, column) => ({ name, gauge: { dataPoints: [{ timeUnixNano: `${timeMs}000000`, asDouble: values[column] }] } }))
    replay.take({ atMs: timeMs, request: encodeOtlp('metrics', { resourceMetrics: [{ resource: { attributes }, scopeMetrics: [{ metrics }] }] }) })
  }
  return replay.anomalies()
}

describe('rows of several columns', () => {
  /** Load, and four that follow it; from row 1,200 one follows no more, within what it always was. */
  function machine(minute: number, dice: ReturnType<typeof chance>): Float64Array {
    const load = 50 + 40 * Math.sin((2 * Math.PI * minute) / 97) + 5 * dice.gaussian()
    const values = [load, 3 * load, 200 + 2 * load, 30 + load / 2, minute >= 1_200 ? 160 - load : 10 + load]
    return Float64Array.from(values, value => value + dice.gaussian())
  }
  const columns = ['load', 'io.rate', 'net.rate', 'disk.usage', 'thread.count'].map(name => ({ name, unit: '' }))

  it('are one entity: its model finds what no column shows alone, and the row is about the column that broke', () => {
    const rows = open(columns)
    const fed = aScorer()
    const [one, other] = [chance(2), chance(2)]
    let found: { minute: number; column: number } | undefined
    for (let minute = 0; minute < 1_300; minute++) {
      const timeMs = at(minute * MINUTE_S)
      const values = machine(minute, one)
      const row = rows.take(timeMs, values)
      fed.feed(
        Array.from(machine(minute, other), (value, index) => aPoint({ ...columns[index]!, timeMs, value })),
        timeMs
      )
      const model = explainEntities(fed.scorer, ENTITY)[0]!.model
      if (model?.ready) expect(row.score).toBeGreaterThanOrEqual(Math.max(0, model.score))
      if (minute >= 1_200 && row.detectors.includes('multivariate')) found ??= { minute, column: row.column }
    }
    expect(found).toMatchObject({ column: 4 })
    expect(found!.minute).toBeLessThan(1_215)
    expect(rows.anomalies()).toEqual(withoutService(fed.anomalies))
  })

  it('have the anomalies that the pipeline finds in the same points, bit for bit', () => {
    const dice = chance(9)
    const table = Array.from({ length: 1_260 }, (_, minute) => ({
      timeMs: at(minute * MINUTE_S),
      values: machine(minute, dice).map((value, column) => (column === 3 && minute >= 1_240 ? value + 300 : value))
    }))
    const rows = open(columns)
    for (const { timeMs, values } of table) rows.take(timeMs, values)
    const found = rows.anomalies()
    expect(new Set(found.map(({ detector }) => detector)).size).toBeGreaterThan(1)
    expect(found).toEqual(
      withoutService(
        replayed(
          columns.map(({ name }) => name),
          table
        )
      )
    )
  })

  it('may lack values: the others are judged', () => {
    const rows = open(columns.slice(0, 2))
    for (let minute = 0; minute < 100; minute++) rows.take(at(minute * MINUTE_S), Float64Array.of(minute % 3, minute % 2 === 0 ? Number.NaN : 7))
    expect(rows.stats).toMatchObject({ points: 150, scored: 150 })
    expect(rows.take(at(100 * MINUTE_S), Float64Array.of(Number.NaN, Number.NaN))).toMatchObject({ column: -1, score: 0 })
  })
})
