// `homeostat detectors explain`: a series in a line, in units that people say; totals without an argument.

import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { registerDetectors } from '../../../../pipeline/cli/detectors.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import type { EntityReport, OverviewReport, SeriesExplanation } from '../../../../pipeline/roles/detectors.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const NOW_MS = 1_800_000_000_000
const aSeries = (overrides: Partial<SeriesExplanation> = {}): SeriesExplanation => ({
  entity: 'shop/orders@orders-1',
  environment: 'prod',
  metric: 'process.memory.usage',
  unit: 'By',
  attributes: {},
  class: 'saturation',
  rate: false,
  state: 'normal',
  detectors: ['adaptive', 'novelty', 'rule:full'],
  rich: { importance: 'key', rows: 400, rowsMissing: 0, score: 0.24, threshold: 1, isColumn: true },
  samples: 4_000,
  samplesMissing: 0,
  intervalMs: 10_000,
  behindMs: 0,
  lastTimeMs: NOW_MS,
  lastValue: 142e6,
  expected: 117e6,
  lower: 93.7e6,
  upper: 141e6,
  score: 4.56,
  threshold: 4.4,
  bytes: 128,
  ...overrides
})
const anEntity = (more: object = {}) => ({
  ...{
    entity: 'shop/orders@orders-1',
    environment: 'prod',
    series: 2,
    lastSeenMs: NOW_MS - 4_000,
    usualGapMs: 10_000,
    absentAfterMs: 50_000,
    absentSinceMs: null,
    model: { columns: 12, rows: 400, ready: true, score: -0.3, threshold: 0, bytes: 35_000 }
  },
  ...more
})

async function run(args: readonly string[], answer: unknown) {
  const printed = { text: '', result: undefined as any, asked: '' }
  const output: Output = {
    table() {},
    result: (value, text) => {
      printed.result = value
      printed.text = text
    },
    say() {}
  }
  const get = async (path: string): Promise<never> => {
    printed.asked = path
    return answer as never
  }
  const program = new Command().exitOverride()
  registerDetectors(program, { client: () => ({ get, post: get, address: '' }), output: () => output, clock: virtualClock(NOW_MS) })
  await program.parseAsync(['detectors', 'explain', ...args], { from: 'user' })
  return printed
}
const report = (series: SeriesExplanation[], more: Partial<EntityReport> = {}): EntityReport => ({
  from: 'process',
  asOfMs: NOW_MS,
  series,
  entities: [anEntity()],
  ...more
})
const row = (text: string): string => text.split('\n').find(line => line.includes('process.memory'))!

describe('of an entity', () => {
  test('shows state, level, band, threshold, interval, detectors and memory of a series', async () => {
    const { text, asked } = await run(['shop/orders@orders-1'], report([aSeries()]))
    expect(asked).toBe('/api/detectors?entity=shop%2Forders%40orders-1')
    expect(row(text).split(/ {2,}/)).toEqual([
      'process.memory.usage',
      'normal',
      'yes',
      '142 MB',
      '117 MB',
      '93.7 … 141 MB',
      '4.6 of 4.4',
      '4000',
      '10 s',
      'adaptive, novelty, rule:full',
      '0.2 of 1.0 (key, in the model)',
      '128'
    ])
    expect(text).toContain('heard 4.0 s ago, usually every 10 s, absent after 50 s of silence; model of 12 metrics: score 0.0 of 0.0, 35 kB')
    expect(text).toMatch(/1 series, 128 B .* all of them ready$/)
  })

  test.each([
    [{ state: 'warmup', samples: 20, samplesMissing: 40 }, '40 more points (6 m 40 s)'],
    [{ state: 'warmup', samples: 1, samplesMissing: 59, intervalMs: 0 }, '59 more points'],
    [{ behindMs: 120_000 }, 'yes, no value for 2 m 0 s'],
    [{ state: 'ignored', samples: 0, detectors: [] }, 'never: detect.ignore']
  ] as const)('%j is ready: %s', async (overrides, readiness) => {
    expect(row((await run(['shop/orders'], report([aSeries(overrides as Partial<SeriesExplanation>)]))).text).split(/ {2,}/)[2]).toBe(readiness)
  })

  test.each([
    [null, '–'],
    [{ importance: 'ordinary', rows: 64, rowsMissing: 300, score: 0, threshold: 1, isColumn: false }, '300 more rows (ordinary)']
  ] as const)('%j is its place in the rich tier: %s', async (rich, shown) => {
    expect(
      row((await run(['shop/orders'], report([aSeries({ rich })]))).text)
        .split(/ {2,}/)
        .at(-2)
    ).toBe(shown)
  })

  test('narrows to metrics by a part of their name', async () => {
    const both = report([aSeries(), aSeries({ metric: 'queue.depth' })])
    expect((await run(['shop/orders', '--metric', 'queue'], both)).result.series).toMatchObject([{ metric: 'queue.depth' }])
    expect((await run(['shop/orders', '--metric', 'nothing'], both)).text).toContain('no series of a metric with nothing in its name')
  })

  test('says how old a checkpoint is, and who is silent', async () => {
    const { text } = await run(
      ['shop/orders'],
      report([], { from: 'checkpoint', asOfMs: NOW_MS - 8_000, entities: [anEntity({ absentSinceMs: NOW_MS - 90_000, absentAfterMs: null })] })
    )
    expect(text).toContain('as saved by its detector 8.0 s ago')
    expect(text).toContain('silent for 1 m 30 s, its interval is not learned')
  })
})

test('without an entity: totals, memory by tier, the largest entities', async () => {
  const overview: OverviewReport = {
    ...{ from: 'process', asOfMs: NOW_MS, series: 12_000, memoryMax: 2 ** 30, seriesRefused: 7, entities: 1 },
    byState: { warmup: 2_000, normal: 9_990, open: 10, ignored: 0 },
    tiers: [{ tier: 'base', of: 'series', count: 12_000, bytes: 2_400_000, bytesEach: 200, bytesMax: 2 ** 29 }],
    largest: [anEntity({ series: 12_000 })]
  }
  const { text, asked } = await run([], overview)
  expect(asked).toBe('/api/detectors')
  expect(text).toContain('12,000 series, 7 refused; 1 entities; as it is now')
  expect(text).toMatch(/base +12,000 series +2\.4 MB +536\.9 MB +200/)
  expect(text).toMatch(/shop\/orders@orders-1 +prod +12000 +4\.0 s ago/)
  expect((await run([], { ...overview, from: 'checkpoint' })).text).not.toContain('refused')
})
