// What `homeostat tune` needs of detection: replays of one history with the present settings and others, and what they justify.

import { openReplay, type Replay } from '../../detectors/backtest/replay.ts'
import { type Trial, trialsOf } from '../../detectors/backtest/trials.ts'
import type { Config } from '../../schemas/config.ts'
import { openReader } from '../otlp/reader.ts'
import { encodeDerived } from '../otlp/writer.ts'
import { unscoredMetrics } from './backtest.ts'

export type { Change, Trial } from '../../detectors/backtest/trials.ts'
export { type TrialFinding, type Tuning, tune } from '../../detectors/backtest/tune.ts'
export type { MetricFinding, MetricRule, Proposal } from '../../detectors/backtest/tune-evidence.ts'

/** A replay for each of the settings to try, the present ones first. @param judgedFromMs what comes before is only learned from */
export function openTrials({ detect, environment }: Pick<Config, 'detect' | 'environment'>, judgedFromMs: number): { trial: Trial; replay: Replay }[] {
  return trialsOf(detect).map(trial => ({
    trial,
    replay: openReplay({ config: { ...trial.detect, ignore: unscoredMetrics(detect.ignore) }, openReader, encodeDerived, environment, judgedFromMs })
  }))
}
