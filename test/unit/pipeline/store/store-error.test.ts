// ClickHouse's errors in our terms: wait, or give up, and whose fault it is.

import { expect, test } from 'vitest'
import { blamesRows, storeError } from '../../../../pipeline/store/store-error.ts'

const clickhouse = (code: number): Error => Object.assign(new Error('text'), { code: String(code) })

test.each([
  [241, 'out of memory'],
  [243, 'no space'],
  [252, 'too many parts'],
  [210, 'network'],
  [242, 'read-only table']
])('code %i (%s) passes by itself, so it is waited for', code => {
  expect(storeError('insert', clickhouse(code))).toMatchObject({ code: 'store_unavailable', retriable: true })
})

test('no answer at all is unavailable', () => {
  expect(storeError('insert', Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }))).toMatchObject({ code: 'store_unavailable' })
  expect(storeError('insert', new Error('Timeout error.'))).toMatchObject({ code: 'store_unavailable' })
})

test('schema, grants and values are refusals; only values are blamed on the rows', () => {
  for (const code of [60, 497, 516, 47]) {
    const error = storeError('insert into t', clickhouse(code))
    expect(error).toMatchObject({ code: 'store_refused', retriable: false })
    expect(blamesRows(error)).toBe(false)
  }
  for (const code of [27, 41, 53, 407]) expect(blamesRows(storeError('insert into t', clickhouse(code)))).toBe(true)
  expect(blamesRows(storeError('insert', clickhouse(241)))).toBe(false)
})

test('our own mistakes are bugs, not weather', () => {
  expect(storeError('insert', new TypeError('x is undefined'))).toMatchObject({ code: 'bug' })
})

test('what the read-only connection forbids is final', () => {
  expect(storeError('query', clickhouse(164), { readOnly: true }).code).toBe('store_refused')
  expect(storeError('insert', clickhouse(164)).code).toBe('store_unavailable')
})
