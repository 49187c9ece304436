// The commands that ask ClickHouse, on a history that a test makes up: one gauge each second, and records of anomalies.

import { Command } from 'commander'
import { registerAnomalies } from '../../../../pipeline/cli/anomalies.ts'
import type { AnomalyRow } from '../../../../pipeline/cli/anomalies-read.ts'
import { registerBacktest } from '../../../../pipeline/cli/backtest.ts'
import type { PointRow } from '../../../../pipeline/cli/backtest-request.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { seriesId } from '../../../../detectors/score/telling.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

export const START_MS = Date.parse('2026-03-01T14:00:00Z')
export const at = (second: number): number => START_MS + second * 1_000
export const ENTITY = 'shop/orders@orders-1'
export const SERIES = seriesId({ entity: ENTITY, environment: 'test' } as never, { name: 'queue.depth', stat: '' } as never, {})

/** A step of a minute at 1000 s, in half an hour. */
export const values = Array.from(
  { length: 1_800 },
  (_, second) => 100 + 3 * Math.sin(second) + 2 * Math.sin(second * 1.7) + (second >= 1_000 && second < 1_060 ? 80 : 0)
)

const EMPTY: Omit<PointRow, 'timeNs' | 'value'> = {
  kind: 'gauge',
  resourceKey: 'r',
  resource: { 'service.namespace': 'shop', 'service.name': 'orders', 'service.instance.id': 'orders-1', 'deployment.environment.name': 'test' },
  metric: 'queue.depth',
  unit: '{item}',
  attributes: {},
  startNs: 0,
  count: 0,
  sum: null,
  min: null,
  max: null,
  temporality: 0,
  monotonic: false,
  bounds: [],
  buckets: [],
  scale: 0,
  zeroCount: 0,
  positiveOffset: 0,
  positive: [],
  negativeOffset: 0,
  negative: [],
  quantiles: [],
  quantileValues: []
}

export const aRecord = (overrides: Partial<AnomalyRow> = {}): AnomalyRow => ({
  id: 'ab12cd34'.repeat(4),
  status: 'open',
  detector: 'adaptive',
  environment: 'test',
  entity: ENTITY,
  signal: 'metric',
  metric: 'queue.depth',
  unit: '{item}',
  attributes: {},
  series: SERIES,
  severity: 'critical',
  direction: 'above',
  observed: 180,
  expected: 100,
  lower: 80,
  upper: 120,
  score: 9,
  threshold: 4,
  samples: 1_000,
  sinceMs: at(1_000),
  observedAtMs: at(1_002),
  detectedAtMs: at(1_002),
  shadow: false,
  reason: `queue.depth of ${ENTITY} is 180 items, 1.8 times the expected 100 items, since 14:16:40 UTC; expected once in 90 days of a normal series.`,
  ...overrides
})
export const aClose = (overrides: Partial<AnomalyRow> = {}): AnomalyRow =>
  aRecord({ status: 'close', observed: 100, observedAtMs: at(1_065), detectedAtMs: at(1_065), reason: 'it is back at 100 items.', ...overrides })

/** Runs a command as `homeostat` does. @returns what was printed, and the statements that ClickHouse was asked */
export async function run(args: readonly string[], records: readonly AnomalyRow[] = [], folder = '/nowhere') {
  const printed = { text: '', result: undefined as any, said: [] as string[], statements: [] as string[], closed: 0 }
  const output: Output = {
    table: (rows, options) => {
      printed.result = rows
      printed.text = options?.empty ?? ''
    },
    result: (value, text) => {
      printed.result = value
      printed.text = text
    },
    say: line => void printed.said.push(line)
  }
  const sql = async <Row>(statement: string): Promise<Row[]> => {
    printed.statements.push(statement)
    if (statement.includes('homeostat_anomalies')) return (statement.includes("AnomalyId != '") ? [] : records) as Row[]
    if (statement.includes('uniq(TimeUnix)')) return [{ metric: 'clock' }] as Row[]
    if (!statement.includes('pointKey')) return [] as Row[]
    const [from, to] = [...statement.matchAll(/fromUnixTimestamp64Milli\((\d+)\)/g)].map(match => Number(match[1]))
    const rows = values.map((value, second) => ({ ...EMPTY, value, timeNs: `${at(second)}000000`, pointKey: second }))
    return rows.filter((_, second) => at(second) >= from! && at(second) < to!) as Row[]
  }
  const config = { ...configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }), environment: 'test' }
  const ports = {
    loaded: () => ({ config, file: undefined, overrides: new Map<string, string>() }),
    output: () => output,
    openHistory: async () => ({ sql, close: async () => void printed.closed++ }),
    clock: virtualClock(at(1_800)),
    folder,
    environment: {},
    stderr: { isTTY: false, write: () => true } as unknown as NodeJS.WriteStream
  }
  const program = new Command()
    .exitOverride()
    .configureOutput({ writeErr: text => void printed.said.push(text), writeOut: text => void printed.said.push(text) })
  registerAnomalies(program, ports)
  registerBacktest(program, ports)
  await program.parseAsync(args, { from: 'user' })
  return printed
}
