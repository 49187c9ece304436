// One place that turns what disk and SQLite throw into the two passing troubles of the log: it is full, or it does not answer.

import { AppError } from '../../schemas/errors.ts'

const SQLITE_FULL = 13

/** The error as an AppError: `log_full` for a full disk or quota, else `log_unavailable`; an AppError stays as it is. */
export function logError(cause: unknown, doing: string): AppError {
  if (cause instanceof AppError) return cause
  const { code, errcode, errstr, message } = cause as { code?: string; errcode?: number; errstr?: string; message?: string }
  const full = code === 'ENOSPC' || code === 'EDQUOT' || errcode === SQLITE_FULL
  return new AppError(full ? 'log_full' : 'log_unavailable', `${doing}: ${errstr ?? message ?? String(cause)}${full ? '; free space on its disk' : ''}`, {
    cause
  })
}
