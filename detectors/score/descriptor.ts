// Descriptors: what the points of a metric are and how they become one value, once per (metric, unit, kind, statistic).
//
// Flow: scorer, when a series is first seen -> descriptor -> read per point (value.ts) and per judgement (level.ts).
// Few (hundreds) and immutable, so they are plain objects; the checkpoint part is the JSON of their defining fields.

import { AppError } from '../../schemas/errors.ts'
import { CANARY_METRIC, POINT_KIND, type PointKind, TEMPORALITY } from '../../schemas/otlp.ts'
import { deviationMin, type MetricClass, metricClass } from './metric-class.ts'

/** How points become values. */
export const READING = {
  /** The value as it is: gauges, non-monotonic cumulative sums, summaries' quantiles, statistics of histograms. */
  value: 0,
  /** Difference to the previous point per second: monotonic cumulative sums. */
  counter: 1,
  /** Summed per window, per second, scored when the window closes: delta sums. */
  window: 2,
  /** Merged per window, mean and p95 scored when it closes: histograms of both temporalities. */
  histogram: 3
} as const
export type Reading = (typeof READING)[keyof typeof READING]

/** Distinct metrics a worker describes; a sender that invents metric names must not fill the heap. */
const DESCRIPTORS_MAX = 50_000
/** Metrics that detectors/derive writes back: their windows close later (scorer.ts). */
const DERIVED_PREFIX = /^homeostat\.(span|edge|log)\./
/** Floor of the scale as a share of the least deviation that matters. */
const SCALE_FLOOR_SHARE = 0.1

/** How often a supervisor restarted something, as it counts: since its creation, whether the sender calls that a gauge or a sum. */
const RESTART_COUNT = /(^|[._])restarts?([._](count|total))?$/
/** The R of RED; errors and durations are classes of their own. */
const REQUESTS = /(^|[._])(requests?|calls)([._]|$)/

/** What the user knows of a metric better than its name tells. */
export interface MetricRule {
  metric: RegExp
  direction?: 'above' | 'below' | 'both' | 'none' | undefined
  deviationMin?: number | undefined
  deviationMinRelative?: number | undefined
}

export interface MetricPatterns {
  metrics: readonly MetricRule[]
  deviationMinRelative: number
  /** Metrics that are stored but never scored. */
  ignore: readonly RegExp[]
  /** Metrics that are named in rules, policies or by the user. */
  important: readonly RegExp[]
}

interface DescriptorSource {
  name: string
  unit: string
  kind: PointKind
  temporality: number
  monotonic: boolean
  /** Statistic of a histogram or quantile of a summary; '' for a series of its own. */
  stat: string
  /** What decides its class beside its name (metric-class.ts): severity of logs, state of a capacity; '' else. */
  variant: string
}

export interface Descriptor extends DescriptorSource {
  id: number
  reading: Reading
  /** The scored value is the unit per second. */
  rate: boolean
  class: MetricClass
  derived: boolean
  ignored: boolean
  /** It says how users fare (requests, errors, durations), or is named where a decision is made: looked at more closely than others. */
  isKey: boolean
  /** It is looked at for crash loops and for nothing else: a restart alone is no deviation of anything. */
  isRestartCount: boolean
  /** A canary: its value is the time at which it set out. */
  isCanary: boolean
  signal: 'metric' | 'span' | 'log'
  /** Limits of the level detector. */
  above: boolean
  below: boolean
  deviationMin: number
  deviationMinRelative: number
  scaleFloor: number
}

export class DescriptorTable {
  readonly #all: Descriptor[] = []
  readonly #byKey = new Map<string, Descriptor>()
  readonly #patterns: MetricPatterns
  #dirty = false

  constructor(patterns: MetricPatterns) {
    this.#patterns = patterns
  }

  get(id: number): Descriptor {
    return this.#all[id]!
  }

  get count(): number {
    return this.#all.length
  }

  /** The descriptor of what is described, made on first sight; undefined when there are too many. */
  intern(source: DescriptorSource): Descriptor | undefined {
    const key = JSON.stringify([source.name, source.unit, source.kind, source.temporality, source.monotonic, source.stat, source.variant])
    const known = this.#byKey.get(key)
    if (known !== undefined || this.#all.length >= DESCRIPTORS_MAX) return known
    const descriptor = describe(source, this.#all.length, this.#patterns)
    this.#all.push(descriptor)
    this.#byKey.set(key, descriptor)
    this.#dirty = true
    return descriptor
  }

  /** JSON of all descriptors when there are new ones since the last call. */
  takeDirty(): Uint8Array | undefined {
    if (!this.#dirty) return undefined
    this.#dirty = false
    const rows = this.#all.map(d => [d.name, d.unit, d.kind, d.temporality, d.monotonic, d.stat, d.variant])
    return new TextEncoder().encode(JSON.stringify(rows))
  }

  /** @throws AppError `checkpoint_invalid` */
  restore(bytes: Uint8Array): void {
    try {
      const rows = JSON.parse(new TextDecoder().decode(bytes)) as [string, string, PointKind, number, boolean, string, string][]
      for (const [name, unit, kind, temporality, monotonic, stat, variant] of rows) this.intern({ name, unit, kind, temporality, monotonic, stat, variant })
    } catch (cause) {
      throw new AppError('checkpoint_invalid', 'the descriptors of a checkpoint cannot be read', { cause })
    }
    this.#dirty = false
  }
}

function describe(source: DescriptorSource, id: number, { ignore, important, metrics, deviationMinRelative }: MetricPatterns): Descriptor {
  const { name, unit } = source
  const reading = readingOf(source)
  const rate = reading === READING.counter || reading === READING.window
  const isRestartCount = reading === READING.value && isCountOfRestarts(source)
  const rule = metrics.find(({ metric }) => metric.test(name))
  const kind = directed(metricClass(name, source.variant), isRestartCount ? 'none' : rule?.direction)
  const least = rule?.deviationMin ?? deviationMin(kind.name, unit, rate)
  return {
    ...source,
    id,
    reading,
    rate,
    class: kind,
    derived: DERIVED_PREFIX.test(name),
    ignored: name === CANARY_METRIC || ignore.some(pattern => pattern.test(name)),
    isRestartCount,
    isCanary: name === CANARY_METRIC,
    isKey: kind.name === 'errors' || kind.name === 'latency' || REQUESTS.test(name) || important.some(pattern => pattern.test(name)),
    signal: name.startsWith('homeostat.log.') ? 'log' : /^homeostat\.(span|edge)\./.test(name) ? 'span' : 'metric',
    above: kind.above !== null,
    below: kind.below !== null,
    deviationMin: least,
    deviationMinRelative: rule?.deviationMinRelative ?? deviationMinRelative,
    scaleFloor: least * SCALE_FLOOR_SHARE
  }
}

/** The class as the user wants it to hurt: a way that it would not hurt by its name is a warning at worst. */
function directed(kind: MetricClass, direction: MetricRule['direction']): MetricClass {
  if (direction === undefined) return kind
  const worst = (way: 'above' | 'below'): MetricClass['above'] => (direction === way || direction === 'both' ? (kind[way] ?? 'warning') : null)
  return { ...kind, above: worst('above'), below: worst('below') }
}

function isCountOfRestarts({ name, stat }: Pick<DescriptorSource, 'name' | 'stat'>): boolean {
  return stat === '' && RESTART_COUNT.test(name)
}

function readingOf({ name, kind, temporality, monotonic, stat }: DescriptorSource): Reading {
  if (stat !== '') return READING.value
  if (kind === POINT_KIND.histogram || kind === POINT_KIND.exponentialHistogram) return READING.histogram
  if (kind === POINT_KIND.sum && temporality === TEMPORALITY.delta) return READING.window
  // Restarts matter by their number, not by their rate.
  if (kind === POINT_KIND.sum && monotonic && !isCountOfRestarts({ name, stat })) return READING.counter
  return READING.value
}
