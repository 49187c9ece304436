import { describe, expect, it } from 'vitest'
import { clocksRecord, derivedMerge, derivedRecord, isDerived, type Merge, ownRecord } from '../../../detectors/merge.ts'
import type { LogRecord, LogRecordInput } from '../../../schemas/ports.ts'

const SHARDS = ['spans/0', 'spans/1']
let offset = 0
const inLog = (input: LogRecordInput): LogRecord => ({
  ...{ topic: 'metrics', partition: 0, offset: offset++, key: input.key, value: input.value, appendedAtMs: 0 },
  headers: input.headers ?? {}
})
const told = (shard: string, dueMs: number, entity = 'orders', environment = 'lab'): LogRecord =>
  inLog(derivedRecord(entity, environment, new TextEncoder().encode(`${shard}@${dueMs}:${entity}`), shard, dueMs))
const clocks = (of: Record<string, number>): LogRecord => inLog(clocksRecord(0, of))

function handedOver(merge: Merge, nowMs: number): string[] {
  const order: string[] = []
  merge.release(
    nowMs,
    value => order.push(new TextDecoder().decode(value)),
    dueMs => order.push(`step ${dueMs}`)
  )
  return order
}

describe('merge of derived points', () => {
  it('hands over in the order in which windows were due, however late a shard tells its part', () => {
    const merge = derivedMerge(() => SHARDS)
    for (const record of [told('spans/0', 1_000), told('spans/0', 2_000), clocks({ 'spans/0': 2_500 })]) expect(merge.take(record)).toBe(true)
    expect(handedOver(merge, 5_000)).toEqual([])
    for (const record of [told('spans/1', 1_100), told('spans/1', 2_000), clocks({ 'spans/1': 2_500 })]) merge.take(record)
    expect(handedOver(merge, 5_000)).toEqual([
      ...['spans/0@1000:orders', 'step 1000', 'spans/1@1100:orders', 'step 1100'],
      ...['spans/0@2000:orders', 'spans/1@2000:orders', 'step 2000']
    ])
    expect(merge.mergedMs).toBe(2_500)
  })

  it('drops what a shard tells again, and takes what it had not told', () => {
    const merge = derivedMerge(() => SHARDS)
    for (const record of [told('spans/0', 1_000), told('spans/0', 2_000), clocks({ 'spans/0': 2_200 }), told('spans/0', 3_000, 'orders')]) merge.take(record)
    // Crashed in the middle of 3,000, and told again from 1,000 on.
    for (const record of [told('spans/0', 1_000), told('spans/0', 2_000), told('spans/0', 3_000, 'orders'), told('spans/0', 3_000, 'cart')]) merge.take(record)
    merge.take(clocks({ 'spans/0': 4_000, 'spans/1': 4_000 }))
    expect(handedOver(merge, 4_000).filter(line => !line.startsWith('step'))).toEqual([
      ...['spans/0@1000:orders', 'spans/0@2000:orders', 'spans/0@3000:orders', 'spans/0@3000:cart']
    ])
    expect(merge.stats.repeated).toBe(3)
  })

  it('takes the same entity of two environments for two', () => {
    const merge = derivedMerge(() => SHARDS)
    for (const environment of ['east', 'west', 'west']) merge.take(told('spans/0', 1_000, 'orders', environment))
    merge.take(clocks({ 'spans/0': 2_000, 'spans/1': 2_000 }))
    expect(handedOver(merge, 2_000).filter(line => !line.startsWith('step'))).toEqual(['spans/0@1000:orders', 'spans/0@1000:orders'])
    expect(merge.stats.repeated).toBe(1)
  })

  it('goes on without a shard that nobody owns, after a minute, and counts what comes too late', () => {
    const merge = derivedMerge(() => SHARDS)
    for (const record of [told('spans/0', 1_000), clocks({ 'spans/0': 90_000, 'spans/1': 500 })]) merge.take(record)
    expect(handedOver(merge, 60_900)).toEqual([])
    expect(handedOver(merge, 61_000)).toEqual(['spans/0@1000:orders', 'step 1000'])
    merge.take(told('spans/1', 900))
    expect(handedOver(merge, 61_000)).toEqual(['spans/1@900:orders', 'step 900'])
    expect(merge.stats.unordered).toBe(1)
  })

  it('comes back from its checkpoint with what waits in it', () => {
    const merge = derivedMerge(() => SHARDS)
    for (const record of [told('spans/0', 1_000), told('spans/0', 1_000, 'cart'), clocks({ 'spans/1': 900 })]) merge.take(record)
    handedOver(merge, 2_000)
    const again = derivedMerge(() => SHARDS, merge.toBytes())
    for (const one of [merge, again]) {
      for (const record of [told('spans/0', 1_000, 'cart'), told('spans/1', 1_000), clocks({ 'spans/0': 1_500, 'spans/1': 1_500 })]) one.take(record)
    }
    const rest = handedOver(merge, 2_000)
    expect(rest).toEqual(['spans/0@1000:orders', 'spans/0@1000:cart', 'spans/1@1000:orders', 'step 1000'])
    expect(handedOver(again, 2_000)).toEqual(rest)
    expect(again.mergedMs).toBe(merge.mergedMs)
  })

  it('leaves telemetry alone and knows what detectors wrote', () => {
    const merge = derivedMerge(() => SHARDS)
    const telemetry = inLog({ key: 'orders', value: Uint8Array.of(1), headers: { traceparent: 'x' } })
    expect([merge.take(telemetry), isDerived(telemetry)]).toEqual([false, false])
    const own = inLog(ownRecord('orders', Uint8Array.of(1), 'metrics/0'))
    expect([merge.take(own), isDerived(own), isDerived(clocks({}))]).toEqual([true, true, true])
    expect(handedOver(merge, 0)).toEqual([])
  })
})
