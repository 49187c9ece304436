// The choices of the multivariate detector: one set for every entity. Others are passed by the benchmark alone, which chooses on
// nine series and scores the tenth.

export interface MultivariateSettings {
  /** Added to the diagonal of the second moments: directions of less variance than this are noise. */
  ridge: number
  /** Deviations of a metric beyond this many scales look alike. */
  clipScales: number
  /** Degrees of freedom of the t distribution whose weights rows are learned with; Infinity = all rows weigh the same. */
  freedom: number
  /** What rows weigh in learning while something lasts, 0..1. */
  lastingWeight: number
  /** What the parts of the distance count: the averages by LAG_WEIGHTS (long excursions show in the slow ones), then the row itself. */
  partShares: readonly number[]
  /** Share of the largest single residual in the level. */
  residualShare: number
  calibration: Calibration
}

export interface Calibration {
  /** Median of an average entity's level. */
  median: number
  /** Scale of the exponential tail of quiet levels: (95th percentile − median) / ln 10. */
  scale: number
  /** Share of the way from the average entity's median to the entity's own. */
  ownShare: number
  /** Of a level that was high, this much stays in the next row: an excursion is one alarm, not one for each row. */
  hold: number
}

/** `median` and `scale` are those of ten servers' and hosts' first halves, unlabelled (SMD, ASD): mean and geometric mean. */
export const MULTIVARIATE: MultivariateSettings = {
  ridge: 0.015,
  clipScales: 5.5,
  freedom: 10,
  lastingWeight: 0.3,
  partShares: [0.7, 1, 1.4, 2, 1],
  residualShare: 0.25,
  calibration: { median: 0.82, scale: 0.393, ownShare: 0.5, hold: 0.9 }
}
