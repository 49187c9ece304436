// What a log line says of something thrown.

import { describe, expect, it } from 'vitest'
import { describeError } from '../../../../pipeline/self/logger.ts'
import { AppError } from '../../../../schemas/errors.ts'

describe('an error in the log', () => {
  it('is told with its code, its details and what caused it', () => {
    const cause = new AppError('log_unavailable', 'no broker answers', { details: { brokers: 1 } })
    expect(describeError(new AppError('store_unavailable', 'the flush waits', { cause }))).toEqual({
      code: 'store_unavailable',
      message: 'the flush waits',
      cause: { code: 'log_unavailable', message: 'no broker answers', details: { brokers: 1 } }
    })
  })

  it('keeps its stack where nobody foresaw it', () => {
    expect(describeError(new TypeError('x is not a function'))).toEqual({
      type: 'TypeError',
      message: 'x is not a function',
      stack: expect.stringContaining('logger.test.ts')
    })
  })

  it('ends also when it causes itself', () => {
    const error = new Error('round')
    error.cause = error
    expect(JSON.stringify(describeError(error)).match(/round/g)!.length).toBeLessThan(10)
  })
})
