// How many rows a list shows: `-n, --limit`.

import { AppError } from '../../schemas/errors.ts'

/** @throws AppError `usage` unless it is a whole number from 1 to `max` */
export function limitOf(text: string, max = Number.POSITIVE_INFINITY): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit >= 1 && limit <= max) return limit
  throw new AppError('usage', `--limit ${text}: a whole number ${Number.isFinite(max) ? `from 1 to ${max}` : 'of 1 or more'} is expected`)
}
