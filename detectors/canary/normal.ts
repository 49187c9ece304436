// Quantiles of the standard normal distribution, exact enough far out in its tails, where the later looks at a canary live.
//
// simple-statistics has one too: its quantile for 0.0001 leaves 0.000105 in the tail, and errs on the side of false alarms.

const A = [-3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1, 2.506628277459239] as const
const B = [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1] as const
const C = [-7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783] as const
const D = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416] as const
const TAIL = 0.02425

/**
 * z with P(Z > z) = `tail`. Relative error below 1.2e-9.
 * Source: Acklam, "An algorithm for computing the inverse normal cumulative distribution function" (2003).
 * @param tail 0 < tail < 1
 */
export function upperQuantile(tail: number): number {
  if (tail < TAIL) return tailQuantile(tail)
  if (tail > 1 - TAIL) return -tailQuantile(1 - tail)
  const q = 0.5 - tail
  const r = q * q
  return (polynomial(A, r) * q) / (polynomial(B, r) * r + 1)
}

function tailQuantile(tail: number): number {
  const q = Math.sqrt(-2 * Math.log(tail))
  return -polynomial(C, q) / (polynomial(D, q) * q + 1)
}

function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0)
}
