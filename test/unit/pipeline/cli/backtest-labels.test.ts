// Labels of a backtest: what a good file means, and what a bad one is told.

import { describe, expect, test } from 'vitest'
import { incidentLabels, parseLabels } from '../../../../pipeline/cli/backtest-labels.ts'
import { parseDuration, parseIsoMs, parseMoment } from '../../../../pipeline/cli/backtest-moment.ts'

const HEADER = 'entity,start,end,metric'
const LINE = 'shop/orders,2026-03-01T14:00:00Z,2026-03-01T14:12:00Z'

describe('a file of labels', () => {
  test('gives entity, times and, where it is there, the metric', () => {
    expect(parseLabels(`${HEADER}\n${LINE},http.server.request.duration\n${LINE},\n`, 'l.csv')).toEqual([
      {
        entities: ['shop/orders'],
        startMs: Date.parse('2026-03-01T14:00:00Z'),
        endMs: Date.parse('2026-03-01T14:12:00Z'),
        metric: 'http.server.request.duration',
        name: 'line 2'
      },
      { entities: ['shop/orders'], startMs: Date.parse('2026-03-01T14:00:00Z'), endMs: Date.parse('2026-03-01T14:12:00Z'), name: 'line 3' }
    ])
  })

  test('may have its columns in another order, quotes, comments, a byte order mark, Windows line ends, times without a zone', () => {
    const text = '\ufeff# ours\r\nend, start ,Entity\r\n\r\n2026-03-01 14:12,2026-03-01 14:00,"a ""b"", c"\r\n'
    expect(parseLabels(text, 'l.csv')).toMatchObject([
      { entities: ['a "b", c'], startMs: Date.parse('2026-03-01T14:00Z'), endMs: Date.parse('2026-03-01T14:12Z') }
    ])
  })

  test.each([
    ['', 'l.csv:1:1: the file is empty'],
    [HEADER, 'l.csv:1:1: no label below the header'],
    ['entity,begin,end\n', 'l.csv:1:8: column "begin" is not known'],
    ['entity,start\n', 'l.csv:1:1: column end is missing'],
    ['entity,start,end,start\n', 'l.csv:1:18: column start comes twice'],
    [`${HEADER}\n${LINE}\nshop/orders,yesterday,2026-03-01T14:12:00Z`, 'l.csv:3:13: start "yesterday" is not a time: write it like'],
    [`${HEADER}\nshop/orders,2026-03-01T14:00:00Z`, 'l.csv:2:33: end "" is not a time'],
    [`${HEADER}\nshop/orders,2026-02-30T14:00:00Z,2026-03-01T14:00:00Z`, 'l.csv:2:13: start "2026-02-30T14:00:00Z" is not a time'],
    [`${HEADER}\n,2026-03-01T14:00:00Z,2026-03-01T14:12:00Z`, 'l.csv:2:1: entity is empty'],
    [`${HEADER}\nshop/orders,2026-03-01T14:12:00Z,2026-03-01T14:00:00Z`, 'l.csv:2:34: end 2026-03-01T14:00:00Z is not after start'],
    [`${HEADER}\n${LINE},m,more`, 'l.csv:2:57: 5 fields, the header has 4: quote a field that holds a comma'],
    [`${HEADER}\n"shop/orders,2026`, 'l.csv:2:1: a quote has no end']
  ])('%j is refused with its place and what to do', (text, message) => {
    expect(() => parseLabels(text, 'l.csv')).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringContaining(message) }))
  })
})

describe('incidents as labels', () => {
  const incident = (id: string, more: object) => ({
    id,
    title: `${id} fails`,
    startMs: 1_000,
    endMs: 2_000,
    resolution: 'remediated',
    anomalyIds: [`${id}-a`],
    members: JSON.stringify([{ entity: 'shop/orders@1' }, { entity: 'shop/orders@1' }, { entity: 'shop/db@1' }]),
    ...more
  })
  const labels = (said: object[], ...incidents: object[]) =>
    incidentLabels({ sql: async <Row>(statement: string) => (statement.includes('homeostat_control') ? said : incidents) as Row[] }, 0, 9_000)

  test('are those that an action healed, with every entity that took part', async () => {
    const found = await labels([], incident('aaaa', {}), incident('bbbb', { resolution: 'self_healed' }))
    expect(found).toEqual([{ entities: ['shop/orders@1', 'shop/db@1'], startMs: 1_000, endMs: 2_000, name: 'aaaa aaaa fails' }])
  })

  test('what a person said counts more', async () => {
    const said = [
      { anomalyId: 'aaaa-a', label: 'false_positive' },
      { anomalyId: 'bbbb-a', label: 'true_positive' }
    ]
    const found = await labels(said, incident('aaaa', {}), incident('bbbb', { resolution: 'expired', endMs: 500 }))
    expect(found).toMatchObject([{ name: 'bbbb bbbb fails', startMs: 1_000, endMs: 1_001 }])
  })
})

describe('moments', () => {
  const NOW_MS = Date.parse('2026-03-01T12:00:00Z')
  test.each([
    ['now', 0],
    ['90s', 90_000],
    ['30m', 1_800_000],
    ['1.5h', 5_400_000],
    ['7d', 604_800_000],
    ['2026-03-01', 12 * 3_600_000],
    ['2026-03-01T11:00', 3_600_000],
    ['2026-03-01T11:00:00+01:00', 7_200_000]
  ])('%s is %d ms ago', (text, agoMs) => {
    expect(parseMoment(text, '--since', NOW_MS)).toBe(NOW_MS - agoMs)
  })

  test.each(['', 'yesterday', '7', '2026-13-01', '2026-02-30', '1h30m', '-1h'])('%j is refused, with what would do', text => {
    expect(() => parseMoment(text, '--since', NOW_MS)).toThrow(/--since .*: give a time like/)
    expect(parseIsoMs(text)).toBeUndefined()
  })

  test('durations', () => {
    expect([parseDuration('60s', '--grace'), parseDuration('0s', '--grace')]).toEqual([60_000, 0])
    expect(() => parseDuration('60', '--grace')).toThrow('--grace 60: give a duration like 30s')
  })
})
