// Alarms as a detector would raise them: open some seconds after a target broke, closed some seconds after it is well.
// Under faults they come twice, late, overtaking each other, and for targets that are well.

import { type Anomaly, anomalyRecord } from '../../schemas/anomaly.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { anomalyId } from '../../schemas/ids.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { ENVIRONMENT } from './checker.ts'
import type { SimLog } from './sim-log.ts'
import type { Stream } from './streams.ts'
import { METRIC, type Target, type Targets, wasHealthy } from './targets.ts'
import type { Timeline } from './timeline.ts'

const LOOK_MS = 1_000
const OPEN_AFTER_MS = 2_000
const CLOSE_AFTER_MS = 3_000
const RANDOM_CHANCE = 0.2 // That one which is owed is raised at this look.

export class Detector {
  /** Probability that an alarm is late, doubled, or false. Zero once the world heals. */
  disturbed: number
  readonly #timeline: Timeline
  readonly #log: SimLog
  readonly #targets: Targets
  readonly #random: Stream
  /** Series → when its last alarm went out. */
  readonly #lastMs = new Map<string, number>()
  readonly #randomAlarmRatio: number
  /** Random alarms that are due. */
  #owed = 0
  /** Raised at random so far. */
  randomAlarms = 0
  readonly #open = new Map<Target, { anomaly: Anomaly; untilMs: number }>()

  constructor(options: { timeline: Timeline; log: SimLog; targets: Targets; random: Stream; disturbed: number; randomAlarmRatio: number }) {
    this.#timeline = options.timeline
    this.#log = options.log
    this.#targets = options.targets
    this.#random = options.random
    this.disturbed = options.disturbed
    this.#randomAlarmRatio = options.randomAlarmRatio
  }

  start(): void {
    this.#timeline.after(LOOK_MS, () => {
      for (const target of this.#targets.all) this.#look(target)
      this.#raiseAtRandom()
      this.start()
    })
  }

  #look(target: Target): void {
    const { nowMs } = this.#timeline
    const open = this.#open.get(target)
    const has = (ms: number, healthy: boolean): boolean =>
      wasHealthy(target, nowMs) === healthy && wasHealthy(target, nowMs - ms) === healthy && !target.history.some(change => change.atMs > nowMs - ms)
    if (open === undefined) {
      const isFalse = this.#random.chance(this.disturbed / 60)
      if (!isFalse && !has(OPEN_AFTER_MS, false)) return
      this.#raise(target, isFalse)
      if (!isFalse && this.#random.chance(this.#randomAlarmRatio / (1 - this.#randomAlarmRatio))) this.#owed++
    } else if (nowMs >= open.untilMs && has(CLOSE_AFTER_MS, true)) {
      this.#open.delete(target)
      this.#say({ ...open.anomaly, status: 'close', observedAtMs: nowMs })
    }
  }

  #raise(target: Target, isFalse: boolean): void {
    const { nowMs } = this.#timeline
    const anomaly = anAnomaly(target.entity, isFalse ? nowMs : target.history.at(-1)!.atMs, nowMs)
    this.#open.set(target, { anomaly, untilMs: isFalse ? nowMs + this.#random.between(2_000, 20_000) : nowMs })
    this.#say(anomaly)
  }

  /** As many for targets that are well, some time after true ones, as the ratio says. */
  #raiseAtRandom(): void {
    if (this.#owed === 0 || !this.#random.chance(RANDOM_CHANCE)) return
    const well = this.#targets.all.filter(target => !this.#open.has(target) && wasHealthy(target, this.#timeline.nowMs))
    if (well.length === 0) return
    this.#owed--
    this.randomAlarms++
    this.#raise(this.#random.pick(well), true)
  }

  #say(anomaly: Anomaly): void {
    const append = (): void => void this.#log.append(TOPICS.anomalies.name, [encodeRecord(anomalyRecord, anomaly)], 'detector')
    // Late, but a series' alarms keep their order: they travel on one partition.
    const lateMs = this.#random.chance(this.disturbed) ? this.#random.between(100, 5_000) : 0
    const atMs = Math.max(this.#timeline.nowMs + lateMs, this.#lastMs.get(anomaly.series) ?? 0)
    this.#lastMs.set(anomaly.series, atMs)
    this.#timeline.after(atMs - this.#timeline.nowMs, append)
    if (this.#random.chance(this.disturbed)) this.#timeline.after(this.#random.between(10, 8_000), append)
  }
}

function anAnomaly(entity: string, sinceMs: number, nowMs: number): Anomaly {
  const series = `${entity}|${METRIC}`
  return {
    id: anomalyId(series, 'adaptive', sinceMs),
    status: 'open',
    detector: 'adaptive',
    environment: ENVIRONMENT,
    entity,
    service: entity.slice(entity.indexOf('/') + 1, entity.indexOf('@')),
    signal: 'metric',
    metric: METRIC,
    unit: 'ms',
    attributes: {},
    series,
    severity: 'critical',
    direction: 'above',
    observed: 900,
    expected: 50,
    lower: 0,
    upper: 200,
    score: 12,
    threshold: 5,
    samples: 500,
    sinceMs,
    observedAtMs: nowMs,
    detectedAtMs: nowMs,
    shadow: false,
    reason: 'slow'
  }
}
