// Recurrence rules of RFC 5545, as far as windows need them: FREQ DAILY | WEEKLY | MONTHLY | YEARLY with INTERVAL, BYDAY
// (`2SA`, `-1FR` in months), BYMONTHDAY (also negative), BYMONTH and UNTIL. One start a day, at the time of day of DTSTART.
//
// Whether a day belongs to the rule is computed, not enumerated from the first: cost does not grow with the rule's age.
// COUNT would need that enumeration and is refused: UNTIL says the same.

import { instantOf, type LocalTime, localTime, utcOf } from './zone.ts'

export interface Rule {
  frequency: 'DAILY' | 'WEEKLY' | 'MONTHLY' | 'YEARLY'
  interval: number
  /** `ordinal` 0: every such weekday. `weekday` 0 is Sunday. */
  days: { ordinal: number; weekday: number }[]
  monthDays: number[]
  months: number[]
  /** Local reading as utcOf; Infinity for none. */
  untilLocalMs: number
}

const DAY_MS = 86_400_000
const WEEKDAYS = ['SU', 'MO', 'TU', 'WE', 'TH', 'FR', 'SA'] as const
const FREQUENCIES: readonly string[] = ['DAILY', 'WEEKLY', 'MONTHLY', 'YEARLY']
/** A window is looked for this many days back at most; longer ones are maintenance to announce. */
export const WINDOW_DAYS_MAX = 31

/** @returns the rule, or a sentence that says what is wrong with it. */
export function parseRule(text: string): Rule | string {
  const rule: Rule = { frequency: 'DAILY', interval: 1, days: [], monthDays: [], months: [], untilLocalMs: Number.POSITIVE_INFINITY }
  let hasFrequency = false
  for (const part of text
    .trim()
    .replace(/^RRULE:/i, '')
    .toUpperCase()
    .split(';')) {
    const [key, value = ''] = part.split('=')
    const values = value.split(',')
    if (key === 'FREQ') {
      if (!FREQUENCIES.includes(value)) return `FREQ ${value} is none of ${FREQUENCIES.join(', ')}`
      rule.frequency = value as Rule['frequency']
      hasFrequency = true
    } else if (key === 'INTERVAL') {
      if (!/^[1-9]\d{0,3}$/.test(value)) return `INTERVAL ${value} is not a number from 1`
      rule.interval = Number(value)
    } else if (key === 'BYDAY') {
      for (const day of values) {
        const found = /^([+-]?[1-5])?(SU|MO|TU|WE|TH|FR|SA)$/.exec(day)
        if (found === null) return `BYDAY ${day} is no weekday`
        rule.days.push({ ordinal: Number(found[1] ?? 0), weekday: WEEKDAYS.indexOf(found[2] as (typeof WEEKDAYS)[number]) })
      }
    } else if (key === 'BYMONTHDAY' || key === 'BYMONTH') {
      const max = key === 'BYMONTH' ? 12 : 31
      const numbers = values.map(Number)
      if (numbers.some(number => !Number.isInteger(number) || number === 0 || Math.abs(number) > max || (key === 'BYMONTH' && number < 0)))
        return `${key} ${value} is out of range`
      if (key === 'BYMONTH') rule.months = numbers
      else rule.monthDays = numbers
    } else if (key === 'UNTIL') {
      const found = /^(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})\d{2}Z?)?$/.exec(value)
      if (found === null) return `UNTIL ${value} is no date such as 20261231`
      const [year, month, day, hour, minute] = found.slice(1).map(digits => (digits === undefined ? undefined : Number(digits)))
      rule.untilLocalMs = Date.UTC(year!, month! - 1, day!, hour ?? 23, minute ?? 59)
    } else return `${key} is not supported: FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH and UNTIL are`
  }
  if (!hasFrequency) return 'FREQ is missing'
  if (rule.days.some(day => day.ordinal !== 0) && rule.frequency !== 'MONTHLY') return 'BYDAY with a number needs FREQ=MONTHLY'
  return rule
}

/** `2026-01-03T02:00` as a reading; undefined when there is no such day or time. */
export function parseLocal(text: string): LocalTime | undefined {
  const [year, month, day, hour, minute] = text.split(/[-T:]/).map(Number) as [number, number, number, number, number]
  const local = { year, month, day, hour, minute }
  const back = new Date(utcOf(local))
  const same = back.getUTCMonth() + 1 === month && back.getUTCDate() === day && back.getUTCHours() === hour && back.getUTCMinutes() === minute
  return same ? local : undefined
}

/** The latest start of the rule in (`nowMs` − `durationMs`, `nowMs`], epoch ms; undefined when there is none. */
export function latestStartMs(rule: Rule, start: LocalTime, timezone: string, durationMs: number, nowMs: number): number | undefined {
  const today = dayOf(localTime(nowMs, timezone))
  const days = Math.min(WINDOW_DAYS_MAX, Math.ceil(durationMs / DAY_MS)) + 1
  for (let back = 0; back <= days; back++) {
    const dayMs = today - back * DAY_MS
    if (!occursOn(rule, start, dayMs)) continue
    const date = new Date(dayMs)
    const local = { ...start, year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() }
    if (utcOf(local) > rule.untilLocalMs) continue
    const atMs = instantOf(local, timezone)
    if (atMs <= nowMs && nowMs < atMs + durationMs) return atMs
  }
  return undefined
}

/** Whether the local day belongs to the rule. `dayMs`: midnight of the local day, read as UTC. */
function occursOn(rule: Rule, start: LocalTime, dayMs: number): boolean {
  const firstMs = dayOf(start)
  if (dayMs < firstMs) return false
  const date = new Date(dayMs)
  const first = new Date(firstMs)
  const months = (date.getUTCFullYear() - first.getUTCFullYear()) * 12 + date.getUTCMonth() - first.getUTCMonth()
  const periods = {
    DAILY: (dayMs - firstMs) / DAY_MS,
    WEEKLY: (mondayOf(dayMs) - mondayOf(firstMs)) / (7 * DAY_MS),
    MONTHLY: months,
    YEARLY: date.getUTCFullYear() - first.getUTCFullYear()
  }[rule.frequency]
  if (periods % rule.interval !== 0) return false
  if (rule.months.length > 0 && !rule.months.includes(date.getUTCMonth() + 1)) return false
  if (rule.monthDays.length > 0 && !rule.monthDays.some(day => monthDay(day, date) === date.getUTCDate())) return false
  if (rule.days.length > 0 && !rule.days.some(day => day.weekday === date.getUTCDay() && (day.ordinal === 0 || ordinalFits(day.ordinal, date)))) return false
  return fitsStart(rule, date, first)
}

/** What the rule leaves open is as in the first occurrence. */
function fitsStart(rule: Rule, date: Date, first: Date): boolean {
  const dayGiven = rule.days.length > 0 || rule.monthDays.length > 0
  if (rule.frequency === 'WEEKLY') return dayGiven || date.getUTCDay() === first.getUTCDay()
  if (rule.frequency === 'MONTHLY') return dayGiven || date.getUTCDate() === first.getUTCDate()
  if (rule.frequency === 'YEARLY')
    return (
      (dayGiven || date.getUTCDate() === first.getUTCDate()) && (rule.months.length > 0 || rule.days.length > 0 || date.getUTCMonth() === first.getUTCMonth())
    )
  return true
}

function ordinalFits(ordinal: number, date: Date): boolean {
  const day = date.getUTCDate()
  return ordinal > 0 ? Math.ceil(day / 7) === ordinal : Math.ceil((daysIn(date) - day + 1) / 7) === -ordinal
}

function monthDay(day: number, date: Date): number {
  return day > 0 ? day : daysIn(date) + 1 + day
}

function daysIn(date: Date): number {
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
}

function dayOf(local: LocalTime): number {
  return Date.UTC(local.year, local.month - 1, local.day)
}

function mondayOf(dayMs: number): number {
  return dayMs - ((new Date(dayMs).getUTCDay() + 6) % 7) * DAY_MS
}
