// What the command line needs of detection: the replay of history as the detect role would have scored it, and its evaluation.

import { evaluate } from '../../detectors/backtest/evaluate.ts'
import { openReplay as openDomainReplay, type Replay } from '../../detectors/backtest/replay.ts'
import { FEATURE_METRIC, PROBABILITY_METRIC } from '../../models/history.ts'
import type { Config } from '../../schemas/config.ts'
import { openReader } from '../otlp/reader.ts'
import { encodeDerived } from '../otlp/writer.ts'

export type { Alarm, Evaluation, Label, LabelResult } from '../../detectors/backtest/evaluate.ts'
export type { JudgedSeries, JudgedValue, Replay, ReplayStats } from '../../detectors/backtest/replay.ts'
export { evaluate }

/** @param watch series (Anomaly.series) whose values are kept */
export function openReplay({ detect, environment }: Pick<Config, 'detect' | 'environment'>, watch?: ReadonlySet<string>): Replay {
  return openDomainReplay({ config: { ...detect, ignore: unscoredMetrics(detect.ignore) }, openReader, encodeDerived, environment, ...(watch && { watch }) })
}

/** Patterns of metrics that are never scored. Features and forecasts describe deviations: scoring them would be listening to one's own echo. */
export function unscoredMetrics(ignore: readonly string[]): string[] {
  return [...ignore, ...[FEATURE_METRIC, PROBABILITY_METRIC].map(name => `^${name.replaceAll('.', String.raw`\.`)}$`)]
}
