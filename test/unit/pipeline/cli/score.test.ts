// `homeostat score`: what is found in files, what is said of broken ones, and memory that does not grow with their length.

import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openRowScorer } from '../../../../detectors/backtest/row-scorer.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { registerScore } from '../../../../pipeline/cli/score.ts'
import type { ScoredFile } from '../../../../pipeline/cli/score-file.ts'
import { type ConfigInput, configSchema } from '../../../../schemas/config.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const START_MS = Date.parse('2026-03-01T00:00:00Z')
const MIB = 2 ** 20
const HEADER = 'timestamp,score,anomaly,expected,lower,upper,detector,metric'
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-score-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const stamp = (minute: number): string => new Date(START_MS + minute * 60_000).toISOString().slice(0, 19).replace('T', ' ')
/** Ten hours with twenty minutes of trouble in them. */
const values = Array.from({ length: 600 }, (_, minute) => 100 + 3 * Math.sin(minute) + 2 * Math.sin(minute * 1.7) + (minute >= 500 && minute < 520 ? 80 : 0))

function file(name: string, lines: readonly string[]): string {
  mkdirSync(join(folder, name, '..'), { recursive: true })
  writeFileSync(join(folder, name), `${lines.join('\n')}\n`)
  return name
}
const planted = (name = 'queue.csv'): string => file(name, ['timestamp,depth', ...values.map((value, minute) => `${stamp(minute)},${value}`)])

async function run(args: readonly string[], detect: ConfigInput['detect'] = {}) {
  const printed = { text: '', files: [] as ScoredFile[], said: [] as string[] }
  const output: Output = {
    table: () => undefined,
    result: (value, text) => {
      printed.files = value as ScoredFile[]
      printed.text = text
    },
    say: line => void printed.said.push(line)
  }
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  registerScore(program, {
    loaded: () => ({ config: configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', detect }), file: undefined, overrides: new Map() }),
    output: () => output,
    clock: virtualClock(0),
    folder,
    stderr: { isTTY: false, write: () => true } as unknown as NodeJS.WriteStream
  })
  await program.parseAsync(['score', ...args, '--out', 'scored'], { from: 'user' })
  return printed
}
const scored = (name: string): string[][] =>
  readFileSync(join(folder, 'scored', name), 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => line.split(','))

describe('a file', () => {
  test('has a row for each of its rows, and its anomaly where it was planted', async () => {
    const { files, text, said } = await run([planted()])
    const [header, ...rows] = scored('queue.csv')
    expect(header!.join(',')).toBe(HEADER)
    expect(rows.map(([time]) => time)).toEqual(values.map((_, minute) => stamp(minute)))
    const anomalous = rows.flatMap(([, , anomaly], minute) => (anomaly === '1' ? [minute] : []))
    expect([500, 501, 502]).toContain(anomalous[0])
    expect(anomalous.at(-1)).toBeLessThan(530)
    const [, score, , expected, lower, upper, detector, metric] = rows[505]!
    expect([detector, metric]).toEqual(['adaptive+novelty', 'depth'])
    expect(Number(score)).toBeGreaterThan(3)
    expect(Number(lower)).toBeLessThan(Number(expected))
    expect(values[505]).toBeGreaterThan(Number(upper))
    expect(rows[10]).toEqual([stamp(10), '0', '0', '', '', '', '', 'depth'])
    expect(files).toMatchObject([
      { file: 'queue.csv', timeForm: 'YYYY-MM-DD HH:MM:SS (UTC)', rows: 600, scored: 600, late: 0, duplicate: 0, empty: 0, notNumeric: 0, anomalies: 2 }
    ])
    expect(text).toMatch(/2026-03-01 08:20:00 .* adaptive\n {2}depth of queue is 1\d\d, 1\.8 times the expected/)
    expect(said.at(-1)).toMatch(/^scored 600 rows in/)
  })

  test('has the figures of the scorer of its rows, bit for bit, and the same the second time', async () => {
    await run([planted()])
    const first = readFileSync(join(folder, 'scored/queue.csv'))
    const { detect, environment } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
    const rows = openRowScorer({ config: detect, environment, entity: 'queue', columns: [{ name: 'depth', unit: '' }] })
    for (const [minute, [, score, anomaly, expected, lower, upper]] of scored('queue.csv').slice(1).entries()) {
      const row = rows.take(START_MS + minute * 60_000, Float64Array.of(Number(String(values[minute]))))
      expect(Number(score)).toBe(row.score)
      expect(anomaly === '1').toBe(row.detectors !== '')
      expect([expected, lower, upper]).toEqual([row.expected, row.lower, row.upper].map(value => (Number.isNaN(value) ? '' : String(value))))
    }
    await run([planted()])
    expect(readFileSync(join(folder, 'scored/queue.csv')).equals(first)).toBe(true)
  })

  test('is scored with the configuration of the user', async () => {
    expect((await run([planted()], { deviationMinRelative: 1 })).files[0]!.anomalies).toBe(0)
  })

  test('keeps its path below the output folder, also of a folder elsewhere', async () => {
    await run([planted('a/x.csv'), planted('b/x.csv')])
    expect([existsSync(join(folder, 'scored/a/x.csv')), existsSync(join(folder, 'scored/b/x.csv'))]).toEqual([true, true])
    const other = mkdtempSync(join(tmpdir(), 'homeostat-score-'))
    for (const name of ['c', 'd']) {
      mkdirSync(join(other, name))
      writeFileSync(join(other, name, 'x.csv'), '1700000000,1\n1700000060,2\n')
    }
    const { files } = await run([join(other, 'c/x.csv'), join(other, 'd/x.csv')])
    expect(files.map(({ out }) => out)).toEqual([join(folder, 'scored/c/x.csv'), join(folder, 'scored/d/x.csv')])
    rmSync(other, { recursive: true })
  })

  test.each([
    ['ISO 8601', (second: number) => new Date(START_MS + second * 1_000).toISOString()],
    ['ISO 8601', (second: number) => new Date(START_MS + second * 1_000).toISOString().replace('.000Z', '+00:00')],
    ['ISO 8601', (second: number) => new Date(START_MS + second * 1_000).toISOString().replace('.000Z', '')],
    ['epoch seconds', (second: number) => `${START_MS / 1_000 + second}`],
    ['epoch milliseconds', (second: number) => `${START_MS + second * 1_000}`]
  ])('%s is told from its first row, without a header', async (form, time) => {
    const { files } = await run([
      file(
        't.csv',
        Array.from({ length: 90 }, (_, index) => `${time(index * 60)},${index % 7}`)
      )
    ])
    expect(files).toMatchObject([{ timeForm: form, rows: 90, scored: 90, late: 0, duplicate: 0, columns: [{ metric: 'value' }] }])
    expect(scored('t.csv')[1]![0]).toBe(time(0))
  })

  test('counts what it leaves out, and says where', async () => {
    const rows = [
      'time,a,"b, c"',
      '1700000000,1,2',
      '1700000060,,3',
      '1700000120,x,"4"',
      '1700000060,5,6',
      '1700000120,7,NaN',
      '1700000180,8,9',
      '1700000180,8,9',
      '',
      '1700000120,7,1'
    ]
    const { files, said } = await run([file('gaps.csv', rows)])
    expect(files).toMatchObject([{ rows: 8, empty: 2, notNumeric: 1, firstNotNumeric: { line: 4, column: 'a', text: 'x' }, duplicate: 2, late: 3 }])
    const { points, ...counted } = { points: 16, ...files[0]! }
    expect(counted.scored + counted.late + counted.duplicate + counted.empty + counted.notNumeric).toBe(points)
    expect(said[0]).toBe('gaps.csv: values that are no numbers were left out: 1, the first in line 4, column a: "x"')
    const written = scored('gaps.csv')
    expect(written).toHaveLength(9)
    expect(written[8]).toEqual(['1700000120', '', '0', '', '', '', '', ''])
    expect(readFileSync(join(folder, 'scored/gaps.csv'), 'utf8')).toMatch(/,"b, c"\n/)
  })

  test('whose values are too small to matter is told to name its unit, and then they may', async () => {
    const small = values.map((value, minute) => `${stamp(minute)},${value / 1_000}`)
    const { files, said } = await run([file('small.csv', small)])
    expect(files[0]!.anomalies).toBe(0)
    expect(said[0]).toMatch(/^small\.csv: no anomaly of its own is possible for value: no value lay 5 or more .* --unit, or set detect\.metrics/)
    expect((await run([file('small.csv', small), '--unit', 's'])).files[0]!.anomalies).toBe(2)
    expect((await run([file('small.csv', small), '--unit', 'value=s,other=1'])).files[0]!.anomalies).toBe(2)
  })

  test('of any length takes little memory', async () => {
    const handle = openSync(join(folder, 'long.csv'), 'w')
    const filler = '0'.repeat(8_000)
    for (let row = 0; row < 16_000; row++) writeSync(handle, `${START_MS / 1_000 + 60 * row},${filler}${100 + (row % 17)}\n`)
    closeSync(handle)
    expect(statSync(join(folder, 'long.csv')).size).toBeGreaterThan(120 * MIB)
    const bytes = (): number => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
    const before = bytes()
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, bytes() - before)
    }, 10)
    const { files } = await run(['long.csv'])
    clearInterval(timer)
    expect(files[0]!.rows).toBe(16_000)
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThan(60 * MIB)
  })
})

describe('a broken file', () => {
  const ok = ['timestamp,value', '2026-03-01T00:00:00Z,1']
  test.each([
    [[...ok, 'yesterday,2'], /^x\.csv:3:1: "yesterday" is not a timestamp: write it as ISO 8601, as in the rows before it$/],
    [[...ok, '1700000000,2'], /^x\.csv:3:1: "1700000000" is not a timestamp: write it as ISO 8601, as in the rows before it$/],
    [[...ok, '2026-02-30T00:00:00Z,2'], /^x\.csv:3:1: "2026-02-30T00:00:00Z" is not a timestamp/],
    [[...ok, '2026-03-01T00:01:00Z,2,3'], /^x\.csv:3:24: 3 fields, the first line has 2: complete the line, and quote a field that holds a comma$/],
    [[...ok, '2026-03-01T00:01:00Z'], /^x\.csv:3:21: 1 field, the first line has 2/],
    [[...ok, '"2026-03-01T00:01:00Z,2'], /^x\.csv:3:1: a quote has no end/],
    [['timestamp;value', '1;2'], /^x\.csv:1:1: there is one column: separate fields with commas, not with ";"/],
    [
      ['march,5', '2026-03-01,5'],
      /^x\.csv:1:1: "march" is not a timestamp: write it as ISO 8601 .*, YYYY-MM-DD HH:MM:SS \(UTC\), epoch seconds or epoch milliseconds$/
    ],
    [['time,a,a'], /^x\.csv:1:8: column "a" comes twice/],
    [['time,a,'], /^x\.csv:1:8: a column has no name/],
    [['1700000000000000000,1'], /^x\.csv:1:1: "1700000000000000000" is not a timestamp/],
    [['timestamp,value'], /^x\.csv:1:1: no rows/]
  ])('%j is refused with file, line and column, and leaves nothing', async (lines, message) => {
    await expect(run([file('x.csv', lines)])).rejects.toThrow(message)
    expect([existsSync(join(folder, 'scored/x.csv')), existsSync(join(folder, 'scored/x.csv.part'))]).toEqual([false, false])
  })

  test('is found before anything is scored, where it is a folder, missing, or cannot be written', async () => {
    await expect(run([planted(), 'none.csv'])).rejects.toThrow(/^none\.csv: there is no such file/)
    mkdirSync(join(folder, 'data'))
    await expect(run([planted(), 'data'])).rejects.toThrow(/^data is a folder: give its files, like data\/\*\.csv$/)
    expect(existsSync(join(folder, 'scored'))).toBe(false)
    writeFileSync(join(folder, 'scored'), '')
    await expect(run([planted()])).rejects.toThrow(/scored cannot be written \(EEXIST\): a file is where a folder must be, or give another --out$/)
    await expect(run([planted(), '--unit', '=ms'])).rejects.toThrow(/--unit =ms: "=ms" names no column/)
  })
})
