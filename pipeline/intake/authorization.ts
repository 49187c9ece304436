// Bearer tokens of senders, compared in constant time.

import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError } from '../../schemas/errors.ts'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/**
 * A check of `Authorization` headers against `tokens`; without tokens everybody passes.
 * The check throws AppError `unauthenticated`.
 */
export function openAuthorization(tokens: readonly string[]): (header: string | undefined) => void {
  const digests = tokens.map(digest) // Of equal length, so that the comparison tells nothing about a token's length.
  return header => {
    if (digests.length === 0) return
    const presented = /^bearer +(\S+)$/i.exec(header ?? '')?.[1]
    let known = false
    if (presented !== undefined) {
      const mine = digest(presented)
      for (const token of digests) known = timingSafeEqual(mine, token) || known
    }
    if (!known) {
      throw new AppError('unauthenticated', presented === undefined ? 'no bearer token in the authorization header' : 'the bearer token is not known here')
    }
  }
}
