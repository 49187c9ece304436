// Alarms against labels: precision, recall, delay, false alarms per series and day.
//
// Flow: replay -> evaluate -> report. An alarm is the opening of an anomaly that is not in shadow; it is true when it was raised
// while a label of its entity (and metric, where the label names one) lasted, or within the grace after it. Several alarms of one
// label are all true. An anomaly that was open before the label began did not find it.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { entityService } from '../../schemas/entity.ts'

/** A time that a person calls abnormal. */
export interface Label {
  /** One without an instance (`shop/orders`) means every instance of it. Any of them is enough. */
  entities: readonly string[]
  startMs: number
  endMs: number
  /** Absent: any. */
  metric?: string
  /** What it is called in reports: an incident's title, or the place in the file. */
  name: string
}

export interface LabelResult extends Label {
  /** From its start to the first true alarm, ms; null: not found. */
  delayMs: number | null
  alarms: number
}

export interface Alarm {
  anomaly: Anomaly
  /** Whether a label covers it; null: nothing was labelled. */
  isTrue: boolean | null
}

export interface Evaluation {
  alarms: Alarm[]
  labels: LabelResult[]
  /** Shares 0..1; null where there is nothing to divide by. */
  precision: number | null
  recall: number | null
  /** Over the labels that were found, ms. */
  delayMedianMs: number | null
  delayP90Ms: number | null
  trueAlarms: number
  falseAlarms: number
  /** Alarms outside of labels; without labels all of them count. null: no series was judged. */
  falseAlarmsPerSeriesDay: number | null
}

/**
 * @param anomalies records as told; only openings outside shadow are alarms
 * @param labels    undefined: nothing is labelled, so that precision and recall are unknown
 * @param graceMs   an alarm so long after a label's end still belongs to it (points arrive, windows close later)
 */
export function evaluate(
  anomalies: readonly Anomaly[],
  labels: readonly Label[] | undefined,
  { seriesDays, graceMs }: { seriesDays: number; graceMs: number }
): Evaluation {
  const results: LabelResult[] = (labels ?? []).map(label => ({ ...label, delayMs: null, alarms: 0 }))
  const alarms: Alarm[] = anomalies
    .filter(({ status, shadow }) => status === 'open' && !shadow)
    .map(anomaly => {
      const covering = results.filter(label => covers(label, anomaly, graceMs))
      for (const label of covering) {
        label.alarms++
        label.delayMs = Math.min(label.delayMs ?? Number.POSITIVE_INFINITY, Math.max(0, anomaly.detectedAtMs - label.startMs))
      }
      return { anomaly, isTrue: labels === undefined ? null : covering.length > 0 }
    })
  const trueAlarms = alarms.filter(({ isTrue }) => isTrue === true).length
  const falseAlarms = alarms.length - trueAlarms
  const delays = results.flatMap(({ delayMs }) => delayMs ?? []).sort((a, b) => a - b)
  return {
    alarms,
    labels: results,
    precision: labels === undefined || alarms.length === 0 ? null : trueAlarms / alarms.length,
    recall: results.length === 0 ? null : delays.length / results.length,
    delayMedianMs: quantile(delays, 0.5),
    delayP90Ms: quantile(delays, 0.9),
    trueAlarms,
    falseAlarms,
    falseAlarmsPerSeriesDay: seriesDays > 0 ? falseAlarms / seriesDays : null
  }
}

function covers(label: Label, anomaly: Anomaly, graceMs: number): boolean {
  return (
    anomaly.detectedAtMs >= label.startMs &&
    anomaly.detectedAtMs <= label.endMs + graceMs &&
    (label.metric === undefined || label.metric === anomaly.metric) &&
    label.entities.some(entity => entity === anomaly.entity || (!entity.includes('@') && entity === entityService(anomaly.entity)))
  )
}

/** The smallest value that at least `share` of the sorted values do not exceed (nearest rank). */
function quantile(sorted: readonly number[], share: number): number | null {
  return sorted.length === 0 ? null : sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!
}
