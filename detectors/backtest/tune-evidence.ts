// What tuning goes by: the alarms of each trial, how much of them is evidence, and what can be proposed.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import type { Alarm, Evaluation, Label } from './evaluate.ts'
import type { MetricExposure } from './exposure.ts'
import type { Change, Trial } from './trials.ts'

/** Less history than this says nothing about a week. */
export const DAYS_MIN = 3
/** One or two series are no group. */
export const SERIES_MIN = 3
/** Fewer labels than this say nothing about what a change would miss. */
export const LABELS_MIN = 3
/** A change is judged by so many false alarms of the present settings, and so many in each half. */
export const FALSE_ALARMS_MIN = 10
export const FALSE_ALARMS_HALF_MIN = 3
/** A quieter setting leaves at most this share of the false alarms, in each half. */
export const QUIETER_SHARE = 0.7
/** So many labels more are no chance. */
export const LABELS_MORE_MIN = 2

export interface Outcome {
  trial: Trial
  anomalies: readonly Anomaly[]
}

export interface TuneInput {
  /** The present settings first. */
  outcomes: readonly Outcome[]
  labels: readonly Label[] | undefined
  graceMs: number
  fromMs: number
  toMs: number
  /** Of the present settings. */
  exposure: readonly MetricExposure[]
  entityDays: number
}

/** A trial's alarms against the labels. */
export interface Judged {
  change: Change | undefined
  evaluation: Evaluation
}

/** Alarms of one metric by one detector, with the present settings. */
export interface MetricFinding {
  metric: string
  class: string
  detector: string
  series: number
  seriesDays: number
  alarms: number
  /** Alarms that no label covers; null: nothing is labelled. */
  falseAlarms: number | null
  precision: number | null
  /** Labels that it found. */
  labelsFound: number
  delayMedianMs: number | null
  /** Alarms outside of labels per series (multivariate: per entity) and day; null: never judged. */
  perDay: number | null
  /** null: no rate is configured for this detector. */
  configured: number | null
  /** Significantly more often than configured. */
  isExcessive: boolean
}

/** An entry of detect.metrics, for one metric by its name. */
export type MetricRule = Pick<Config['detect']['metrics'][number], 'metric' | 'direction' | 'deviationMinRelative'>

export type Proposal = {
  why: string
  /** False: without labels nobody knows what it would miss. */
  isCertain: boolean
} & ({ kind: 'setting'; change: Change } | { kind: 'ignore' | 'important'; metric: string } | ({ kind: 'metric' } & MetricRule))

export const isFalse = ({ isTrue }: Alarm): boolean => isTrue !== true
export const timesOf = (alarms: readonly Alarm[]): number[] => alarms.map(({ anomaly }) => anomaly.detectedAtMs)

/** Times in each half of the history. */
export function halvesOf({ fromMs, toMs }: { fromMs: number; toMs: number }): readonly ((timeMs: number) => boolean)[] {
  const middleMs = (fromMs + toMs) / 2
  return [timeMs => timeMs < middleMs, timeMs => timeMs >= middleMs]
}

/** Whether enough false alarms became markedly fewer, in each half of the history. */
export function isQuieter(input: { fromMs: number; toMs: number }, falseNow: readonly number[], falseThen: readonly number[]): boolean {
  return halvesOf(input).every(isIn => {
    const [before, after] = [falseNow.filter(isIn).length, falseThen.filter(isIn).length]
    return before >= FALSE_ALARMS_HALF_MIN && after <= QUIETER_SHARE * before
  })
}
