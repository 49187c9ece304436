// What `homeostat detectors explain` is told: readiness, gaps, memory, totals; and the same from a checkpoint as from the live state.

import { SLOT_BYTES } from '../../../detectors/score/rich/page.ts'
import { describe, expect, it } from 'vitest'
import { checkpointName } from '../../../detectors/checkpoint.ts'
import { explainEntities, explainSeries, overviewOf } from '../../../detectors/score/explain.ts'
import { RECORD_BYTES } from '../../../detectors/score/record.ts'
import { savedDetectors } from '../../../pipeline/roles/detectors.ts'
import { configSchema } from '../../../schemas/config.ts'
import { keyPartition } from '../../../schemas/partition.ts'
import type { CheckpointStore } from '../../../schemas/ports.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { aCounter, aPoint, aScorer, at, everySecond } from './builders.ts'

const ENTITY = 'shop/orders@orders-1'

describe('what runs on a series', () => {
  it('says how many points are missing until it is judged, then that none are', () => {
    const fed = aScorer()
    everySecond(fed, 0, 20, second => aPoint({ timeMs: at(second), value: 5 }))
    expect(explainSeries(fed.scorer, ENTITY)).toMatchObject([
      { state: 'warmup', samples: 20, samplesMissing: 40, intervalMs: 1_000, detectors: ['adaptive', 'novelty'] }
    ])
    everySecond(fed, 20, 70, second => aPoint({ timeMs: at(second), value: 5 }))
    expect(explainSeries(fed.scorer, ENTITY)).toMatchObject([
      { state: 'normal', samples: 70, samplesMissing: 0, expected: 5, lastValue: 5, bytes: RECORD_BYTES + SLOT_BYTES }
    ])
  })

  it('shows a series that fell silent while its entity speaks on', () => {
    const fed = aScorer()
    everySecond(fed, 0, 70, second => [aPoint({ name: 'a', timeMs: at(second), value: 5 }), aPoint({ name: 'b', timeMs: at(Math.min(second, 40)), value: 5 })])
    const [a, b] = explainSeries(fed.scorer, ENTITY)
    expect([a!.behindMs, b!.behindMs]).toEqual([0, 29_000])
  })

  it('finds every instance of a service, and one instance alone', () => {
    const fed = aScorer()
    everySecond(fed, 0, 10, second => [ENTITY, 'shop/orders@orders-2', 'shop/orders-db@x'].map(entity => aPoint({ entity, timeMs: at(second), value: 1 })))
    expect(explainEntities(fed.scorer, 'shop/orders').map(({ entity }) => entity)).toEqual([ENTITY, 'shop/orders@orders-2'])
    expect(explainSeries(fed.scorer, 'shop/orders@orders-2')).toHaveLength(1)
    expect(explainSeries(fed.scorer, 'shop')).toEqual([])
  })

  it('names static rules, and what the configuration ignores', () => {
    const fed = aScorer({ ignore: ['^noise'], rules: [{ name: 'deep', metric: 'queue.depth', above: 100, severity: 'critical' }] })
    everySecond(fed, 0, 10, second => [aPoint({ timeMs: at(second), value: 1 }), aPoint({ name: 'noise.level', timeMs: at(second), value: 1 })])
    expect(explainSeries(fed.scorer, ENTITY).map(({ metric, state, detectors }) => [metric, state, detectors])).toEqual([
      ['queue.depth', 'warmup', ['adaptive', 'novelty', 'rule:deep']],
      ['noise.level', 'ignored', []]
    ])
  })
})

describe('totals', () => {
  it('count series by state and what they cost', () => {
    const fed = aScorer()
    everySecond(fed, 0, 70, second => [aPoint({ timeMs: at(second), value: 5 }), aCounter({ name: 'jobs', timeMs: at(second), value: second * 3 })])
    const overview = overviewOf([fed.scorer], { memoryMax: 2 ** 20, seriesRefused: 2 })
    expect(overview).toMatchObject({ series: 2, memoryMax: 2 ** 20, seriesRefused: 2, entities: 1, byState: { warmup: 0, normal: 2, open: 0, ignored: 0 } })
    expect(overview.tiers[0]!.bytes).toBeGreaterThanOrEqual(fed.scorer.table.bytes)
    expect(overview.largest).toMatchObject([{ entity: ENTITY, series: 2 }])
    expect(overviewOf([], { memoryMax: 2 ** 20, seriesRefused: 0 }).tiers[0]!.bytesEach).toBe(0)
  })
})

describe('detectors of other processes', () => {
  const config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  const log = memoryLog()
  const topic = TOPICS.metrics.name

  function saved(parts: ReadonlyMap<string, Uint8Array> | undefined) {
    const asked: string[] = []
    const own = checkpointName({ topic, partition: keyPartition(ENTITY, log.partitions(topic)) })
    const checkpoints = {
      async load(name: string) {
        asked.push(name)
        return name === own && parts ? { version: 1, positions: [], parts } : undefined
      }
    } as unknown as CheckpointStore
    return { asked, own, reports: savedDetectors({ log, checkpoints, config }) }
  }

  it('are explained from their checkpoints, like the live ones, and only one partition is read for an entity', async () => {
    const fed = aScorer()
    everySecond(fed, 0, 70, second => aPoint({ timeMs: at(second), value: 5 + (second % 3) }))
    const notes = new TextEncoder().encode(JSON.stringify({ seed: 1, arrivalMs: at(69), clockMs: at(69) }))
    const { asked, own, reports } = saved(new Map([...fed.scorer.takeDirty(), ['shard', notes]]))
    const report = await reports.explain(ENTITY)
    expect(report).toMatchObject({ from: 'checkpoint', asOfMs: at(69), entities: [{ entity: ENTITY }] })
    expect(report.series).toEqual(explainSeries(fed.scorer, ENTITY))
    expect(asked).toEqual([own])
    expect(await reports.overview()).toMatchObject({ from: 'checkpoint', series: 1, byState: { normal: 1 }, entities: 1 })
  })

  it('that saved nothing, or do not know the entity, are said so', async () => {
    await expect(saved(undefined).reports.explain(ENTITY)).rejects.toMatchObject({ code: 'not_found' })
    await expect(saved(undefined).reports.overview()).rejects.toMatchObject({ code: 'not_found' })
  })
})
