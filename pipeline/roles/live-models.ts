// Learned detectors as detect uses them: feature vectors per entity and window, scored by the newest models, and recorded.
//
// Models come from the compacted models topic as they arrive and survive restarts there. Every vector is also written as
// gauges of Homeostat itself (`homeostat.feature`), so that training reads from ClickHouse exactly what scoring saw.

import { hostname } from 'node:os'
import { metricClass } from '../../detectors/score/metric-class.ts'
import type { EntityWindow, LearnedDetector } from '../../detectors/score/model-hook.ts'
import { entityFeatures, FEATURE_NAMES } from '../../models/features.ts'
import { FEATURE_METRIC, PROBABILITY_METRIC } from '../../models/history.ts'
import { openPredictor } from '../../models/predict.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import { type Model, modelRecord } from '../../schemas/model.ts'
import type { DerivedPoint, EncodeDerived } from '../../schemas/otlp.ts'
import type { Clock, Log, Logger, Meter } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

/** A new model is live, and a recorded vector on its way, within this time. */
const POLL_MS = 1_000
const READ_RECORDS_MAX = 100
/** Entities whose vectors are kept; beyond it the least recently seen go, and their trends begin anew. */
const ENTITIES_MAX = 100_000
/** Points waiting to be written; beyond it vectors are not recorded, and counted. */
const PENDING_POINTS_MAX = 50_000

export interface LiveModels {
  detectors(): readonly LearnedDetector[]
  close(): Promise<void>
}

export async function liveModels(options: {
  log: Log
  encodeDerived: EncodeDerived
  environment: string
  clock: Clock
  logger: Logger
  meter: Meter
}): Promise<LiveModels> {
  const { log, encodeDerived, environment, clock, logger, meter } = options
  const vectors = entityVectors()
  const models = new Map<string, LearnedDetector>()
  const stop = new AbortController()
  let pending: DerivedPoint[] = []
  let offset = (await log.offsets(TOPICS.models.name))[0]?.start ?? 0

  const recorder: LearnedDetector = {
    name: 'features',
    version: '1',
    shadow: true,
    threshold: 1,
    claim: '',
    onEntityWindow(window) {
      if (pending.length >= PENDING_POINTS_MAX) meter.count('homeostat.feature.dropped', FEATURE_NAMES.length)
      else appendPoints(pending, window, vectors(window))
      return undefined // It only takes notes.
    }
  }

  const note = (point: DerivedPoint): void => {
    if (pending.length < PENDING_POINTS_MAX) pending.push(point)
    else meter.count('homeostat.feature.dropped')
  }

  async function poll(): Promise<void> {
    for (const record of await log.read({ topic: TOPICS.models.name, partition: 0, offset }, READ_RECORDS_MAX)) {
      offset = record.offset + 1
      const decoded = decodeRecord(modelRecord, record)
      try {
        if (!decoded.ok) throw new AppError('model_invalid', decoded.reason)
        models.set(decoded.record.name, learnedDetector(decoded.record, vectors, note))
        logger.info({ model: decoded.record.name, version: decoded.record.version, stage: decoded.record.stage }, 'model loaded')
        meter.count('homeostat.model.loads', 1, { model: decoded.record.name })
      } catch (cause) {
        // A model that cannot be loaded leaves the one before in place.
        logger.error({ offset: record.offset, error: cause }, 'model refused')
        meter.count('homeostat.model.refused')
      }
    }
  }

  async function record(): Promise<void> {
    if (pending.length === 0) return
    const points = pending
    pending = []
    const source = { namespace: '', service: 'homeostat', instance: hostname(), environment }
    const requests = encodeDerived(points.map(point => ({ ...point, entity: source })))
    await log.append(
      TOPICS.metrics.name,
      requests.map(({ entity, request }) => ({ key: entity, value: request }))
    )
  }

  await poll()
  const finished = (async () => {
    while (!stop.signal.aborted) {
      await clock.sleep(POLL_MS, stop.signal)
      await poll().catch(cause => logger.warn({ error: cause }, 'models topic cannot be read, will try again'))
      await record().catch(cause => {
        meter.count('homeostat.feature.dropped')
        logger.warn({ error: cause }, 'feature vectors could not be recorded')
      })
    }
  })()
  return {
    detectors: () => [recorder, ...models.values()],
    async close() {
      stop.abort()
      await finished
    }
  }
}

/** Every probability is also kept as telemetry: that is how a model in shadow is compared with what then happened. */
function learnedDetector(model: Model, vectors: (window: EntityWindow) => Float64Array, note: (point: DerivedPoint) => void): LearnedDetector {
  const predict = openPredictor(model)
  return {
    name: model.name,
    version: model.version,
    shadow: model.stage === 'shadow',
    threshold: model.threshold,
    claim: `fails within ${Math.round(model.horizonMs / 1_000)} s`,
    onEntityWindow(window) {
      const probability = predict(vectors(window))
      note(gauge(window, PROBABILITY_METRIC, { entity: window.entity, model: model.name, version: model.version }, probability))
      return probability
    }
  }
}

/** One vector per entity and window, however many ask for it. */
function entityVectors(): (window: EntityWindow) => Float64Array {
  const known = new Map<string, { toMs: number; vector: Float64Array }>()
  return window => {
    const key = `${window.environment}/${window.entity}`
    const last = known.get(key)
    if (last?.toMs === window.toMs) return last.vector
    const deviations = [...window.values].map(([name, { zscore }]) => ({
      class: metricClass(name.slice(0, name.lastIndexOf('|')), '').name,
      deviation: zscore
    }))
    const vector = entityFeatures(deviations, last?.vector)
    known.delete(key)
    known.set(key, { toMs: window.toMs, vector })
    if (known.size > ENTITIES_MAX) known.delete(known.keys().next().value!)
    return vector
  }
}

/** A gauge for each feature that says something; the first always, so that a calm row exists too. */
function appendPoints(points: DerivedPoint[], window: EntityWindow, vector: Float64Array): void {
  for (const [index, feature] of FEATURE_NAMES.entries()) {
    const value = vector[index]!
    if (value === 0 && index > 0) continue
    points.push(gauge(window, FEATURE_METRIC, { entity: window.entity, feature }, value))
  }
}

/** A point of Homeostat's own; `record` names the source. */
function gauge(window: EntityWindow, name: string, attributes: Readonly<Record<string, string>>, value: number): DerivedPoint {
  const entity = { namespace: '', service: '', instance: '', environment: window.environment }
  return { entity, name, unit: '1', timeMs: window.toMs, startMs: window.fromMs, attributes, data: { kind: 'gauge', value } }
}
