// Several detect threads in one process answer as one.

import { expect, test } from 'vitest'
import { overviewOf } from '../../../detectors/score/explain.ts'
import type { RoleHost } from '../../../pipeline/hosting/role-host.ts'
import { hostedDetectors } from '../../../pipeline/roles/detectors.ts'
import { memoryMeter, withAttributes } from '../../../pipeline/self/meter.ts'
import { virtualClock } from '../../support/virtual-clock.ts'

const anEntity = (entity: string) => ({
  ...{ entity, environment: 'lab', series: 0, lastSeenMs: 0, usualGapMs: 0 },
  ...{ absentAfterMs: null, absentSinceMs: null, model: null }
})
function aHost(entities: string[], seriesRefused: number): RoleHost {
  const overview = { ...overviewOf([], { memoryMax: 2 ** 20, seriesRefused }), entities: entities.length, largest: entities.map(anEntity) }
  const explain = (asked: string) => ({ series: [], entities: entities.filter(entity => entity === asked).map(anEntity) })
  return { call: async (method: string, asked: string) => (method === 'overview' ? overview : explain(asked)) } as unknown as RoleHost
}

test('an entity is found in the thread that has it, totals and memory are sums', async () => {
  const reports = hostedDetectors(() => [aHost(['a'], 1), aHost(['b', 'c'], 2)], virtualClock(5_000))
  expect((await reports.explain('c')).entities.map(({ entity }) => entity)).toEqual(['c'])
  await expect(reports.explain('d')).rejects.toMatchObject({ code: 'not_found' })
  const overview = await reports.overview()
  expect(overview).toMatchObject({ entities: 3, seriesRefused: 3, memoryMax: 2 ** 21, from: 'process', asOfMs: 5_000 })
  expect(overview.tiers[0]!.bytesMax).toBe(2 ** 20)
  expect(overview.largest.map(({ entity }) => entity)).toEqual(['a', 'b', 'c'])
  await expect(hostedDetectors(() => [], virtualClock(0)).overview()).rejects.toMatchObject({ code: 'timeout' })
})

test('gauges of threads stand beside each other', () => {
  const meter = memoryMeter()
  withAttributes(meter, { thread: 'detect' }).gauge('series', 1)
  withAttributes(meter, { thread: 'detect-2' }).gauge('series', 2, { kind: 'x' })
  withAttributes(meter, { thread: 'detect-2' }).count('points')
  expect(meter.readings().map(({ attributes, value }) => [attributes, value])).toEqual([
    [{ thread: 'detect' }, 1],
    [{ thread: 'detect-2', kind: 'x' }, 2],
    [{ thread: 'detect-2' }, 1]
  ])
})
