// Builders for detector tests: points, spans and logs as the reader would hand them over, and a scorer that is fed with them.

import { budgetOf } from '../../../detectors/score/budget.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import type { ScorerSettings } from '../../../detectors/score/scorer-settings.ts'
import type { LearnedDetector } from '../../../detectors/score/model-hook.ts'
import { type Config, configSchema } from '../../../schemas/config.ts'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import { type LogView, POINT_KIND, type PointView, type ResourceView, type SpanView, TEMPORALITY } from '../../../schemas/otlp.ts'
import { cursor, hash } from '../../bench/healthy/points.ts'
import { seededRandom } from '../../support/virtual-clock.ts'

/** A Tuesday; a multiple of every window that tests use. */
export const START_MS = 1_800_000_000_000

export type DetectConfig = Config['detect']

/** Event time of a second of the test. */
export const at = (second: number): number => START_MS + second * 1_000

/** The detect section with its defaults and what a test changes, as a user would write it. */
export function detectConfig(overrides: Record<string, unknown> = {}): DetectConfig {
  return configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', detect: overrides }).detect
}

const entityIndexes = new Map<string, number>()

export function aResource(entity = 'shop/orders@orders-1', environment = 'test', version = ''): ResourceView {
  if (!entityIndexes.has(entity)) entityIndexes.set(entity, entityIndexes.size)
  const service = entity.startsWith('@') ? '' : entity.split('@')[0]!.split('/').at(-1)!
  return { entityIndex: entityIndexes.get(entity)!, entity, service, environment, version, attributes: () => ({}) }
}

export interface PointOverrides extends Partial<Omit<PointView, 'resource' | 'name' | 'unit' | 'attributes' | 'description'>> {
  entity?: string
  name?: string
  unit?: string
  attributes?: Record<string, string>
}

/** A gauge point unless told otherwise. Its key is a hash of what it is, as the reader's. */
export function aPoint(overrides: PointOverrides = {}): PointView {
  const { entity, name = 'queue.depth', unit = '{item}', attributes = {}, ...fields } = overrides
  const resource = aResource(entity)
  const kind = fields.kind ?? POINT_KIND.gauge
  const value = kind === POINT_KIND.gauge || kind === POINT_KIND.sum ? 0 : Number.NaN
  return { ...cursor(resource, name, unit, kind, attributes), timeMs: START_MS, value, ...fields }
}

export const aCounter = (overrides: PointOverrides): PointView =>
  aPoint({ kind: POINT_KIND.sum, temporality: TEMPORALITY.cumulative, monotonic: true, name: 'requests', unit: '{request}', ...overrides })

export const aDelta = (overrides: PointOverrides): PointView =>
  aPoint({ kind: POINT_KIND.sum, temporality: TEMPORALITY.delta, monotonic: true, name: 'requests', unit: '{request}', ...overrides })

/** An explicit histogram of durations from values in seconds. */
export function aHistogram(values: readonly number[], overrides: PointOverrides = {}): PointView {
  const bounds = Float64Array.of(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
  const buckets = new Float64Array(bounds.length + 1)
  for (const value of values) {
    const at = bounds.findIndex(bound => value <= bound)
    buckets[at < 0 ? bounds.length : at]!++
  }
  return aPoint({
    kind: POINT_KIND.histogram,
    temporality: TEMPORALITY.delta,
    name: 'http.server.request.duration',
    unit: 's',
    count: values.length,
    sum: values.reduce((sum, value) => sum + value, 0),
    boundCount: bounds.length,
    bucketCount: buckets.length,
    bounds,
    buckets,
    ...overrides
  })
}

let spanIds = 0

export interface SpanOverrides extends Partial<Omit<SpanView, 'resource' | 'name' | 'attribute'>> {
  entity?: string
  /** `service.version` of its resource. */
  version?: string
  name?: string
  attributes?: Record<string, string>
}

/** A server span of 10 ms that ends well. `timeMs` is its start. */
export function aSpan(overrides: SpanOverrides = {}): SpanView {
  const { entity, version, name = 'GET /orders', attributes = {}, ...fields } = overrides
  spanIds++
  return {
    resource: aResource(entity, 'test', version),
    timeMs: START_MS,
    durationMs: 10,
    kind: 2,
    status: 0,
    spanIdLow: hash(String(spanIds), 3) >>> 0,
    spanIdHigh: hash(String(spanIds), 5) >>> 0,
    parentIdLow: 0,
    parentIdHigh: 0,
    traceIdLow: 1,
    traceIdHigh: 1,
    nameHash: hash(name, 7),
    ...fields,
    name: () => name,
    statusMessage: () => '',
    attribute: key => attributes[key],
    traceId: () => '',
    spanId: () => ''
  }
}

export interface LogOverrides {
  entity?: string
  timeMs?: number
  severityNumber?: number
  body?: string
}

/** An INFO record. */
export function aLog({ entity, timeMs = START_MS, severityNumber = 9, body = 'started' }: LogOverrides = {}): LogView {
  const bytes = new TextEncoder().encode(body)
  return {
    resource: aResource(entity),
    timeMs,
    observedMs: timeMs,
    severityNumber,
    severityText: () => '',
    body: () => body,
    bytes,
    bodyStart: 0,
    bodyEnd: bytes.length,
    attribute: () => undefined,
    traceId: () => ''
  }
}

export interface FedScorer {
  scorer: Scorer
  settings: ScorerSettings
  /** Shows points at the log's clock `atMs` (default: the first point's time) and closes what is due. */
  feed(points: readonly PointView[], atMs?: number): void
  /** All anomalies told so far. */
  anomalies: Anomaly[]
  opened(): Anomaly[]
  closed(): Anomaly[]
}

/** A scorer whose wall clock is the log's. */
export function aScorer(
  overrides: Record<string, unknown> = {},
  options: { models?: () => readonly LearnedDetector[]; parts?: ReadonlyMap<string, Uint8Array> } = {}
): FedScorer {
  const settings = settingsFrom(detectConfig(overrides))
  let nowMs = START_MS
  const scorer = new Scorer(settings, { budget: budgetOf(100 * 2 ** 20), nowMs: () => nowMs, ...options })
  const anomalies: Anomaly[] = []
  return {
    scorer,
    settings,
    anomalies,
    feed(points, atMs = points[0]?.timeMs ?? nowMs) {
      nowMs = atMs
      scorer.begin(atMs)
      for (const point of points) scorer.point(point)
      scorer.close(atMs)
      anomalies.push(...scorer.take())
    },
    opened: () => anomalies.filter(anomaly => anomaly.status === 'open'),
    closed: () => anomalies.filter(anomaly => anomaly.status === 'close')
  }
}

/** Feeds what `point` makes, once a second. */
export function everySecond(fed: FedScorer, from: number, to: number, point: (second: number) => PointView | PointView[]): void {
  for (let second = from; second < to; second++) fed.feed([point(second)].flat(), at(second))
}

/** Seeded chance with the distributions that telemetry shows. */
export function chance(seed: number) {
  const random = seededRandom(seed)
  const gaussian = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next())
  return {
    uniform: () => random.next(),
    gaussian,
    poisson(mean: number): number {
      const limit = Math.exp(-mean)
      let product = random.next()
      let count = 0
      while (product > limit) {
        product *= random.next()
        count++
      }
      return count
    }
  }
}
