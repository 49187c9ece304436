// Timestamps of a file: which form they have is told from the first one, and all others must have it.

import { parseIsoMs } from './backtest-moment.ts'

/** What a form is called in reports. */
export type TimeForm = 'ISO 8601' | 'YYYY-MM-DD HH:MM:SS (UTC)' | 'epoch seconds' | 'epoch milliseconds'

export const TIME_FORMS_TEXT = 'ISO 8601 (2026-03-01T14:00:00Z), YYYY-MM-DD HH:MM:SS (UTC), epoch seconds or epoch milliseconds'

const NUMBER = /^\d+(\.\d+)?$/
/** Epoch seconds reach this in the year 5138, milliseconds reached it in 1973. */
const SECONDS_BELOW = 1e11
/** The year 5138 in milliseconds: larger ones are micro- or nanoseconds. */
const MILLISECONDS_BELOW = 1e14
const DAY_CHARS = 10
/** `YYYY-MM-DD HH:MM:SS` */
const PLAIN_CHARS = 19

/** Form of a timestamp; undefined when it is none. */
export function timeFormOf(text: string): TimeForm | undefined {
  if (NUMBER.test(text)) {
    const value = Number(text)
    return value < SECONDS_BELOW ? 'epoch seconds' : value < MILLISECONDS_BELOW ? 'epoch milliseconds' : undefined
  }
  if (parseIsoMs(text) === undefined) return undefined
  return text[DAY_CHARS] === ' ' && !/[Z+]|-\d{2}:?\d{2}$/.test(text.slice(DAY_CHARS)) ? 'YYYY-MM-DD HH:MM:SS (UTC)' : 'ISO 8601'
}

/** Reads timestamps of one form: epoch ms, NaN for what has another form. Rows of a day share the reading of their date. */
export function timeReader(form: TimeForm): (text: string) => number {
  if (form === 'epoch seconds') return text => (NUMBER.test(text) && Number(text) < SECONDS_BELOW ? Number(text) * 1_000 : Number.NaN)
  if (form === 'epoch milliseconds') return text => (NUMBER.test(text) && Number(text) < MILLISECONDS_BELOW ? Number(text) : Number.NaN)
  const separator = form === 'ISO 8601' ? 'T' : ' '
  let day = ''
  let dayMs = 0
  return text => {
    const isPlain = text.length === PLAIN_CHARS || (text.length === PLAIN_CHARS + 1 && text[PLAIN_CHARS] === 'Z')
    const ofDayMs = isPlain && text[DAY_CHARS] === separator ? timeOfDayMs(text) : -1
    // Whatever else ISO 8601 allows: fractions, zones, dates alone.
    if (ofDayMs < 0) return timeFormOf(text) === form ? parseIsoMs(text)! : Number.NaN
    if (!text.startsWith(day) || day === '') {
      const ms = parseIsoMs(text.slice(0, DAY_CHARS))
      if (ms === undefined) return Number.NaN
      day = text.slice(0, DAY_CHARS)
      dayMs = ms
    }
    return dayMs + ofDayMs
  }
}

/** `HH:MM:SS` behind the date; −1 when it is none. */
function timeOfDayMs(text: string): number {
  if (text.charCodeAt(13) !== COLON || text.charCodeAt(16) !== COLON) return -1
  const hours = twoDigits(text, 11)
  const minutes = twoDigits(text, 14)
  const seconds = twoDigits(text, 17)
  return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60 && seconds >= 0 && seconds < 60 ? ((hours * 60 + minutes) * 60 + seconds) * 1_000 : -1
}

const COLON = 58
const ZERO = 48

function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - ZERO
  const ones = text.charCodeAt(at + 1) - ZERO
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? 10 * tens + ones : -1
}
