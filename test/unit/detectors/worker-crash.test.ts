import { afterEach, describe, expect, it } from 'vitest'
import { checkpointName } from '../../../detectors/checkpoint.ts'
import type { DetectWorker } from '../../../detectors/worker.ts'
import { AppError } from '../../../schemas/errors.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { aRig, closeWorkers, metricsSecond, type Rig, run, span } from './worker-rig.ts'

afterEach(closeWorkers)

describe('detect worker after a crash', () => {
  /** Ids by status, sorted: what downstream keeps after removing repeats. */
  const distinct = (rig: Rig): string[] => [...new Set(rig.anomalies().map(anomaly => `${anomaly.id} ${anomaly.status} ${anomaly.sinceMs}`))].sort()

  it('continues from its checkpoint, repeats ids instead of inventing events, and keeps derived counts right', async () => {
    const traffic = async (rig: Rig, second: number): Promise<void> => {
      await metricsSecond(rig, second, { leakFrom: 65 })
      for (let request = 0; request < 6; request++) {
        const id = (second * 10 + request + 1).toString(16)
        const slice = span('orders', { kind: 2, startMs: rig.clock.nowMs() + request, durationMs: 5, id, error: second >= 60 })
        await rig.log.append(TOPICS.spans.name, [{ key: id, partition: request % 4, value: encodeOtlp('spans', { resourceSpans: [slice] }) }])
      }
    }
    const calm = aRig()
    await calm.start()
    await run(calm, 0, 80, second => traffic(calm, second))
    expect(distinct(calm).length).toBeGreaterThanOrEqual(3)

    const crashing = aRig()
    for (const [from, to] of [
      [0, 33],
      [33, 61],
      [61, 63],
      [63, 68],
      [68, 80]
    ] as const) {
      const worker = await crashing.start()
      await run(crashing, from, to, second => traffic(crashing, second))
      if (to === 80) continue
      await crash(crashing, worker)
    }
    expect(distinct(crashing)).toEqual(distinct(calm))
  })

  it('commits nothing beyond what its checkpoint holds', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 15, second => metricsSecond(rig, second))
    const saved = await Promise.all([0, 1, 2, 3].map(partition => rig.checkpoints.load(checkpointName({ topic: TOPICS.metrics.name, partition }))))
    const offsets = saved.flatMap(checkpoint => checkpoint?.positions.map(position => position.offset) ?? [])
    expect(offsets.reduce((a, b) => a + b)).toBeGreaterThan(0)
    await worker.close()
    const closed = await Promise.all([0, 1, 2, 3].map(partition => rig.checkpoints.load(checkpointName({ topic: TOPICS.metrics.name, partition }))))
    const ends = closed.flatMap(checkpoint => checkpoint?.positions.map(position => position.offset) ?? [])
    expect(ends.reduce((a, b) => a + b)).toBe(rig.log.records(TOPICS.metrics.name).length)
  })

  it('rebuilds its series from the log when a checkpoint cannot be read', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    await worker.close()
    const { partition } = rig.log.records(TOPICS.metrics.name).find(record => record.key === 'orders@orders-1')!
    const name = checkpointName({ topic: TOPICS.metrics.name, partition })
    const { owner } = await rig.checkpoints.claim([{ name, generation: 99 }], { force: true })
    await rig.checkpoints.save(name, { version: 1, positions: [], parts: new Map() }, owner)
    await rig.checkpoints.claim([{ name, generation: 0 }], { force: true })
    const again = await rig.start()
    await rig.log.drained()
    expect(again.explain('orders@orders-1').series[0]).toMatchObject({ samples: 40 })
  })

  it('does not take its own downtime for a silence of others', async () => {
    const rig = aRig()
    const worker = await rig.start()
    await run(rig, 0, 40, second => metricsSecond(rig, second))
    await worker.close()
    await rig.clock.advance(300_000)
    await rig.start()
    await rig.clock.advance(20_000)
    expect(rig.anomalies()).toEqual([])
    await run(rig, 0, 10, second => metricsSecond(rig, second))
    expect(rig.anomalies()).toEqual([])
  })
})

/** The process is gone: nothing of its memory is written any more, its membership ends, the log stays. */
async function crash(rig: Rig, worker: DetectWorker): Promise<void> {
  const save = rig.checkpoints.save
  rig.checkpoints.save = () => Promise.reject(new AppError('log_unavailable', 'crashed'))
  await worker.close()
  rig.checkpoints.save = save
}
