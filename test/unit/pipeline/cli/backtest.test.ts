// `homeostat backtest`: the figures, the same twice, and what is said of a wrong command line.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { at, ENTITY, run } from './analysis-rig.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-backtest-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const time = (second: number): string => new Date(at(second)).toISOString()
const RANGE = ['backtest', '--from', time(0), '--to', time(1_800)]
function labels(...lines: string[]): string {
  const file = join(folder, 'labels.csv')
  writeFileSync(file, `entity,start,end\n${lines.join('\n')}\n`)
  return file
}

describe('a backtest', () => {
  test('finds the labelled step and misses the one that never was', async () => {
    const file = labels(`${ENTITY},${time(999)},${time(1_060)}`, `shop/orders,${time(300)},${time(360)}`)
    const { result, text, said } = await run([...RANGE, '--labels', file])
    expect(result).toMatchObject({
      points: 1_800,
      series: 1,
      labelled: file,
      evaluation: { precision: 1, recall: 0.5, trueAlarms: 1, falseAlarms: 0, delayMedianMs: 3_000 }
    })
    expect(text).toMatch(
      /alarms +1: 1 true, 0 false\nprecision +100\.0 %\nrecall +50\.0 % \(1 of 2\)\ndelay +median 3\.0 s, p90 3\.0 s\nfalse alarms +0 per series and day/
    )
    expect(text).toMatch(/line 3 +shop\/orders +2026-03-01 14:05:00 +1 m 0 s +missed +0/)
    expect(said).toEqual([expect.stringMatching(/^replayed 1,800 points in/)])
  })

  test('gives the same the second time, byte for byte', async () => {
    const [first, second] = [await run(RANGE), await run(RANGE)]
    expect(first.result.evaluation.alarms).toHaveLength(1)
    expect(JSON.stringify(second.result)).toBe(JSON.stringify(first.result))
  })

  test('without labels knows no precision, and says how often it alarms', async () => {
    const { result, text } = await run(RANGE)
    expect(result.evaluation).toMatchObject({ precision: null, recall: null, alarms: [{ isTrue: null }] })
    expect(text).not.toContain('precision')
    expect(text).toMatch(/alarm rate +\d+(\.\d+)? per series and day \(detect\.falseAlarmsPerSeriesDay is 0\.001\)/)
  })

  test('scores with the detect section of another configuration', async () => {
    writeFileSync(join(folder, 'deaf.yaml'), 'apiVersion: homeostat.io/v1\nkind: Homeostat\ndetect: { deviationMinRelative: 1 }\n')
    expect((await run([...RANGE, '--with', join(folder, 'deaf.yaml')], [], folder)).result.evaluation.alarms).toEqual([])
    await expect(run([...RANGE, '--with', join(folder, 'none.yaml')], [], folder)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('learns before it judges', async () => {
    const late = ['backtest', '--from', time(990), '--to', time(1_200)]
    expect((await run(late)).result.evaluation.alarms).toEqual([])
    const learned = (await run([...late, '--learn', '15m'])).result
    expect(learned.evaluation.alarms).toHaveLength(1)
    expect(learned.seriesDays * 1_440).toBeLessThan(5)
    // What was found while learning is no alarm.
    expect((await run(['backtest', '--from', time(1_100), '--to', time(1_800), '--learn', '15m'])).result.evaluation.alarms).toEqual([])
  })

  test('writes a page that needs nothing else, and the figures', async () => {
    const out = join(folder, 'report')
    const printed = await run([...RANGE, '--labels', labels(`${ENTITY},${time(999)},${time(1_060)}`), '--out', out])
    const page = readFileSync(join(out, 'index.html'), 'utf8')
    expect(page).toMatch(/^<!doctype html>/)
    expect(page).not.toMatch(/<script|<link|src=|href=|undefined|NaN/)
    expect(page.match(/<svg /g)).toHaveLength(2)
    expect(page).toContain('<dt>precision</dt><dd>100.0 %</dd>')
    expect(page).toContain('queue.depth of shop/orders@orders-1')
    expect(JSON.parse(readFileSync(join(out, 'backtest.json'), 'utf8'))).toEqual(JSON.parse(JSON.stringify(printed.result)))
    expect(printed.said[0]).toBe(`wrote ${join(out, 'index.html')}`)
  })

  test('leaves out labels of other times, and says so', async () => {
    const { result, said } = await run([...RANGE, '--labels', labels(`${ENTITY},${time(999)},${time(1_060)}`, `${ENTITY},${time(9_000)},${time(9_060)}`)])
    expect(result.evaluation.labels).toHaveLength(1)
    expect(said[0]).toBe('1 of 2 labels lie outside of --from and --to and are left out')
  })

  test.each([
    [['backtest'], /required option '--from/],
    [['backtest', '--from', '1h', '--to', '2h'], /--from 1h is not before --to 2h/],
    [[...RANGE, '--grace', 'soon'], /--grace soon: give a duration/],
    [[...RANGE, '--labels', '/none.csv'], /--labels \/none\.csv cannot be read \(ENOENT\): give a CSV file, or the word incidents/],
    [['backtest', '--from', '2020-01-01', '--to', '2020-01-02'], /no metric points in ClickHouse from 2020-01-01 to 2020-01-02/]
  ])('%j is refused', async (args, message) => {
    await expect(run(args)).rejects.toThrow(message)
  })

  test('reads the labels before it replays', async () => {
    await expect(run([...RANGE, '--labels', labels(`${ENTITY},soon,${time(1)}`)])).rejects.toThrow(/labels\.csv:2:22: start "soon" is not a time/)
  })
})
