import { expect, test } from 'vitest'
import { keyPartition, murmur2 } from '../../../schemas/partition.ts'

const encoder = new TextEncoder()

test('agrees with the values that Kafka publishes in its own tests', () => {
  const expected = {
    '21': -973932308,
    foobar: -790332482,
    'a-little-bit-long-string': -985981536,
    'a-little-bit-longer-string': -1486304829,
    lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
    abc: 479470107
  }
  for (const [key, hash] of Object.entries(expected)) expect(murmur2(encoder.encode(key)), key).toBe(hash)
})

test('every key lands on an existing partition and many keys reach all of them', () => {
  const seen = new Set<number>()
  for (let i = 0; i < 1_000; i++) seen.add(keyPartition(`shop/service-${i}@host-${i}`, 4))
  expect([...seen].sort()).toEqual([0, 1, 2, 3])
})
