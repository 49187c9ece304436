// The settings that `homeostat tune` tries: the present ones, and each of a few changed by one step in both directions.
//
// One at a time: what changed is then what the setting did, and the number of replays stays small. Steps are coarse on purpose: a
// finer grid would fit the history at hand, and the next week would not thank for it.

import type { Config } from '../../schemas/config.ts'

export type Setting = 'falseAlarmsPerSeriesDay' | 'enterPoints' | 'deviationMinRelative' | 'novelty.falseAlarmsPerSeriesDay'

/** A change of one setting. */
export interface Change {
  setting: Setting
  from: number
  to: number
  /** Whose alarms it is about. */
  detector: 'adaptive' | 'novelty'
}

export interface Trial {
  /** undefined: the present settings. */
  change: Change | undefined
  detect: Config['detect']
}

/** Bounds of schemas/config.ts. */
const RATE_MIN = 1e-6
const RATE_MAX = 10
const RATE_STEP = 10
const RELATIVE_STEP = 2

/** The present settings first. */
export function trialsOf(detect: Config['detect']): Trial[] {
  const { falseAlarmsPerSeriesDay, enterPoints, deviationMinRelative, novelty } = detect
  const rate = (value: number): number => Number(Math.max(RATE_MIN, Math.min(RATE_MAX, value)).toPrecision(6))
  const steps: [Change['setting'], Change['detector'], from: number, to: number[]][] = [
    ['falseAlarmsPerSeriesDay', 'adaptive', falseAlarmsPerSeriesDay, [rate(falseAlarmsPerSeriesDay / RATE_STEP), rate(falseAlarmsPerSeriesDay * RATE_STEP)]],
    ['enterPoints', 'adaptive', enterPoints, [Math.max(1, enterPoints - 1), enterPoints + 2]],
    ['deviationMinRelative', 'adaptive', deviationMinRelative, [deviationMinRelative / RELATIVE_STEP, Math.min(1, deviationMinRelative * RELATIVE_STEP)]],
    [
      'novelty.falseAlarmsPerSeriesDay',
      'novelty',
      novelty.falseAlarmsPerSeriesDay,
      [rate(novelty.falseAlarmsPerSeriesDay / RATE_STEP), rate(novelty.falseAlarmsPerSeriesDay * RATE_STEP)]
    ]
  ]
  const changes = steps.flatMap(([setting, detector, from, values]) => values.filter(to => to !== from).map((to): Change => ({ setting, detector, from, to })))
  return [{ change: undefined, detect }, ...changes.map(change => ({ change, detect: changed(detect, change) }))]
}

function changed(detect: Config['detect'], { setting, to }: Change): Config['detect'] {
  return setting === 'novelty.falseAlarmsPerSeriesDay'
    ? { ...detect, novelty: { ...detect.novelty, falseAlarmsPerSeriesDay: to } }
    : { ...detect, [setting]: to }
}
