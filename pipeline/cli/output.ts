// What the command line prints: data on stdout (tables for people, JSON for programs), talk on stderr.

import { stripVTControlCharacters, styleText } from 'node:util'
import { printable } from './printable.ts'

export interface Output {
  /** `rows` as a table, or as one JSON document with --json. */
  table(rows: readonly Readonly<Record<string, unknown>>[], options?: { columns?: readonly string[]; empty?: string }): void
  /** `text` for people, `value` with --json. */
  result(value: unknown, text: string): void
  /** A line of talk: stderr, never data. */
  say(text: string): void
}

type Style = Parameters<typeof styleText>[0]

/** Colour only where a person watches and NO_COLOR is not set. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY && !process.env.NO_COLOR ? styleText(style, text) : text
}

export function openOutput(options: { json: boolean }): Output {
  return {
    table(rows, { columns, empty = 'nothing yet' } = {}) {
      if (options.json) return void process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
      if (rows.length === 0) return void process.stderr.write(`${empty}\n`)
      process.stdout.write(`${tame(formatTable(rows, columns ?? Object.keys(rows[0]!)))}\n`)
    },
    result(value, text) {
      process.stdout.write(options.json ? `${JSON.stringify(value, null, 2)}\n` : `${tame(text)}\n`)
    },
    say: text => void process.stderr.write(`${tame(text)}\n`)
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: styles are made of them
const STYLE_OR_TAB = /(\u001b\[[\d;]*m|\t)/

/** What people read holds the words of strangers: of control characters only line breaks, tabs and styles pass. */
export function tame(text: string): string {
  const parts = text.split(STYLE_OR_TAB) // Those that pass are every second one.
  return parts.map((part, index) => (index % 2 === 1 ? part : printable(part))).join('')
}

/** `no files`, `1 file`, `3 files`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count === 0 ? 'no' : count} ${count === 1 ? one : many}`
}

const WIDTH_MAX = 100 // Lines longer than that are hard to read, however wide the terminal.

/** `text` in lines of the terminal's width, each with `indent` before it. */
export function wrapped(text: string, indent: string, width: number = Math.min(process.stdout.columns ?? WIDTH_MAX, WIDTH_MAX)): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && visibleWidth(last) + 1 + visibleWidth(word) <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(indent + word)
  }
  return lines.join('\n')
}

/** A table with aligned columns; numbers to the right. */
export function formatTable(rows: readonly Readonly<Record<string, unknown>>[], columns: readonly string[]): string {
  const cells = rows.map(row => columns.map(column => formatCell(row[column])))
  const widths = columns.map((column, index) => Math.max(visibleWidth(column), ...cells.map(row => visibleWidth(row[index]!))))
  const numeric = columns.map(column => rows.every(row => typeof row[column] === 'number' || row[column] === null || row[column] === undefined))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, index) => {
        const padding = ' '.repeat(widths[index]! - visibleWidth(cell))
        return numeric[index] ? padding + cell : cell + padding
      })
      .join('  ')
      .trimEnd()
  return [paint('bold', line(columns)), ...cells.map(line)].join('\n')
}

function formatCell(value: unknown): string {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : value.toPrecision(4).replace(/\.?0+$/, '')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function visibleWidth(text: string): number {
  return [...stripVTControlCharacters(text)].length
}

/** 93 s → `1 m 33 s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`
  const seconds = Math.round(durationMs / 1_000)
  if (seconds < 60) return durationMs < 10_000 ? `${(durationMs / 1_000).toFixed(1)} s` : `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`
  return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} m`
}

/** `2026-03-01 14:03`, in UTC, for reports that are read elsewhere. */
export function formatUtcMinute(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 16).replace('T', ' ')
}

/** `2026-03-01 14:03:07`, in UTC. */
export function formatUtcSecond(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
}
