// `homeostat tune` on a made-up history: five queues that are quiet but for labelled faults, and one that chatters.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { PointRow } from '../../../../pipeline/cli/backtest-request.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { registerTune } from '../../../../pipeline/cli/tune.ts'
import type { Tuned } from '../../../../pipeline/cli/tune-report.ts'
import { settingsYaml } from '../../../../pipeline/cli/tune-yaml.ts'
import { type ConfigInput, configSchema } from '../../../../schemas/config.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const START_MS = Date.parse('2026-03-01T00:00:00Z')
const STEP_MS = 120_000
const DAYS = 4
const ROWS = (DAYS * 86_400_000) / STEP_MS
const at = (row: number): number => START_MS + row * STEP_MS
const time = (row: number): string => new Date(at(row)).toISOString()
/** Begins of the faults: ten rows each. */
const FAULTS = [900, 1_500, 2_100, 2_600]

let folder: string
let labels: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-tune-'))
  labels = join(folder, 'labels.csv')
  writeFileSync(labels, `entity,start,end,metric\n${FAULTS.map(row => `shop/orders,${time(row)},${time(row + 12)},queue.depth`).join('\n')}\n`)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function aValue(instance: number, metric: string, row: number): number {
  const noise = 3 * Math.sin(row * (1 + instance / 7)) + 2 * Math.sin(row * 1.7 + instance)
  if (metric === 'chatter') return 100 + noise + (row % 100 < 6 && row > 100 ? 80 + 40 * Math.sin(row) : 0)
  return 100 + noise + (instance === 0 && FAULTS.some(fault => row >= fault && row < fault + 10) ? 90 : 0)
}

function rowsOf(row: number): Record<string, unknown>[] {
  const series = [...[0, 1, 2, 3, 4].map(instance => ['queue.depth', instance] as const), ['chatter', 0] as const]
  return series.map(([metric, instance]) => ({
    ...({
      kind: 'gauge',
      resourceKey: `r${instance}`,
      metric,
      unit: '{item}',
      attributes: {},
      startNs: 0,
      count: 0,
      sum: null,
      min: null,
      max: null
    } satisfies Partial<PointRow>),
    resource: { 'service.namespace': 'shop', 'service.name': 'orders', 'service.instance.id': `orders-${instance}`, 'deployment.environment.name': 'test' },
    ...{ temporality: 0, monotonic: false, bounds: [], buckets: [], scale: 0, zeroCount: 0, positiveOffset: 0, positive: [], negativeOffset: 0, negative: [] },
    ...{ quantiles: [], quantileValues: [], value: aValue(instance, metric, row), timeNs: `${at(row)}000000`, pointKey: `${metric}${instance}` }
  }))
}

async function run(args: readonly string[], detect: ConfigInput['detect'] = {}) {
  const printed = { text: '', result: undefined as unknown as Tuned, said: [] as string[], closed: 0 }
  const output: Output = {
    table: () => undefined,
    result: (value, text) => {
      printed.result = value as Tuned
      printed.text = text
    },
    say: line => void printed.said.push(line)
  }
  const sql = async <Row>(statement: string): Promise<Row[]> => {
    if (!statement.includes('pointKey')) return []
    const [from, to] = [...statement.matchAll(/fromUnixTimestamp64Milli\((\d+)\)/g)].map(match => Number(match[1]))
    const first = Math.max(0, Math.ceil((from! - START_MS) / STEP_MS))
    const last = Math.min(ROWS, Math.ceil((to! - START_MS) / STEP_MS))
    return Array.from({ length: Math.max(0, last - first) }, (_, index) => rowsOf(first + index)).flat() as Row[]
  }
  const program = new Command().exitOverride().configureOutput({ writeErr: text => void printed.said.push(text) })
  registerTune(program, {
    loaded: () => ({ config: configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', detect }), file: undefined, overrides: new Map() }),
    output: () => output,
    openHistory: async () => ({ sql, close: async () => void printed.closed++ }),
    clock: virtualClock(at(ROWS)),
    stderr: { isTTY: false, write: () => true } as unknown as NodeJS.WriteStream
  })
  await program.parseAsync(['tune', ...args], { from: 'user' })
  return printed
}
const RANGE = ['--from', time(0), '--to', time(ROWS)]

describe('tuning', () => {
  test('proposes to ignore what chatters and was never in a label, with YAML that the configuration takes', async () => {
    const { result, text, said, closed } = await run([...RANGE, '--labels', labels], { ignore: ['^old\\.'] })
    expect(result).toMatchObject({ labels: 4, thin: [], points: 6 * ROWS, present: { labelsFound: 4 } })
    expect(result.days).toBeCloseTo(DAYS, 0)
    expect(result.trials).toHaveLength(8)
    const chatter = result.metrics.find(({ metric, detector }) => metric === 'chatter' && detector === 'adaptive')!
    expect(chatter).toMatchObject({ series: 1, labelsFound: 0, precision: 0, configured: 0.001, isExcessive: true })
    expect(chatter.perDay).toBeGreaterThan(1)
    expect(result.proposals).toContainEqual(expect.objectContaining({ kind: 'ignore', metric: 'chatter', isCertain: true }))
    const { detect } = configSchema.parse(parse(`apiVersion: homeostat.io/v1\nkind: Homeostat\n${result.yaml}`))
    expect(detect.ignore).toEqual(['^chatter$', '^old\\.'])
    expect(text).toMatch(/metric +class +detector +series +alarms +false +precision +labels found +delay +a series and day +configured +judged +proposed/)
    expect(text).toMatch(/detect\.ignore: chatter: \d+ alarms of \w+, [\d,]+ times the configured rate and on most days, never in a label/)
    expect(text).toContain('For homeostat.yaml\ndetect:\n')
    expect(said.at(-1)).toMatch(/^replayed 17,280 points with 9 settings in/)
    expect(closed).toBe(1)
  }, 120_000)

  test('gives the same the second time, and without labels only suggestions', async () => {
    const [first, second] = [await run(RANGE), await run(RANGE)]
    expect(JSON.stringify(second.result)).toBe(JSON.stringify(first.result))
    expect(first.result.proposals.every(({ isCertain }) => !isCertain)).toBe(true)
    expect(first.result.yaml).toMatch(/^# detect:\n(# .*\n)+$/)
    expect(first.text).toMatch(/no labels: what a quieter setting would miss is unknown/)
  }, 120_000)

  test('proposes nothing from a day, and says so', async () => {
    const { result, text } = await run(['--from', time(1_440), '--to', time(2_160), '--learn', '1d', '--labels', labels])
    expect(result).toMatchObject({ labels: 2, proposals: [], yaml: '' })
    expect(text).toMatch(/(1|0\.99) days? of judged history: nothing is proposed from fewer than 3/)
    expect(text).toMatch(/Proposed\n {2}nothing: no change is supported by this history/)
    // What was learned from is not counted as judged.
    expect(result.seriesDays).toBeLessThanOrEqual(6)
  }, 120_000)

  test.each([
    [['--from', '1h', '--to', '2h'], /--from 1h is not before --to 2h/],
    [[...RANGE, '--labels', '/none.csv'], /--labels \/none\.csv cannot be read/],
    [['--from', '2020-01-01', '--to', '2020-01-02'], /no metric points in ClickHouse/]
  ])('%j is refused', async (args, message) => {
    await expect(run(args)).rejects.toThrow(message)
  })
})

describe('the YAML', () => {
  const change = { setting: 'novelty.falseAlarmsPerSeriesDay', from: 0.1, to: 0.01, detector: 'novelty' } as const
  const present = { ignore: ["it's"], important: [], metrics: [{ metric: 'x', direction: 'below' as const }] }

  test('has certain proposals as settings and others as comments', () => {
    const yaml = settingsYaml(
      {
        proposals: [
          { kind: 'setting', change, why: 'quieter', isCertain: true },
          { kind: 'ignore', metric: 'a.b+', why: 'loud', isCertain: true },
          { kind: 'ignore', metric: 'c', why: 'loud', isCertain: false },
          { kind: 'important', metric: 'd', why: 'true', isCertain: false },
          { kind: 'metric', metric: 'e', direction: 'above', why: 'one way', isCertain: true },
          { kind: 'metric', metric: 'f', deviationMinRelative: 0.4, why: 'small', isCertain: false }
        ]
      },
      present
    )
    expect(yaml.split('\n')).toEqual([
      'detect:',
      '  # quieter',
      '  novelty:',
      '    falseAlarmsPerSeriesDay: 0.01',
      '  metrics:',
      "    - { metric: '^e$', direction: above } # one way",
      "  #   - { metric: '^f$', deviationMinRelative: 0.4 } # small",
      '    - {"metric":"x","direction":"below"}',
      '  ignore:',
      String.raw`    - '^a\.b\+$' # loud`,
      "  #   - '^c$' # loud",
      "    - 'it''s'",
      '  # important:',
      "  #   - '^d$' # true",
      ''
    ])
    expect(parse(yaml)).toEqual({
      detect: {
        ...{ novelty: { falseAlarmsPerSeriesDay: 0.01 }, ignore: [String.raw`^a\.b\+$`, "it's"] },
        metrics: [
          { metric: '^e$', direction: 'above' },
          { metric: 'x', direction: 'below' }
        ]
      }
    })
  })

  test('is empty where nothing is proposed', () => {
    expect(settingsYaml({ proposals: [] }, present)).toBe('')
  })
})
