import { afterEach, describe, expect, it } from 'vitest'
import { AppError } from '../../../schemas/errors.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { START_MS } from './builders.ts'
import { aRig, closeWorkers, gauge, metricsSecond, run, span } from './worker-rig.ts'

afterEach(closeWorkers)

describe('detect worker', () => {
  it('publishes an anomaly of a leaking process, keyed by environment', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 60, second => metricsSecond(rig, second, { leakFrom: 45 }))
    expect(rig.opened()).toMatchObject([{ entity: 'orders@orders-1', metric: 'process.memory.usage', environment: 'lab', severity: 'critical' }])
    expect(rig.log.records(TOPICS.anomalies.name)[0]!.key).toBe('lab')
    expect(worker.stats()).toMatchObject({ entities: 2, outboxRecords: 0, shards: 12 })
    expect(worker.explain('orders@orders-1').series[0]).toMatchObject({ metric: 'process.memory.usage', state: 'open' })
  })

  it('tells a service that fell silent, and nothing about the others', async () => {
    const rig = aRig()
    await rig.start()
    await run(rig, 0, 60, second => metricsSecond(rig, second, { silentFrom: 40 }))
    expect(rig.opened()).toMatchObject([{ detector: 'absence', entity: 'payments@payments-1', direction: 'absent', sinceMs: START_MS + 39_000 }])
    await run(rig, 60, 64, second => metricsSecond(rig, second))
    expect(rig.anomalies().at(-1)).toMatchObject({ detector: 'absence', status: 'close' })
  })

  it('turns spans into series, finds the hung callee on the edge, and draws the graph', async () => {
    const rig = aRig()
    await rig.start()
    const hungFrom = 60
    await run(rig, 0, 75, async second => {
      for (let request = 0; request < 10; request++) {
        const id = (second * 100 + request * 2 + 1).toString(16)
        const startMs = rig.clock.nowMs() + request * 50
        const isHung = second >= hungFrom
        const slices = [span('gateway', { kind: 3, startMs, durationMs: isHung ? 900 : 20, id, peer: 'orders.local', error: isHung })]
        if (!isHung) slices.push(span('orders', { kind: 2, startMs, durationMs: 15, id: (second * 100 + request * 2 + 2).toString(16), parent: id }))
        // Traces spread over the partitions: every shard counts a part of each window.
        await rig.log.append(TOPICS.spans.name, [{ key: id, partition: request % 4, value: encodeOtlp('spans', { resourceSpans: slices }) }])
      }
    })
    expect(rig.edges()).toContainEqual(expect.objectContaining({ environment: 'lab', source: 'gateway', target: 'orders', instrumented: true }))
    const told = rig.opened().filter(anomaly => anomaly.attributes['peer'] === 'orders')
    expect(told.map(anomaly => anomaly.metric)).toEqual(
      expect.arrayContaining(['homeostat.edge.errors', 'homeostat.edge.error_ratio', 'homeostat.edge.duration'])
    )
    for (const anomaly of told) expect(Math.abs(anomaly.sinceMs - (START_MS + hungFrom * 1_000))).toBeLessThanOrEqual(2_000)
    const others = rig.opened().filter(anomaly => anomaly.entity !== 'gateway@gateway-1')
    expect(others.map(anomaly => [anomaly.entity, anomaly.detector])).toEqual([['orders@orders-1', 'absence']])
  })

  it('dead-letters a poison record and goes on', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await rig.log.append(TOPICS.metrics.name, [
      { key: 'orders@orders-1', value: Uint8Array.of(0x0a, 0xff) },
      { key: 'orders@orders-1', value: gauge('orders', 'm', '1', START_MS, 1) }
    ])
    await rig.log.drained()
    expect(rig.log.records(`${TOPICS.metrics.name}.dlq`).map(record => record.headers['dlq.reason'])).toEqual(['malformed_otlp'])
    expect(worker.stats().counts).toMatchObject({ points: 1, rejected: 0 })
  })

  it('loses no anomaly while the log takes nothing, and takes no further input', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 47, second => metricsSecond(rig, second, { leakFrom: 45 }))
    const input: Uint8Array[] = []
    for (let second = 47; second < 60; second++)
      input.push(gauge('orders', 'process.memory.usage', 'By', START_MS + second * 1_000, 60e6 + (second - 45) * 20e6))
    await rig.log.append(
      TOPICS.metrics.name,
      input.map(value => ({ key: 'orders@orders-1', value }))
    )
    rig.log.failAppends(new AppError('log_full', 'disk full'))
    await rig.clock.advance(3_000)
    expect(worker.stats().outboxRecords).toBeGreaterThan(0)
    expect(rig.anomalies()).toEqual([])
    rig.log.failAppends(undefined)
    await rig.clock.advance(3_000)
    await rig.log.drained()
    expect(rig.opened().filter(anomaly => anomaly.detector === 'adaptive').length).toBe(1)
    expect(worker.stats().outboxRecords).toBe(0)
  })

  it('writes no checkpoint of a state whose anomalies are not durable yet', async () => {
    const rig = aRig()
    const saves: number[] = []
    rig.checkpoints = {
      claim: async () => ({ owner: 'the only one', refused: [] }),
      owns: async () => true,
      load: async () => undefined,
      save: async () => void saves.push(rig.clock.nowMs())
    }
    await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    expect(saves.length).toBeGreaterThan(0)
    rig.log.failAppends(new AppError('log_unavailable', 'no quorum'))
    // Both services fall silent, which cannot be told.
    await rig.clock.advance(5_500)
    const before = saves.length
    await rig.clock.advance(60_000)
    expect(saves.length).toBe(before)
    rig.log.failAppends(undefined)
    await rig.clock.advance(20_000)
    expect(rig.opened().map(anomaly => anomaly.detector)).toEqual(['absence', 'absence'])
    expect(saves.length).toBeGreaterThan(before)
  })

  it('reports a bug through finished', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    rig.log.failAppends(new AppError('unknown_topic', 'gone'))
    // Both services fall silent; telling so meets an error that no waiting cures.
    await rig.clock.advance(10_000)
    await expect(worker.finished).rejects.toThrow('gone')
    rig.log.failAppends(undefined)
  })
})
