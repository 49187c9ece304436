import { expect, test } from 'vitest'
import { bodyPool } from '../../../../pipeline/intake/body-pool.ts'

const chunk = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill)
const LARGE = 100_000

test('joins the chunks of a large body in shared memory, in order', () => {
  const { bytes } = bodyPool()([chunk(LARGE, 1), chunk(3, 2), chunk(LARGE, 3)], 2 * LARGE + 3)
  expect(bytes.buffer).toBeInstanceOf(SharedArrayBuffer)
  expect(Buffer.compare(bytes, Buffer.concat([chunk(LARGE, 1), chunk(3, 2), chunk(LARGE, 3)]))).toBe(0)
})

test('uses memory again once it is released, and not before', () => {
  const pool = bodyPool()
  const first = pool([chunk(LARGE, 1), chunk(1, 1)], LARGE + 1)
  const second = pool([chunk(LARGE, 2), chunk(1, 2)], LARGE + 1)
  expect(second.bytes.buffer).not.toBe(first.bytes.buffer)
  first.release()
  const third = pool([chunk(LARGE, 3), chunk(5, 3)], LARGE + 5)
  expect(third.bytes.buffer).toBe(first.bytes.buffer)
  expect(second.bytes.every(byte => byte === 2)).toBe(true)
})

test('keeps no more than its bound', () => {
  const pool = bodyPool()
  const bodies = Array.from({ length: 20 }, () => pool([chunk(2 ** 22, 1), chunk(2 ** 22, 1)], 2 ** 23))
  for (const body of bodies) body.release()
  const again = bodies.map(() => pool([chunk(2 ** 22, 1), chunk(2 ** 22, 1)], 2 ** 23))
  const known = new Set(bodies.map(({ bytes }) => bytes.buffer))
  expect(again.filter(({ bytes }) => known.has(bytes.buffer))).toHaveLength(8) // 64 MiB of bodies of 8 MiB.
})

test('a small body, or one that came in one piece, is not pooled', () => {
  const whole = chunk(LARGE, 1)
  expect(bodyPool()([whole], LARGE).bytes).toBe(whole)
  expect(bodyPool()([chunk(10, 1), chunk(10, 2)], 20).bytes.buffer).toBeInstanceOf(ArrayBuffer)
})
