// `homeostat anomalies` and `anomalies show`: what a person who was woken reads.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { aClose, aRecord, at, ENTITY, run, values } from './analysis-rig.ts'

describe('the list', () => {
  test('has a line each: id, onset, worst severity, how long, the sentence', async () => {
    const update = aRecord({ status: 'update', severity: 'critical', detectedAtMs: at(1_010) })
    const printed = await run(['anomalies'], [aRecord({ severity: 'warning' }), update, aClose({ severity: 'critical' })])
    expect(printed.text).toMatch(/^ab12cd34 {2}2026-03-01 14:16:40 UTC {2}critical {2}1 m 5 s {5}queue\.depth of shop\/orders@orders-1 is 180 items/)
    expect(printed.result).toMatchObject([
      { severity: 'critical', closedAtMs: at(1_065), records: [{ status: 'open' }, { status: 'update' }, { status: 'close' }] }
    ])
    expect(printed.closed).toBe(1)
  })

  test('an open one says for how long, one in shadow says so', async () => {
    expect((await run(['anomalies'], [aRecord({ shadow: true })])).text).toMatch(/open for 13 m 20 s .* \(shadow\)$/)
  })

  test('asks for what is wanted: time, entity or all its instances, that severity and worse', async () => {
    const asked = async (...args: string[]) => (await run(['anomalies', ...args])).statements[0]!
    expect(await asked('--since', '30m')).toContain(`fromUnixTimestamp64Milli(${at(0)})`)
    expect(await asked('--entity', "shop/o'rders")).toContain(String.raw`(Entity = 'shop/o\'rders' OR startsWith(Entity, 'shop/o\'rders@'))`)
    expect(await asked('--entity', ENTITY)).toContain(`AND Entity = '${ENTITY}'`)
    expect(await asked('--severity', 'warning')).toContain("Severity IN ('warning', 'critical')")
    expect((await run(['anomalies', '--severity', 'critical'])).text).toMatch(/^no anomalies since 2026-02-28 14:30:00 UTC, critical or worse$/)
  })

  test.each([
    [['anomalies', '--limit', '0'], /--limit 0: a whole number from 1 to 1000/],
    [['anomalies', '--since', 'noon'], /--since noon: give a time/],
    [['anomalies', '--severity', 'bad'], /Allowed choices are info, warning, critical/]
  ])('%j is refused', async (args, message) => {
    await expect(run(args)).rejects.toThrow(message)
  })
})

describe('one anomaly', () => {
  const records = [aRecord(), aClose()]

  test('is told whole and drawn, in 80 columns and without colour', async () => {
    const { text } = await run(['anomalies', 'show', 'ab12'], records)
    const lines = text.split('\n')
    expect(Math.max(...lines.map(line => [...line].length))).toBeLessThanOrEqual(80)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there
    expect(text).not.toMatch(/\u001b/)
    expect(text.replaceAll(/\s+/g, ' ')).toContain(
      'since 14:16:40 UTC; expected once in 90 days of a normal series. It ended at 2026-03-01 14:17:45 UTC, after 1 m 5 s'
    )
    expect(text).toContain('found by      adaptive, 2.0 s after the onset')
    for (const mark of ['▔', '░', '200 item ┤', 'times in UTC', 'Nothing else of this environment']) expect(text).toContain(mark)
  })

  test('draws the values that were judged, around the anomaly, with the band of its records', async () => {
    const { result } = await run(['anomalies', 'show', 'ab12'], [aRecord(), aClose({ expected: 101, lower: 81, upper: 121 })])
    const { picture } = result
    expect(picture.values.length).toBeGreaterThan(200)
    for (const { atMs, value } of picture.values) expect(value).toBe(values[(atMs - at(0)) / 1_000]!)
    expect(picture.anomalous).toEqual({ fromMs: at(1_000), toMs: at(1_065), isOpen: false })
    expect([picture.fromMs < at(900), picture.toMs > at(1_080)]).toEqual([true, true])
    expect(picture.expectations).toEqual([
      { fromMs: picture.fromMs, toMs: at(1_065), expected: 100, lower: 80, upper: 120 },
      { fromMs: at(1_065), toMs: picture.toMs, expected: 101, lower: 81, upper: 121 }
    ])
  })

  test('reads the metric, and the steadiest other one, by which empty windows are known to be zeros', async () => {
    const { statements } = await run(['anomalies', 'show', 'ab12'], records)
    expect(statements.filter(statement => statement.includes("MetricName IN ('queue.depth', 'clock')")).length).toBeGreaterThan(0)
  })

  test('is written as SVG', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'homeostat-anomalies-'))
    const printed = await run(['anomalies', 'show', 'ab12', '--svg', join(folder, 'a.svg')], records)
    expect(printed.said).toEqual([`wrote ${join(folder, 'a.svg')}`])
    expect(readFileSync(join(folder, 'a.svg'), 'utf8')).toContain('<title id="picture-title">queue.depth of shop/orders@orders-1</title>')
    rmSync(folder, { recursive: true })
    await expect(run(['anomalies', 'show', 'ab12', '--svg', join(folder, 'none', 'a.svg')], records)).rejects.toThrow(/cannot be written/)
  })

  test('without stored values says so instead of drawing', async () => {
    const { text } = await run(['anomalies', 'show', 'ab12'], [aRecord({ series: '0'.repeat(16) })])
    expect(text.replaceAll(/\s+/g, ' ')).toContain('ClickHouse has no values of this series in this time')
    expect(text).not.toContain('┤')
  })

  test('that is not there, or is not the only one, is refused with what helps', async () => {
    await expect(run(['anomalies', 'show', 'ff'], [])).rejects.toMatchObject({ code: 'not_found', message: expect.stringContaining('no anomaly ff') })
    await expect(run(['anomalies', 'show', 'ab'], [aRecord(), aRecord({ id: 'ab99' })])).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('ab99  shop/orders@orders-1')
    })
    await expect(run(['anomalies', 'show', "x' OR 1"], [])).rejects.toMatchObject({ code: 'usage' })
  })
})
