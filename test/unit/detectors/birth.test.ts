// New instances: told once each, whatever restarts, and not those who were there before.

import { afterEach, describe, expect, it } from 'vitest'
import { judgeNew, KNOWN_AFTER_MS, noteHearing } from '../../../detectors/rules/birth.ts'
import { openShard, type Shard } from '../../../detectors/shard.ts'
import { EntityTable, type EntityState, hear } from '../../../detectors/score/entities.ts'
import { unlimitedBudget } from '../../../detectors/score/budget.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { recordRows } from '../../../pipeline/store/rows/record-rows.ts'
import { decodeRecord, encodeRecord } from '../../../schemas/envelope.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { type Instance, instanceRecord } from '../../../schemas/topology.ts'
import { aResource, detectConfig, START_MS } from './builders.ts'
import { aRig, closeWorkers, gauge, metricsSecond, type Rig, run } from './worker-rig.ts'

afterEach(closeWorkers)

const SETTINGS = { absenceIntervals: 5, absenceMin: 30_000, unsavedMs: 20_000, derivedLagMs: 20_000 }
const KNOWN_AFTER_S = KNOWN_AFTER_MS / 1_000

/** Hears the entity at these seconds. @returns what is told */
function heardAt(state: EntityState, seconds: readonly number[]): (Instance['state'] | undefined)[] {
  return seconds.map(second => {
    hear(state, START_MS + second * 1_000)
    return noteHearing(state, SETTINGS)?.state
  })
}
function anEntity(entity?: string): EntityState {
  const state = new EntityTable().of(aResource(entity))!
  state.hasOwnMetrics = true
  return state
}
const every = (intervalS: number, count: number): number[] => Array.from({ length: count }, (_, index) => index * intervalS)

describe('the birth of an instance', () => {
  it('is told with the third hearing, and its settling with the tenth', () => {
    const told = heardAt(anEntity(), every(10, 30))
    expect(told.map((state, index) => [index + 1, state]).filter(([, state]) => state !== undefined)).toEqual([
      [3, 'new'],
      [10, 'settled']
    ])
  })

  it('is told of instances only, not of hosts nor of services', () => {
    for (const entity of ['@web-7', 'shop/orders']) expect(heardAt(anEntity(entity), every(10, 30))).toEqual(Array(30).fill(undefined))
  })

  it('is not told of what reports too seldom to be missed', () => {
    expect(heardAt(anEntity(), every(3_600, 30))).toEqual(Array(30).fill(undefined))
  })

  it('is taken back when it falls silent before it has settled, and told again when it is heard', () => {
    const state = anEntity()
    heardAt(state, every(10, 5))
    const judge = (second: number, listeningSince = 0) => judgeNew(state, START_MS + second * 1_000, START_MS + listeningSince * 1_000, SETTINGS)?.state
    expect(judge(40 + 149)).toBeUndefined()
    expect(judge(40 + 1_000, 1_000)).toBeUndefined()
    expect(judge(40 + 150)).toBe('lost')
    expect(judge(40 + 500)).toBeUndefined()
    expect(heardAt(state, [600, 610])).toEqual(['new', undefined])
  })

  it('never takes back one that has settled: its silence is an absence', () => {
    const state = anEntity()
    heardAt(state, every(10, 12))
    expect(judgeNew(state, START_MS + 10_000_000, START_MS, SETTINGS)).toBeUndefined()
  })
})

const instancesOf = (rig: Rig): Instance[] =>
  rig.log.records(TOPICS.topology.name).flatMap(record => {
    const decoded = decodeRecord(instanceRecord, record)
    return decoded.ok ? [decoded.record] : []
  })
const second = (rig: Rig, of: readonly string[]) => async (at: number) => {
  await metricsSecond(rig, at)
  for (const service of of) {
    const value = gauge(service, 'process.memory.usage', 'By', rig.clock.nowMs(), 60e6 + (at % 7) * 1e6)
    await rig.log.append(TOPICS.metrics.name, [{ key: `${service}@${service}-1`, value }])
  }
}

describe('a detector', () => {
  it('tells who is new to it, once, and makes no birth of those it knew by starting again', async () => {
    const rig = aRig()
    const first = await rig.start()
    await run(rig, 0, KNOWN_AFTER_S + 10, second(rig, []))
    expect(instancesOf(rig)).toEqual([])
    await run(rig, KNOWN_AFTER_S + 10, KNOWN_AFTER_S + 20, second(rig, ['search']))
    expect(instancesOf(rig)).toMatchObject([
      { entity: 'search@search-1', environment: 'lab', state: 'new', firstSeenMs: START_MS + (KNOWN_AFTER_S + 10) * 1_000, patienceMs: 5_000 },
      { entity: 'search@search-1', state: 'settled' }
    ])
    await first.close()
    await rig.start()
    await run(rig, KNOWN_AFTER_S + 20, KNOWN_AFTER_S + 60, second(rig, ['search', 'mail']))
    expect(instancesOf(rig).map(({ entity, state }) => [entity, state])).toEqual([
      ['search@search-1', 'new'],
      ['search@search-1', 'settled'],
      ['mail@mail-1', 'new'],
      ['mail@mail-1', 'settled']
    ])
    const stored = recordRows(encodeRecord(instanceRecord, instancesOf(rig)[0]!) as never)
    expect(stored).toEqual({ ok: true, rows: [] })
  })

  it('tells nobody as new after it lost its checkpoint, until it has listened for long enough', async () => {
    const shard = (): Shard =>
      openShard(
        { topic: TOPICS.metrics.name, partition: 0 },
        {
          ...{ settings: settingsFrom(detectConfig()), budget: unlimitedBudget(), openReader, encodeDerived, environment: 'lab' },
          ...{ nowMs: () => START_MS, models: () => [], sources: () => [] }
        }
      )
    const feed = (to: Shard, service: string, from: number, seconds: number): Instance[] => {
      for (let at = from; at < from + seconds; at++) {
        const atMs = START_MS + at * 1_000
        const value = gauge(service, 'm', '1', atMs, 1)
        to.take({ topic: TOPICS.metrics.name, partition: 0, offset: at, key: service, value, headers: {}, appendedAtMs: atMs })
      }
      return to.outputs().instances
    }
    const anew = shard()
    expect(feed(anew, 'orders', 0, 600)).toEqual([])
    expect(feed(anew, 'orders', 599, 5)).toEqual([])
    expect(feed(anew, 'payments', 604, 5).map(({ entity, state }) => [entity, state])).toEqual([['payments@payments-1', 'new']])
  })
})
