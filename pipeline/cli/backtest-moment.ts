// Moments as people type them: ISO times, dates, or how long ago.

import { AppError } from '../../schemas/errors.ts'
import { parseDuration as durationMs } from '../../schemas/yaml-values.ts'

const DURATION = /^(\d+(?:\.\d+)?)\s*([smhd])$/
/** A time without a zone is UTC, as everything that is printed. */
const ISO = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/**
 * Epoch ms of `now`, `30m` (ago), `2026-03-01`, `2026-03-01T14:00Z`.
 * @param option where it was typed, for the message
 * @throws AppError `usage`
 */
export function parseMoment(text: string, option: string, nowMs: number): number {
  if (text === 'now') return nowMs
  const agoMs = msOf(text)
  if (agoMs !== undefined) return nowMs - agoMs
  const atMs = parseIsoMs(text)
  if (atMs === undefined)
    throw new AppError('usage', `${option} ${text}: give a time like 2026-03-01T14:00Z (without a zone it is UTC), how long ago like 30m, 24h or 7d, or now`)
  return atMs
}

/** Epoch ms of an ISO time or date; UTC where it names no zone. */
export function parseIsoMs(text: string): number | undefined {
  const match = ISO.exec(text)
  if (!match) return undefined
  const atMs = Date.parse(text.length > 10 && match[1] === undefined ? `${text.replace(' ', 'T')}Z` : text.replace(' ', 'T'))
  if (!Number.isFinite(atMs)) return undefined
  // Date.parse takes 30 February for 2 March.
  return new Date(Date.parse(text.slice(0, 10))).toISOString().startsWith(text.slice(0, 10)) ? atMs : undefined
}

/** Milliseconds of `30s`, `5m`, `1d`. @throws AppError `usage` */
export function parseDuration(text: string, option: string): number {
  const ms = msOf(text)
  if (ms === undefined) throw new AppError('usage', `${option} ${text}: give a duration like 30s, 5m, 12h or 7d`)
  return ms
}

/** As the configuration reads durations, with room before the unit, and no milliseconds. */
function msOf(text: string): number | undefined {
  const match = DURATION.exec(text)
  return match ? durationMs(`${match[1]}${match[2]}`) : undefined
}
