// What the detectors know, for the console: asked of the detect role in this process, else read from its checkpoints in the log.
//
// A checkpoint is as old as detect.checkpointInterval at most, and holds all that live state does. One partition's state is in
// memory at a time; an entity with its instance needs one partition only.

import {
  type DetectorsOverview,
  ENTITIES_TOLD_MAX,
  type EntityExplanation,
  explainEntities,
  explainSeries,
  overviewOf,
  type SeriesExplanation
} from '../../detectors/score/explain.ts'
import { unlimitedBudget } from '../../detectors/score/budget.ts'
import { checkpointName } from '../../detectors/checkpoint.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { openShard } from '../../detectors/shard.ts'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { keyPartition } from '../../schemas/partition.ts'
import type { CheckpointStore, Clock, Log } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import type { RoleHost } from '../hosting/role-host.ts'
import { openReader } from '../otlp/reader.ts'
import { encodeDerived } from '../otlp/writer.ts'
import { unscoredMetrics } from './backtest.ts'

export type { DetectorsOverview, EntityExplanation, SeriesExplanation } from '../../detectors/score/explain.ts'

export interface Provenance {
  /** `process`: as it is now; `checkpoint`: as it was saved last. */
  from: 'process' | 'checkpoint'
  /** When that was, epoch ms. */
  asOfMs: number
}
export type EntityReport = Provenance & { series: SeriesExplanation[]; entities: EntityExplanation[] }
export type OverviewReport = Provenance & DetectorsOverview

export interface DetectorReports {
  /** @throws AppError `not_found` | `timeout` | `log_unavailable` */
  explain(entity: string): Promise<EntityReport>
  /** @throws AppError `timeout` | `log_unavailable` */
  overview(): Promise<OverviewReport>
}

/** Of the threads of the detect role in this process. */
export function hostedDetectors(detect: () => readonly RoleHost[], clock: Clock): DetectorReports {
  const ask = async <Result>(method: string, parameters?: unknown): Promise<Result[]> => {
    const hosts = detect()
    if (hosts.length === 0) throw new AppError('timeout', 'detection is being opened: try again in a moment')
    return Promise.all(hosts.map(host => host.call<Result>(method, parameters)))
  }
  const now = (): Provenance => ({ from: 'process', asOfMs: clock.nowMs() })
  return {
    async explain(entity) {
      const found = await ask<Pick<EntityReport, 'series' | 'entities'>>('explain', entity)
      return known(entity, { ...now(), series: found.flatMap(({ series }) => series), entities: found.flatMap(({ entities }) => entities) })
    },
    async overview() {
      const [first, ...others] = await ask<DetectorsOverview>('overview')
      const total: OverviewReport = { ...first!, ...now() }
      for (const other of others) {
        add(total, other)
        // Each thread has its part of the memory.
        total.memoryMax += other.memoryMax
        for (const [index, { bytesMax }] of other.tiers.entries()) total.tiers[index]!.bytesMax += bytesMax
      }
      return total
    }
  }
}

/** Of detect roles elsewhere, by what they saved. */
export function savedDetectors({
  log,
  checkpoints,
  config
}: {
  log: Log
  checkpoints: CheckpointStore
  config: Pick<Config, 'detect' | 'environment'>
}): DetectorReports {
  const topic = TOPICS.metrics.name
  const settings = settingsFrom({ ...config.detect, ignore: unscoredMetrics(config.detect.ignore) })

  async function restored(partition: number) {
    const saved = await checkpoints.load(checkpointName({ topic, partition }))
    if (saved === undefined) return undefined
    const { scorer, notes } = openShard(
      { topic, partition },
      {
        settings,
        budget: unlimitedBudget(),
        openReader,
        encodeDerived,
        environment: config.environment,
        nowMs: () => 0,
        models: () => [],
        sources: () => []
      },
      saved.parts
    )
    return { scorer: scorer!, asOfMs: notes.clockMs }
  }

  const all = Array.from({ length: log.partitions(topic) }, (_, partition) => partition)
  return {
    async explain(entity) {
      const report: EntityReport = { from: 'checkpoint', asOfMs: Number.POSITIVE_INFINITY, series: [], entities: [] }
      for (const partition of entity.includes('@') ? [keyPartition(entity, all.length)] : all) {
        const state = await restored(partition)
        if (state === undefined) continue
        const entities = explainEntities(state.scorer, entity)
        if (entities.length === 0) continue
        report.entities.push(...entities)
        report.series.push(...explainSeries(state.scorer, entity))
        report.asOfMs = Math.min(report.asOfMs, state.asOfMs)
      }
      return known(entity, report)
    },
    async overview() {
      const total: OverviewReport = {
        ...overviewOf([], { memoryMax: config.detect.memoryMax, seriesRefused: 0 }),
        from: 'checkpoint',
        asOfMs: Number.POSITIVE_INFINITY
      }
      for (const partition of all) {
        const state = await restored(partition)
        if (state === undefined) continue
        add(total, overviewOf([state.scorer], { memoryMax: config.detect.memoryMax, seriesRefused: 0 }))
        total.asOfMs = Math.min(total.asOfMs, state.asOfMs)
      }
      if (!Number.isFinite(total.asOfMs)) throw new AppError('not_found', 'no detector has saved a checkpoint yet: is a process with the role detect running?')
      return total
    }
  }
}

function add(total: DetectorsOverview, more: DetectorsOverview): void {
  total.series += more.series
  total.seriesRefused += more.seriesRefused
  total.entities += more.entities
  for (const state of Object.keys(total.byState) as (keyof DetectorsOverview['byState'])[]) total.byState[state] += more.byState[state]
  for (const tier of more.tiers) {
    const known = total.tiers.find(({ tier: name }) => name === tier.tier)
    if (known === undefined) {
      total.tiers.push({ ...tier })
      continue
    }
    known.count += tier.count
    known.bytes += tier.bytes
    known.bytesEach = known.count === 0 ? 0 : Math.round(known.bytes / known.count)
  }
  total.largest = [...total.largest, ...more.largest].sort((a, b) => b.series - a.series || (a.entity < b.entity ? -1 : 1)).slice(0, ENTITIES_TOLD_MAX)
}

function known(entity: string, report: EntityReport): EntityReport {
  if (report.entities.length === 0)
    throw new AppError('not_found', `no detector knows ${entity}: see \`homeostat detectors explain\`, or SELECT Entity FROM homeostat_entities_latest`)
  return report
}
