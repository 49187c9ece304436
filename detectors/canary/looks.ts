// When a canary is looked at, and how sure a look must be, so that looking often aborts no more good versions than looking once.
//
// Group-sequential with alpha spending (Lan & DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983) and
// two choices of ours. Looks come when the smaller arm has grown by LOOK_GROWTH, so that a day has dozens, not thousands. Look k
// (from 0) may spend α / ((k + 1)(k + 2)), which sums to α over any number of looks, and the boundaries follow from the sum of these
// chances alone (union bound), not from their joint distribution: that costs some power and needs neither a largest sample fixed
// beforehand nor equal arms. A look that is passed over, since more came at once, spends nothing.

/** Ratio of one look's smaller arm to the look before. */
export const LOOK_GROWTH = 1.25
/** Of all looks at one canary: how likely a version that is worse by exactly what is tolerated is aborted, and likewise passed. */
export const FALSE_VERDICT_MAX = 0.01

/**
 * The newest look that `samples` allow, from 0; −1 before the first.
 * @param samples    requests of the smaller arm
 * @param samplesMin requests of the first look
 */
export function lookOf(samples: number, samplesMin: number): number {
  // The 1e-9 keeps an exact power of the growth from falling to the look before it.
  return samples < samplesMin ? -1 : Math.floor(Math.log(samples / samplesMin) / Math.log(LOOK_GROWTH) + 1e-9)
}

/** Requests of the smaller arm at which look `look` is due. */
export function samplesOf(look: number, samplesMin: number): number {
  return Math.ceil(samplesMin * LOOK_GROWTH ** look)
}

/** Chance of a false verdict that look `look` may spend. */
export function levelOf(look: number): number {
  return FALSE_VERDICT_MAX / ((look + 1) * (look + 2))
}
