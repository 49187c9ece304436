// What every Store promises, as tests. The embedded engine and a server run the same suite.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AppError } from '../../schemas/errors.ts'
import type { Store } from '../../schemas/ports.ts'

/** One storage with the schema applied. */
export interface StoreFixture {
  store: Store
  /** Closes `store` and opens the same storage again. */
  reopen(): Promise<Store>
  close(): Promise<void>
}

const GAUGE = 'otel_metrics_gauge'
/** A point of now; each test has a metric name of its own, so that one storage serves all. */
const aPoint = (MetricName: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  ServiceName: 'orders',
  MetricName,
  TimeUnix: `${Math.floor(Date.now() / 1_000)}.123456789`,
  Value: 1,
  ...more
})

/** Runs the contract on one storage that `open` gives. */
export function storeContract(name: string, open: () => Promise<StoreFixture>): void {
  let fixture: StoreFixture
  let store: Store
  const values = (metric: string): Promise<{ Value: number }[]> =>
    store.query<{ Value: number }>(`SELECT Value FROM ${GAUGE} WHERE MetricName = {metric:String} ORDER BY Value`, { metric })
  const refusal = async (work: Promise<unknown>): Promise<AppError> => {
    const outcome = await work.then(
      () => undefined,
      (error: AppError) => error
    )
    if (!outcome) throw new Error('it was not refused')
    return outcome
  }

  describe(`${name} keeps the promises of the store:`, () => {
    beforeAll(async () => {
      fixture = await open()
      store = fixture.store
    })
    afterAll(() => fixture.close())

    test('an insert that resolved is readable at once', async () => {
      await store.insert(GAUGE, [aPoint('readable'), aPoint('readable', { Value: 2 })], { token: 'readable' })
      expect(await values('readable')).toEqual([{ Value: 1 }, { Value: 2 }])
    })

    test('the same token inserts once, whatever the rows are', async () => {
      await store.insert(GAUGE, [aPoint('token')], { token: 'token-a' })
      await store.insert(GAUGE, [aPoint('token', { Value: 9 })], { token: 'token-a' })
      await store.insert(GAUGE, [aPoint('token', { Value: 2 })], { token: 'token-b' })
      expect(await values('token')).toEqual([{ Value: 1 }, { Value: 2 }])
    })

    test('equal rows under different tokens are both kept', async () => {
      const row = aPoint('equal')
      await store.insert(GAUGE, [row], { token: 'equal-a' })
      await store.insert(GAUGE, [row], { token: 'equal-b' })
      expect(await values('equal')).toHaveLength(2)
    })

    test('tokens of concurrent inserts do not mix', async () => {
      const tokens = Array.from({ length: 40 }, (_, index) => `concurrent-${index % 20}`)
      await Promise.all(tokens.map((token, index) => store.insert(GAUGE, [aPoint('concurrent', { Value: index % 20 })], { token })))
      expect((await values('concurrent')).map(row => row.Value)).toEqual(Array.from({ length: 20 }, (_, index) => index))
    })

    test('a token holds and rows stay after the store was opened again', async () => {
      await store.insert(GAUGE, [aPoint('reopened')], { token: 'reopened' })
      store = await fixture.reopen()
      await store.insert(GAUGE, [aPoint('reopened')], { token: 'reopened' })
      expect(await values('reopened')).toHaveLength(1)
    })

    test('no rows is no insert and no error', async () => {
      await store.insert(GAUGE, [], { token: 'nothing' })
      await store.insert(GAUGE, [aPoint('nothing')], { token: 'nothing' })
      expect(await values('nothing')).toHaveLength(1)
    })

    test('64-bit integers are numbers where that is exact and decimal text where it is not', async () => {
      const [row] = await store.query(`SELECT toUInt64(9007199254740991) AS safe, toUInt64(18446744073709551615) AS beyond, toInt64(-5) AS negative,
        [toUInt64(7)] AS list, map('a', toUInt64(8)) AS map, toNullable(toInt64(9)) AS nullable, CAST(NULL, 'Nullable(UInt64)') AS missing`)
      expect(row).toEqual({ safe: 9007199254740991, beyond: '18446744073709551615', negative: -5, list: [7], map: { a: 8 }, nullable: 9, missing: null })
    })

    test('nanoseconds survive, as ISO text in UTC', async () => {
      await store.insert(GAUGE, [aPoint('nanos', { TimeUnix: '1795176000.123456789' })], { token: 'nanos' })
      const [row] = await store.query<{ TimeUnix: string }>(`SELECT TimeUnix FROM ${GAUGE} WHERE MetricName = 'nanos'`)
      expect(row?.TimeUnix).toBe('2026-11-20T12:00:00.123456789Z')
      expect(Date.parse(row!.TimeUnix)).toBe(1_795_176_000_123)
    })

    test('not a number and infinities are not turned into zeros', async () => {
      await store.insert(GAUGE, [aPoint('nan', { Value: null }), aPoint('inf', { Value: 'inf' }), aPoint('ninf', { Value: '-inf' })], { token: 'nan' })
      expect((await values('nan'))[0]?.Value).toBeNaN()
      expect((await values('inf'))[0]?.Value).toBe(Number.POSITIVE_INFINITY)
      expect((await values('ninf'))[0]?.Value).toBe(Number.NEGATIVE_INFINITY)
    })

    test('parameters are values, never SQL', async () => {
      const text = `'; DROP TABLE ${GAUGE}; -- \\ " \n\t {x:String} é 🦊`
      const [row] = await store.query('SELECT {text:String} AS text, {list:Array(String)} AS list, {count:UInt64} AS count', {
        text,
        list: [text, ''],
        count: 5
      })
      expect(row).toEqual({ text, list: [text, ''], count: 5 })
    })

    test('any text that a row holds comes back as it was', async () => {
      const text = 'a;b \'c\' "d" \\n \n\t\u0000 {"x":1} -- é 🦊'
      await store.insert(GAUGE, [aPoint('text', { Attributes: { [text]: text } })], { token: 'text' })
      const [row] = await store.query<{ Attributes: Record<string, string> }>(`SELECT Attributes FROM ${GAUGE} WHERE MetricName = 'text'`)
      expect(row?.Attributes).toEqual({ [text]: text })
    })

    test('a row over many days goes in at once', async () => {
      const rows = Array.from({ length: 150 }, (_, day) => aPoint('days', { TimeUnix: `${1_795_176_000 - day * 86_400}.000000000`, Value: day }))
      await store.insert(GAUGE, rows, { token: 'days' })
      expect(await values('days')).toHaveLength(150)
    })

    test('a wrong statement, table or row is refused for good, with the code and the reason', async () => {
      expect(await refusal(store.query('SELECT nonsense'))).toMatchObject({ code: 'store_refused', retriable: false, details: { clickhouseCode: 47 } })
      expect(await refusal(store.query('SELEC 1'))).toMatchObject({ code: 'store_refused', details: { clickhouseCode: 62 } })
      expect(await refusal(store.insert('nowhere', [{ a: 1 }], { token: 'x' }))).toMatchObject({ code: 'store_refused', details: { clickhouseCode: 60 } })
      const badRow = await refusal(store.insert(GAUGE, [aPoint('bad', { Value: 'text' })], { token: 'bad' }))
      expect(badRow.code).toBe('store_refused')
      expect(badRow.message).toContain(GAUGE)
      expect(await values('bad')).toEqual([])
    })

    test('after closing, which is safe to do twice, everything is unavailable', async () => {
      const old = store
      store = await fixture.reopen()
      await old.close()
      await old.close()
      expect(await refusal(old.query('SELECT 1'))).toMatchObject({ code: 'store_unavailable', retriable: true })
      expect(await refusal(old.insert(GAUGE, [aPoint('closed')], { token: 'closed' }))).toMatchObject({ code: 'store_unavailable' })
      expect(await values('closed')).toEqual([])
    })
  })
}
