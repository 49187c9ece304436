// A number that somebody typed.

import { AppError } from '../../schemas/errors.ts'

/** @param name where it was given @throws AppError `usage` unless the text is a finite number */
export function numberOf(name: string, text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new AppError('usage', `${name}: a number is expected, not "${text}"`)
  return value
}
