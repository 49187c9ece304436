// Pictures of anomalies: round axes, within the width, nothing that needs colour, valid SVG.

import { describe, expect, test } from 'vitest'
import { type Picture, unbroken, valueRange } from '../../../../../pipeline/cli/plot/picture.ts'
import { timeAxis, valueAxis } from '../../../../../pipeline/cli/plot/scale.ts'
import { drawSvg } from '../../../../../pipeline/cli/plot/svg.ts'
import { drawInTerminal, legend } from '../../../../../pipeline/cli/plot/terminal.ts'
import { wrap } from '../../../../../pipeline/cli/plot/words.ts'

const START_MS = Date.parse('2026-03-01T14:00:00Z')
const at = (second: number): number => START_MS + second * 1_000

/** Ten minutes at 100 MB, of which the second from 400 to 500 are at 400 MB. */
function aPicture(overrides: Partial<Picture> = {}): Picture {
  return {
    title: 'process.memory.usage of shop/orders@orders-1',
    description: 'it is 400 MB, 4 times the expected 100 MB',
    unit: 'By',
    rate: false,
    fromMs: at(0),
    toMs: at(600),
    values: Array.from({ length: 61 }, (_, index) => ({ atMs: at(index * 10), value: index >= 40 && index <= 50 ? 400e6 : 100e6 })),
    expectations: [{ fromMs: at(0), toMs: at(600), expected: 100e6, lower: 50e6, upper: 150e6 }],
    anomalous: { fromMs: at(400), toMs: at(500), isOpen: false },
    notes: [],
    ...overrides
  }
}

describe('axes', () => {
  test.each([
    [0, 323e6, 'By', false, 5, ['0 MB', '100 MB', '200 MB', '300 MB', '400 MB']],
    [0, 0.488, 's', false, 4, ['0 ms', '200 ms', '400 ms', '600 ms']],
    [0, 1, '1', false, 3, ['0 %', '50 %', '100 %']],
    [0, 31, '{error}', true, 5, ['0 /s', '10 /s', '20 /s', '30 /s', '40 /s']],
    [-3, 3, '{item}', false, 4, ['-4 item', '-2 item', '0 item', '2 item', '4 item']],
    [0, 0.8, 's', true, 3, ['0 % of a core', '50 % of a core', '100 % of a core']],
    [10.02, 10.04, 'Cel', false, 3, ['10.02 Cel', '10.03 Cel', '10.04 Cel']]
  ] as const)('from %d to %d %s (per second: %s)', (min, max, unit, rate, count, labels) => {
    const axis = valueAxis({ min, max }, unit, rate, count)
    expect(axis.ticks.map(({ label }) => label)).toEqual(labels)
    expect([axis.min <= min + 1e-9, axis.max >= max - 1e-9]).toEqual([true, true])
  })

  test('times are round, in UTC, and name the day where one begins', () => {
    expect(timeAxis(at(0), at(600), 6).ticks.map(({ label }) => label)).toEqual(['14:00', '14:02', '14:04', '14:06', '14:08', '14:10'])
    expect(timeAxis(at(3), at(33), 4).ticks.map(({ label }) => label)).toEqual(['14:00:10', '14:00:20', '14:00:30'])
    expect(timeAxis(at(0), at(86_400), 5).ticks.map(({ label }) => label)).toEqual(['18:00', '03-02', '06:00', '12:00'])
    expect(timeAxis(at(0), at(30 * 86_400), 6).ticks.length).toBeLessThanOrEqual(6)
  })

  test('zero is shown where values come near it, and a constant has room around it', () => {
    expect(
      valueRange({
        values: [
          { atMs: 0, value: 10 },
          { atMs: 1, value: 30 }
        ],
        expectations: []
      })
    ).toEqual({ min: 0, max: 30 })
    expect(
      valueRange({
        values: [
          { atMs: 0, value: 90 },
          { atMs: 1, value: 100 }
        ],
        expectations: []
      })
    ).toEqual({ min: 90, max: 100 })
    for (const value of [0, 5, -5]) {
      const { min, max } = valueRange({ values: [{ atMs: 0, value }], expectations: [] })
      expect(max).toBeGreaterThan(min)
      expect(min <= value && value <= max).toBe(true)
    }
    expect(valueRange({ values: [], expectations: [] })).toEqual({ min: 0, max: 1 })
  })

  test('missing points break the line', () => {
    const values = [0, 10, 20, 100, 110].map(second => ({ atMs: at(second), value: 1 }))
    expect(unbroken(values).map(stretch => stretch.length)).toEqual([3, 2])
    expect(unbroken([])).toEqual([])
  })
})

describe('in the terminal', () => {
  test.each([40, 80, 120])('fits %d columns, and uses them', width => {
    const lines = drawInTerminal(aPicture(), { width })
    const widths = lines.map(line => [...line].length)
    expect(Math.max(...widths)).toBeLessThanOrEqual(width)
    expect(Math.max(...widths)).toBeGreaterThan(width - 3)
    expect([...legend(aPicture(), lines)].length).toBeLessThanOrEqual(80)
  })

  test('shows level, band and the anomalous stretch without any colour', () => {
    const text = drawInTerminal(aPicture()).join('\n')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there
    expect(text).not.toMatch(/\u001b/)
    expect(text).toMatch(/░/)
    expect(text).toMatch(/400 MB ┤/)
    expect(text).toMatch(/14:04/)
    const bar = text.split('\n').find(line => line.includes('▔'))!
    const first = [...bar].indexOf('▔')
    const last = [...bar].lastIndexOf('▔')
    // 71 columns of plot: seconds 400 to 500 of 600 are two thirds to five sixths of them.
    expect(first - 8).toBeGreaterThanOrEqual(Math.floor((70 * 400) / 600) - 1)
    expect(last - 8).toBeLessThanOrEqual(Math.ceil((70 * 500) / 600) + 2)
    expect(last - first).toBeGreaterThan(8)
  })

  test('the values are where their numbers say: high in the anomaly, low else', () => {
    const rows = drawInTerminal(aPicture(), { height: 10 })
    const isDot = (char: string | undefined): boolean => char !== undefined && char > '\u2800' && char <= '\u28ff'
    const column = (second: number): number => 9 + Math.floor((70 * second) / 600)
    const dotRow = (second: number): number => rows.findIndex(row => isDot([...row][column(second)]))
    expect(dotRow(450)).toBeLessThan(2)
    expect(dotRow(200)).toBeGreaterThan(6)
  })

  test('an anomaly that is open has an arrow; what is narrower than a line is said', () => {
    expect(drawInTerminal(aPicture({ anomalous: { fromMs: at(400), toMs: at(600), isOpen: true } })).join('\n')).toContain('▶')
    const narrow = aPicture({ expectations: [{ fromMs: at(0), toMs: at(600), expected: 100e6, lower: 99e6, upper: 101e6 }] })
    expect(legend(narrow, drawInTerminal(narrow))).toContain('too narrow to see')
  })

  test('colours only what it is told to colour', () => {
    const inks = new Set<string>()
    drawInTerminal(aPicture(), {
      paint(ink, text) {
        inks.add(ink)
        return text
      }
    })
    expect([...inks].sort()).toEqual(['anomalous', 'axis', 'band', 'expected', 'value'])
  })
})

describe('as SVG', () => {
  test('stands alone, has a title and a description, and follows light and dark', () => {
    const svg = drawSvg(aPicture(), { id: 'p1' })
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox=/)
    expect(svg).toContain('role="img" aria-labelledby="p1-title p1-desc"')
    expect(svg).toContain('<title id="p1-title">process.memory.usage of shop/orders@orders-1</title>')
    expect(svg).toContain('@media (prefers-color-scheme:dark)')
    expect(svg).not.toMatch(/href=|url\(|<script|<image/)
    expect(svg).toContain('anomalous 14:06:40 to 14:08:20')
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('every element is closed and texts of telemetry cannot become markup', () => {
    const svg = drawSvg(aPicture({ title: 'a <script>alert("1")</script> & b \u0007', notes: ['<b>'] }))
    expect(svg).toContain('a &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; b ')
    const open: string[] = []
    for (const [, slash, name, selfClosed] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
      if (slash) expect(open.pop()).toBe(name)
      else if (!selfClosed) open.push(name!)
    }
    expect(open).toEqual([])
  })

  test('a gap is no line, and the anomalous part has its own', () => {
    const values = aPicture().values.filter(({ atMs }) => atMs < at(100) || atMs > at(300))
    expect(drawSvg(aPicture({ values })).match(/<polyline class="line value"/g)).toHaveLength(3)
    expect(drawSvg(aPicture()).match(/<polyline class="line anomalous"/g)).toHaveLength(1)
  })
})

test('words are wrapped, none is cut', () => {
  expect(wrap('one two three', 7)).toEqual(['one two', 'three'])
  expect(wrap('incomprehensibilities', 5)).toEqual(['incomprehensibilities'])
  expect(wrap('', 5)).toEqual([])
})
