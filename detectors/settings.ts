// Settings of the detectors from the configuration: patterns compiled, thresholds calibrated, once at start.

import type { Config } from '../schemas/config.ts'
import { AppError } from '../schemas/errors.ts'
import { alarmThreshold } from './score/multivariate/calibration.ts'
import { richThreshold } from './score/rich/alarm.ts'
import type { ScorerSettings } from './score/scorer-settings.ts'
import { tailTable } from './score/tail.ts'

/** A checkpoint that fails is written with the next. */
const CHECKPOINTS_MISSED_MAX = 2
/** Runs are counted in one byte. */
const RUN_MAX = 250

/** @throws AppError `config_invalid` for an `ignore`, `important` or `metrics` that is no regular expression */
export function settingsFrom(config: Config['detect']): ScorerSettings {
  const { window: windowMs, lateness: latenessMs } = config
  const enterPoints = Math.min(config.enterPoints, RUN_MAX)
  return {
    warmupPoints: config.warmupPoints,
    enterPoints,
    exitPoints: Math.min(config.exitPoints, RUN_MAX),
    deviationMinRelative: config.deviationMinRelative,
    tail: tailTable(config.falseAlarmsPerSeriesDay, enterPoints),
    windowMs,
    latenessMs,
    absence: {
      absenceIntervals: config.absenceIntervals,
      absenceMin: config.absenceMin,
      unsavedMs: CHECKPOINTS_MISSED_MAX * config.checkpointInterval,
      // A window's points appear when it is complete and every shard has told it.
      derivedLagMs: windowMs + 2 * latenessMs
    },
    noveltyThreshold: richThreshold(config.novelty.falseAlarmsPerSeriesDay),
    entityThreshold: alarmThreshold(config.multivariate.falseAlarmsPerEntityDay),
    incidentThreshold: -Math.log10(config.falseAlarmsPerSeriesDay),
    ignore: config.ignore.map(text => pattern('ignore', text)),
    metrics: config.metrics.map(rule => ({ ...rule, metric: pattern('metrics', rule.metric) })),
    important: config.important.map(text => pattern('important', text)),
    rules: config.rules
  }
}

function pattern(option: string, text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (cause) {
    throw new AppError('config_invalid', `detect.${option}: ${text} is not a regular expression`, { cause })
  }
}
