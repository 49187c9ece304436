// A picture as text: values in Braille dots (two by four to a character), the band in light shade, the expected level dashed.
//
// Fits the width that is given. Without colour nothing is lost: the anomalous stretch has a bar of its own below the plot.

import { type Expectation, type Picture, unbroken, valueRange } from './picture.ts'
import { timeAxis, valueAxis } from './scale.ts'

export type Ink = 'value' | 'anomalous' | 'expected' | 'band' | 'axis'

export interface TerminalOptions {
  /** Characters of a line. */
  width?: number
  /** Lines of the plot itself. */
  height?: number
  /** Colours a text; default: none. */
  paint?: (ink: Ink, text: string) => string
}

const WIDTH = 80
const HEIGHT = 14
const WIDTH_MIN = 40
const BRAILLE = 0x2800
/** Bit of a Braille character by row and column of its dots. */
const DOTS: readonly (readonly [number, number])[] = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80]
]
/** Characters that a time label needs with some air. */
const TIME_LABEL_WIDTH = 11
const LINES_PER_TICK = 3

interface Cell {
  dots: number
  ink: Ink
  char: string
}

/** Lines of text, none wider than `width`. */
export function drawInTerminal(picture: Picture, { width = WIDTH, height = HEIGHT, paint = (_ink, text) => text }: TerminalOptions = {}): string[] {
  const range = valueRange(picture)
  const values = valueAxis(range, picture.unit, picture.rate, Math.floor(height / LINES_PER_TICK) + 1)
  const labelWidth = Math.max(...values.ticks.map(({ label }) => label.length))
  const columns = Math.max(WIDTH_MIN, width) - labelWidth - 3
  const times = timeAxis(picture.fromMs, picture.toMs, Math.floor(columns / TIME_LABEL_WIDTH))
  const columnOf = (atMs: number): number => ((atMs - picture.fromMs) / (picture.toMs - picture.fromMs)) * (columns * 2 - 1)
  const lineOf = (value: number): number => ((values.max - value) / (values.max - values.min)) * (height * 4 - 1)
  const cells: Cell[][] = Array.from({ length: height }, () => Array.from({ length: columns }, () => ({ dots: 0, ink: 'band' as Ink, char: ' ' })))

  for (const expectation of picture.expectations) shade(cells, expectation, columnOf, lineOf)
  for (const stretch of unbroken(picture.values)) {
    for (const [index, point] of stretch.entries()) {
      const { anomalous } = picture
      const ink: Ink = anomalous !== undefined && point.atMs >= anomalous.fromMs && point.atMs <= anomalous.toMs ? 'anomalous' : 'value'
      const before = stretch[index - 1] ?? point
      line(cells, columnOf(before.atMs), lineOf(before.value), columnOf(point.atMs), lineOf(point.value), ink)
    }
  }

  const labels = new Map(values.ticks.map(({ at, label }) => [Math.min(height - 1, Math.floor(lineOf(at) / 4)), label]))
  const lines = cells.map((row, index) => {
    const label = labels.get(index)
    const gutter = paint('axis', ` ${(label ?? '').padStart(labelWidth)} ${label === undefined ? '│' : '┤'}`)
    return `${gutter}${paintRow(row, paint)}`.trimEnd()
  })
  const indent = ' '.repeat(labelWidth + 2)
  lines.push(paint('axis', `${indent}└${tickLine(times.ticks, columns, columnOf)}`))
  const bar = stretchBar(picture, columns, columnOf)
  if (bar !== undefined) lines.push(`${indent} ${paint('anomalous', bar)}`.trimEnd())
  lines.push(paint('axis', `${indent} ${labelLine(times.ticks, columns, columnOf)}`.trimEnd()))
  return lines
}

/** The legend of what is in the picture, one line. @param lines of the picture, as drawn */
export function legend(picture: Picture, lines: readonly string[], paint: (ink: Ink, text: string) => string = (_ink, text) => text): string {
  const isDrawn = (char: string): boolean => lines.some(each => each.includes(char))
  const parts = [`${paint('value', '⠒⠒')} value`]
  if (isDrawn('╌')) parts.push(`${paint('expected', '╌╌')} expected`)
  if (isDrawn('░')) parts.push(`${paint('band', '░░')} normal`)
  else if (picture.expectations.some(({ lower, upper }) => lower !== null || upper !== null)) parts.push('normal: too narrow to see')
  if (picture.anomalous) parts.push(`${paint('anomalous', '▔▔')} anomalous`)
  return `${parts.join('   ')}   times in UTC`
}

/** Cells whose middle lies in the band are shaded, those that the expected level crosses are dashed. */
function shade(
  cells: Cell[][],
  { fromMs, toMs, expected, lower, upper }: Expectation,
  columnOf: (atMs: number) => number,
  lineOf: (value: number) => number
): void {
  const height = cells.length
  const first = Math.max(0, Math.floor(columnOf(fromMs) / 2))
  const last = Math.min(cells[0]!.length - 1, Math.floor(columnOf(toMs) / 2))
  const top = upper === null ? 0 : lineOf(upper)
  const bottom = lower === null ? height * 4 - 1 : lineOf(lower)
  const level = expected === null ? -1 : Math.floor(lineOf(expected) / 4)
  for (let column = first; column <= last; column++) {
    for (let row = 0; row < height; row++) {
      const cell = cells[row]![column]!
      if (row === level) Object.assign(cell, { char: '╌', ink: 'expected' })
      else if ((lower !== null || upper !== null) && row * 4 + 1.5 >= top && row * 4 + 1.5 <= bottom) Object.assign(cell, { char: '░', ink: 'band' })
    }
  }
}

/** Sets the dots between two places, ends included. */
function line(cells: Cell[][], fromX: number, fromY: number, toX: number, toY: number, ink: Ink): void {
  const steps = Math.max(1, Math.ceil(Math.max(Math.abs(toX - fromX), Math.abs(toY - fromY))))
  for (let step = 0; step <= steps; step++) {
    const x = Math.round(fromX + ((toX - fromX) * step) / steps)
    const y = Math.round(fromY + ((toY - fromY) * step) / steps)
    const cell = cells[y >> 2]?.[x >> 1]
    if (cell === undefined) continue
    cell.dots |= DOTS[y & 3]![x & 1 ? 1 : 0]
    if (cell.ink !== 'anomalous') cell.ink = ink
  }
}

function paintRow(row: readonly Cell[], paint: (ink: Ink, text: string) => string): string {
  let text = ''
  for (let start = 0; start < row.length; ) {
    let end = start
    let run = ''
    const { ink } = row[start]!
    for (; end < row.length && row[end]!.ink === ink; end++) run += row[end]!.dots > 0 ? String.fromCharCode(BRAILLE + row[end]!.dots) : row[end]!.char
    text += run.trim() === '' ? run : paint(ink, run)
    start = end
  }
  return text
}

function tickLine(ticks: readonly { at: number }[], columns: number, columnOf: (atMs: number) => number): string {
  const chars = Array.from({ length: columns }, () => '─')
  for (const { at } of ticks) chars[Math.min(columns - 1, Math.floor(columnOf(at) / 2))] = '┬'
  return chars.join('')
}

/** Labels centred below their ticks; one that would touch its neighbour is left out. */
function labelLine(ticks: readonly { at: number; label: string }[], columns: number, columnOf: (atMs: number) => number): string {
  let text = ''
  for (const { at, label } of ticks) {
    const start = Math.max(0, Math.min(columns - label.length, Math.floor(columnOf(at) / 2) - (label.length >> 1)))
    if (text === '' || start > text.length) text = text.padEnd(start) + label
  }
  return text
}

/** Marks the anomalous stretch; `▶` where it goes on. */
function stretchBar({ anomalous, toMs }: Picture, columns: number, columnOf: (atMs: number) => number): string | undefined {
  if (anomalous === undefined) return undefined
  const first = Math.max(0, Math.min(columns - 1, Math.floor(columnOf(anomalous.fromMs) / 2)))
  const last = Math.max(first, Math.min(columns - 1, Math.floor(columnOf(Math.min(anomalous.toMs, toMs)) / 2)))
  return `${' '.repeat(first)}${'▔'.repeat(last - first + (anomalous.isOpen ? 0 : 1))}${anomalous.isOpen ? '▶' : ''}`
}
