// A CSV of measurements, line by line: `timestamp,value[,value…]`, with or without a header.
//
// Flow: lines of a file -> CsvTable.take -> row (time and values) -> scorer. What a value cannot be read from is counted and
// left out; a line that does not fit the table ends the reading, with file, line, column and what to do.

import { AppError } from '../../schemas/errors.ts'
import { splitCsvLine } from './csv-line.ts'
import { TIME_FORMS_TEXT, type TimeForm, timeFormOf, timeReader } from './score-time.ts'

/** A table wider than this is not one of time series. */
const COLUMNS_MAX = 1_000
/** What people and programs write where there is no value, in small letters. */
const EMPTY = new Set(['', 'nan', 'null', 'none', 'na', 'n/a', '-'])
const COMMA = ','

/** Where something was seen first. */
export interface CsvPlace {
  line: number
  column: string
  text: string
}

export class CsvTable {
  /** Of the values, as the header calls them; empty before the first line. */
  columns: readonly string[] = []
  timeForm: TimeForm | undefined
  /** The row that was taken last. */
  stamp = ''
  timeMs = 0
  /** By column; NaN: none. */
  values = new Float64Array(0)
  rows = 0
  /** Values that were empty (or NaN, null …), and that were no number. */
  empty = 0
  notNumeric = 0
  firstNotNumeric: CsvPlace | undefined
  readonly #file: string
  #line = 0
  #readTime: (text: string) => number = () => Number.NaN

  /** @param file as messages name it */
  constructor(file: string) {
    this.#file = file
  }

  /**
   * Takes the next line.
   * @returns whether it is a row: the first may be a header, and empty ones are passed over
   * @throws AppError `usage` with file, line and column
   */
  take(line: string): boolean {
    this.#line++
    if (line.trim() === '') return false
    if (this.columns.length === 0) return this.#begin(line)
    this.#takeRow(line)
    return true
  }

  /** The first line: names of the columns, or the first row. */
  #begin(line: string): boolean {
    const fields = splitCsvLine(line, column => this.#fail(column, UNCLOSED))
    if (fields.length < 2) {
      const other = [';', '\t', '|'].find(separator => line.includes(separator))
      return this.#fail(
        1,
        `there is one column: ${other === undefined ? 'write a timestamp and a value' : `separate fields with commas, not with ${JSON.stringify(other)}`}, as in 2026-03-01T14:00:00Z,42`
      )
    }
    if (fields.length - 1 > COLUMNS_MAX) return this.#fail(fields[COLUMNS_MAX + 1]!.column, `more than ${COLUMNS_MAX} value columns: split the file`)
    const names = fields.slice(1)
    this.values = new Float64Array(names.length)
    if (timeFormOf(fields[0]!.text) !== undefined) {
      this.columns = names.length === 1 ? ['value'] : names.map((_, index) => `value${index + 1}`)
      this.#takeRow(line)
      return true
    }
    const number = names.find(({ text }) => text !== '' && Number.isFinite(Number(text)))
    if (number !== undefined) return this.#failTime(fields[0]!.text)
    const seen = new Set<string>()
    for (const { text, column } of names) {
      if (text === '') return this.#fail(column, 'a column has no name: name it in the first line')
      if (seen.has(text)) return this.#fail(column, `column ${JSON.stringify(text)} comes twice: give each column a name of its own`)
      seen.add(text)
    }
    this.columns = [...seen]
    return false
  }

  #takeRow(line: string): void {
    const end = line.indexOf(COMMA)
    const stamp = line.includes('"') ? this.#takeQuoted(line) : this.#takeFields(line, end)
    if (this.timeForm === undefined) {
      this.timeForm = timeFormOf(stamp) ?? this.#failTime(stamp)
      this.#readTime = timeReader(this.timeForm)
    }
    const timeMs = this.#readTime(stamp)
    if (Number.isNaN(timeMs)) this.#failTime(stamp)
    this.stamp = stamp
    this.timeMs = timeMs
    this.rows++
  }

  /** Without quotes: no object is made for a field. @returns the timestamp */
  #takeFields(line: string, end: number): string {
    let at = end
    for (let column = 0; column < this.columns.length; column++) {
      if (at < 0) this.#failFields(column + 1, line.length + 1)
      const next = line.indexOf(COMMA, at + 1)
      this.#takeValue(column, next < 0 ? line.slice(at + 1) : line.slice(at + 1, next))
      at = next
    }
    if (at >= 0) this.#failFields(line.split(COMMA).length, at + 2)
    return line.slice(0, end).trim()
  }

  #takeQuoted(line: string): string {
    const fields = splitCsvLine(line, column => this.#fail(column, UNCLOSED))
    if (fields.length !== this.columns.length + 1) this.#failFields(fields.length, fields[this.columns.length + 1]?.column ?? line.length + 1)
    for (let column = 0; column < this.columns.length; column++) this.#takeValue(column, fields[column + 1]!.text)
    return fields[0]!.text
  }

  #takeValue(column: number, text: string): void {
    const value = text === '' ? Number.NaN : Number(text)
    const isNumber = Number.isFinite(value) && text.trim() !== '' // Number(' ') is 0.
    this.values[column] = isNumber ? value : Number.NaN
    if (isNumber) return
    if (EMPTY.has(text.trim().toLowerCase())) this.empty++
    else {
      this.notNumeric++
      this.firstNotNumeric ??= { line: this.#line, column: this.columns[column]!, text: text.trim() }
    }
  }

  #failTime(text: string): never {
    const form = this.timeForm === undefined ? TIME_FORMS_TEXT : `${this.timeForm}, as in the rows before it`
    return this.#fail(1, `${JSON.stringify(text)} is not a timestamp: write it as ${form}`)
  }

  #failFields(count: number, column: number): never {
    const fields = count === 1 ? '1 field' : `${count} fields`
    return this.#fail(column, `${fields}, the first line has ${this.columns.length + 1}: complete the line, and quote a field that holds a comma`)
  }

  #fail(column: number, problem: string): never {
    throw new AppError('usage', `${this.#file}:${this.#line}:${column}: ${problem}`)
  }
}

const UNCLOSED = 'a quote has no end: close it with ", and write a quote inside as ""'
