// Local time in an IANA time zone, by the platform's own zone data (Intl): which instant a wall clock shows, and the reverse.

/** A wall clock's reading; `month` and `day` from 1. */
export interface LocalTime {
  year: number
  month: number
  day: number
  hour: number
  minute: number
}

const DAY_MS = 86_400_000
const ZONES_MAX = 600 // The tz database has about as many; making a formatter costs tens of microseconds.
const formatters = new Map<string, Intl.DateTimeFormat>()

/** What the zone's clocks show at `atMs`. @throws RangeError when there is no such zone */
export function localTime(atMs: number, timezone: string): LocalTime {
  const parts: Record<string, number> = {}
  for (const { type, value } of formatterOf(timezone).formatToParts(atMs)) parts[type] = Number(value)
  return { year: parts.year!, month: parts.month!, day: parts.day!, hour: parts.hour!, minute: parts.minute! }
}

/**
 * The instant at which the zone's clocks show `local`, epoch ms.
 *
 * Source: RFC 5545, section 3.3.5: a time that occurs twice is the first of the two; one that never occurs (clocks put
 * forward) is read with the offset before the gap, so 02:30 becomes 03:30.
 */
export function instantOf(local: LocalTime, timezone: string): number {
  const asUtcMs = utcOf(local)
  const beforeMs = offsetMs(asUtcMs - DAY_MS, timezone)
  const afterMs = offsetMs(asUtcMs + DAY_MS, timezone)
  const first = asUtcMs - beforeMs
  if (beforeMs === afterMs || offsetMs(first, timezone) === beforeMs) return first
  const second = asUtcMs - afterMs
  return offsetMs(second, timezone) === afterMs ? second : first
}

/** The reading taken as UTC: a number line of local days and minutes. */
export function utcOf({ year, month, day, hour, minute }: LocalTime): number {
  return Date.UTC(year, month - 1, day, hour, minute)
}

function offsetMs(atMs: number, timezone: string): number {
  const minuteMs = Math.floor(atMs / 60_000) * 60_000
  return utcOf(localTime(minuteMs, timezone)) - minuteMs
}

function formatterOf(timezone: string): Intl.DateTimeFormat {
  const known = formatters.get(timezone)
  if (known !== undefined) return known
  const fields = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' } as const
  const made = new Intl.DateTimeFormat('en-US', { ...fields, timeZone: timezone, hourCycle: 'h23', calendar: 'gregory' })
  if (formatters.size < ZONES_MAX) formatters.set(timezone, made)
  return made
}
