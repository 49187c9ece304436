// The idempotency key goes into environments, headers, URLs and file names: only characters that mean nothing there.

import { AppError } from '../../schemas/errors.ts'

const KEY_PATTERN = /^[A-Za-z0-9_.:-]{1,128}$/

/** @throws AppError `step_refused` */
export function checkKey(key: string): void {
  if (!KEY_PATTERN.test(key)) throw new AppError('step_refused', `idempotency key ${JSON.stringify(key.slice(0, 200))}: letters, digits and _.:- only`)
}
