// A million gauge series of 2,000 entities with five attributes each, as points that a reader would hand over: `bench series`, `bench score`.

import type { Scorer } from '../../detectors/score/scorer.ts'
import { POINT_KIND, type PointView, type ResourceView } from '../../schemas/otlp.ts'

export const SERIES = 1_000_000
export const ENTITIES = 2_000
/** Of the first step, epoch ms. */
export const START_MS = 1_800_000_000_000
export const STEP_MS = 10_000
const SERIES_PER_POD = 4
const METRICS = 50

export interface SeriesFleet {
  /** One point of each series, in their order or in the given one. */
  feed(scorer: Scorer, step: number, order?: Uint32Array): void
  /** One point of one series; `value` where it shall not be the usual one. */
  point(scorer: Scorer, index: number, step: number, value?: number): void
}

export interface FleetOptions {
  metricOf?: (series: number) => string
  attributesOf?: (series: number) => Record<string, string>
}

/** Low and high word of a series' key: two rounds of a bijective mixer, what a keyed hash of the series looks like. */
export function keyOf(index: number): [low: number, high: number] {
  return [mix(index), mix(index ^ 0x5bd1e995)]
}

/** A cursor that walks through all series, as the reader would: one object, overwritten. */
export function seriesFleet({ metricOf = metric, attributesOf = fiveAttributes }: FleetOptions = {}): SeriesFleet {
  let series = 0
  const entities = Array.from({ length: ENTITIES }, (_, index) => `shop/service-${index % 200}@node-${index}`)
  const resource: ResourceView = { entityIndex: 0, entity: '', service: 'service', environment: 'bench', version: '', attributes: () => ({}) }
  const none = new Float64Array(0)
  const view: PointView = {
    ...{ resource, keyLow: 0, keyHigh: 0, kind: POINT_KIND.gauge, temporality: 0, monotonic: false, timeMs: 0, startMs: 0, value: 0, noRecordedValue: false },
    ...{ count: 0, sum: 0, min: 0, max: 0, boundCount: 0, bucketCount: 0, bounds: none, buckets: none, scale: 0, zeroCount: 0, positiveOffset: 0 },
    ...{ negativeOffset: 0, negativeBucketCount: 0, negativeBuckets: none, quantileCount: 0, quantiles: none, quantileValues: none },
    name: () => metricOf(series),
    unit: () => '{item}',
    description: () => '',
    attributes: () => attributesOf(series)
  }
  const point = (scorer: Scorer, index: number, step: number, value = 100 + ((index * 7 + step * 3) % 17)): void => {
    series = index
    const entity = index % ENTITIES
    resource.entityIndex = entity
    resource.entity = entities[entity]!
    view.keyLow = mix(index)
    view.keyHigh = mix(index ^ 0x5bd1e995)
    view.timeMs = START_MS + step * STEP_MS
    view.value = value
    scorer.point(view)
  }
  return {
    point,
    feed(scorer, step, order) {
      scorer.begin(START_MS + step * STEP_MS)
      if (order) for (let at = 0; at < SERIES; at++) point(scorer, order[at]!, step)
      else for (let index = 0; index < SERIES; index++) point(scorer, index, step)
      // As the pipeline does every second: young series' points wait for it.
      scorer.close(START_MS + step * STEP_MS)
    }
  }
}

const metric = (series: number): string => `app.metric.${series % METRICS}`

function fiveAttributes(series: number): Record<string, string> {
  return {
    'http.request.method': ['GET', 'POST', 'PUT', 'DELETE'][series % 4]!,
    'http.route': `/api/v1/resource/${series % 500}`,
    'http.response.status_code': String(200 + (series % 6)),
    'cloud.region': `region-${series % 3}`,
    'k8s.pod.name': podName(Math.floor(series / SERIES_PER_POD))
  }
}

/** `service-17-7d9f8b6c5-4f2k` */
function podName(pod: number): string {
  return `service-${pod % 200}-7d9f8b6c5-${pod.toString(36)}`
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
