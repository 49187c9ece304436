// What `homeostat score` needs of detection: the live scorer on the rows of a file.

import { openRowScorer as openDomainRowScorer, type RowScorer, type RowScorerOptions } from '../../detectors/backtest/row-scorer.ts'
import type { Config } from '../../schemas/config.ts'
import { unscoredMetrics } from './backtest.ts'

export type { JudgedColumn, JudgedRow, RowScorer } from '../../detectors/backtest/row-scorer.ts'

/** @throws AppError `config_invalid` */
export function openRowScorer({ detect, environment }: Pick<Config, 'detect' | 'environment'>, of: Pick<RowScorerOptions, 'entity' | 'columns'>): RowScorer {
  return openDomainRowScorer({ ...of, environment, config: { ...detect, ignore: unscoredMetrics(detect.ignore) } })
}
