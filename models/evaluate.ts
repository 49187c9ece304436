// Figures of a probability forecast on held-out rows: calibration and ranking, and precision and recall at a threshold.

import type { Figures } from '../schemas/model.ts'

/** Keeps the logarithm finite for a forecast of exactly 0 or 1. */
const PROBABILITY_MIN = 1e-6

/**
 * Brier score: mean squared error of the probability (Brier 1950, eq. 2, for two classes: 0 best). Log loss in nats.
 * Area under the ROC curve by ranks, ties counted half (Hanley & McNeil 1982): 0.5 is chance; NaN-free: 0.5 where
 * one class is missing. O(n log n).
 */
export function evaluateForecast(probabilities: readonly number[], failed: readonly number[], threshold: number): Figures {
  let squared = 0
  let logLoss = 0
  let truePositives = 0
  let falsePositives = 0
  let falseNegatives = 0
  for (const [index, probability] of probabilities.entries()) {
    const truth = failed[index]!
    squared += (probability - truth) ** 2
    logLoss -= Math.log(Math.max(PROBABILITY_MIN, truth === 1 ? probability : 1 - probability))
    if (probability >= threshold && truth === 1) truePositives++
    else if (probability >= threshold) falsePositives++
    else if (truth === 1) falseNegatives++
  }
  const count = Math.max(1, probabilities.length)
  return {
    brier: squared / count,
    logLoss: logLoss / count,
    areaUnderCurve: areaUnderCurve(probabilities, failed),
    precision: truePositives / Math.max(1, truePositives + falsePositives),
    recall: truePositives / Math.max(1, truePositives + falseNegatives)
  }
}

function areaUnderCurve(probabilities: readonly number[], failed: readonly number[]): number {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[a]! - probabilities[b]!)
  let positives = 0
  let rankSum = 0
  for (let begin = 0; begin < order.length; ) {
    let end = begin + 1
    while (end < order.length && probabilities[order[end]!] === probabilities[order[begin]!]) end++
    const rank = (begin + 1 + end) / 2
    for (let each = begin; each < end; each++) {
      if (failed[order[each]!] !== 1) continue
      positives++
      rankSum += rank
    }
    begin = end
  }
  const negatives = order.length - positives
  return positives === 0 || negatives === 0 ? 0.5 : (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
}
