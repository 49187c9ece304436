// What a metric means: which way it hurts, how much of it matters at all, and how severe it can get.
//
// Flow: series-table (descriptor, once per metric) -> metric-class. Read by the level detector (least deviation, floor of
// the scale, directions) and by the scorer (severity). One named table; the first matching row wins. Names follow the
// OpenTelemetry semantic conventions (system.*, process.*, http.*, db.*, rpc.*, messaging.*) and what derive/ emits.

import type { Severity } from '../../schemas/anomaly.ts'

export type MetricClassName = 'errors' | 'latency' | 'saturation' | 'cpu' | 'traffic' | 'spare' | 'ready' | 'other'

export interface MetricClass {
  name: MetricClassName
  /** Worst severity of a deviation upwards and downwards; null: that way is no harm and raises nothing. */
  above: Severity | null
  below: Severity | null
  /** Relative deviation from which the worst severity is given. */
  severeRelative: number
}

/**
 * Direction and severity by class. `spare` is capacity that is not used (idle time, free memory, caches that give way): what it
 * lacks shows in the series of its users. `ready` is 1 or 0: only its loss hurts. Else only too much of an error, a delay or a load hurts; a drop of traffic is worth a warning at most.
 */
const CLASSES: Readonly<Record<MetricClassName, MetricClass>> = {
  errors: { name: 'errors', above: 'critical', below: null, severeRelative: 1 },
  latency: { name: 'latency', above: 'critical', below: null, severeRelative: 1 },
  saturation: { name: 'saturation', above: 'critical', below: null, severeRelative: 0.5 },
  cpu: { name: 'cpu', above: 'warning', below: null, severeRelative: 0.5 },
  traffic: { name: 'traffic', above: 'info', below: 'warning', severeRelative: 0.5 },
  ready: { name: 'ready', above: null, below: 'critical', severeRelative: 0.5 },
  spare: { name: 'spare', above: null, below: null, severeRelative: 1 },
  other: { name: 'other', above: 'warning', below: 'info', severeRelative: 1 }
}

const BY_NAME: readonly [pattern: RegExp, name: MetricClassName][] = [
  [/(^|[._])(ready|readiness|healthy|alive|up)$/, 'ready'],
  [/(^|[._])(errors?|error_ratio|fail(ed|ures?)?|exceptions?|dropped|refused|rejected|timeouts?|dead_letters?)([._]|$)/, 'errors'],
  [/(^|[._])(duration|latency|response_time|delay|wait_time)([._]|$)/, 'latency'],
  [/(^|[._])cpu([._]|$)|(^|[._])load_average([._]|$)/, 'cpu'],
  [
    /(^|[._])(memory|heap|rss|swap|paging|filesystem|disk\.usage|utilization|eventloop|queue|backlog|lag|pending|depth|in_flight|handles|file_descriptors?|threads?|children)([._]|$)/,
    'saturation'
  ],
  [/(^|[._])(requests?|records|messages|packets|operations?|calls|io|throughput|bytes|count)([._]|$)/, 'traffic']
]

/** Values of a `state` or `mode` attribute that mean unused capacity (semantic conventions of system.cpu, .memory, .filesystem). */
const SPARE_STATES: readonly string[] = ['idle', 'free', 'available', 'cached', 'buffered', 'buffers', 'slab_reclaimable']
const STATE_ATTRIBUTE = /(^|[._])(state|mode)$/

/**
 * The one attribute that decides the class of a series beside its metric: severity of logs, state of a capacity; '' for others.
 */
export function variantOf(metric: string, attributes: Readonly<Record<string, string>>): string {
  if (metric.startsWith('homeostat.log.')) return attributes['severity'] ?? ''
  for (const key in attributes) if (STATE_ATTRIBUTE.test(key) && SPARE_STATES.includes(attributes[key]!)) return attributes[key]!
  return ''
}

/** Severities of log records that count as errors (OpenTelemetry short names). */
const ERROR_SEVERITIES: readonly string[] = ['ERROR', 'FATAL']

/**
 * Class of a metric.
 * @param variant what `variantOf` says: of logs only errors hurt, the rest is traffic
 */
export function metricClass(metric: string, variant: string): MetricClass {
  if (metric.startsWith('homeostat.log.')) return CLASSES[ERROR_SEVERITIES.includes(variant) ? 'errors' : 'traffic']
  if (variant !== '') return CLASSES.spare
  for (const [pattern, name] of BY_NAME) if (pattern.test(metric)) return CLASSES[name]
  return CLASSES.other
}

/** Bytes of memory that a runtime moves without anything being wrong: a V8 semi-space is 16 MiB. */
const BYTES_MIN = 16 * 2 ** 20
const BYTES_PER_S_MIN = 2 ** 18
/** 20 ms: below it the scheduler and the garbage collector decide. */
const SECONDS_MIN = 0.02
/** Share of requests; of a capacity. */
const ERROR_RATIO_MIN = 0.05
const CAPACITY_RATIO_MIN = 0.2
const COUNT_MIN = 5
/** Of what is 1 or 0. */
const READY_MIN = 0.5
const ERRORS_PER_S_MIN = 0.2
const RATE_MIN = 1

/**
 * Least deviation that matters, in the unit of the value that is scored. The level detector takes a tenth of it as the
 * floor of its scale, so that a constant series neither divides by zero nor alarms on a wiggle.
 * @param unit UCUM unit as sent
 * @param rate the value is the unit per second
 */
export function deviationMin(name: MetricClassName, unit: string, rate: boolean): number {
  if (rate) {
    if (unit === 'By') return BYTES_PER_S_MIN
    if (unit === 's') return CAPACITY_RATIO_MIN // CPU or busy seconds per second: a share of one core.
    return name === 'errors' ? ERRORS_PER_S_MIN : RATE_MIN
  }
  if (name === 'ready') return READY_MIN
  switch (unit) {
    case 'By':
      return BYTES_MIN
    case 's':
      return SECONDS_MIN
    case 'ms':
      return SECONDS_MIN * 1e3
    case 'us':
      return SECONDS_MIN * 1e6
    case 'ns':
      return SECONDS_MIN * 1e9
    case '1':
      return name === 'errors' ? ERROR_RATIO_MIN : CAPACITY_RATIO_MIN
    case '%':
      return (name === 'errors' ? ERROR_RATIO_MIN : CAPACITY_RATIO_MIN) * 100
    default:
      return COUNT_MIN
  }
}

const LESS_SEVERE: Readonly<Record<Severity, Severity>> = { critical: 'warning', warning: 'info', info: 'info' }
/** Times the alarm limit from which a deviation is as bad as its class gets. */
const SEVERE_REACH = 2

/**
 * Severity of a deviation.
 * @param reach    distance from the expected value as a multiple of the alarm limit, >= 1
 * @param relative deviation divided by the expected value, Infinity when zero was expected
 */
export function severityOf(metricClass: MetricClass, direction: 'above' | 'below', reach: number, relative: number): Severity {
  const worst = metricClass[direction] ?? 'info'
  const severeRelative = direction === 'below' ? Math.min(metricClass.severeRelative, 0.5) : metricClass.severeRelative
  return reach >= SEVERE_REACH && relative >= severeRelative ? worst : LESS_SEVERE[worst]
}
