import { describe, expect, it } from 'vitest'
import { bestEventScore, countEvents, scoreEvents } from './event-score.ts'
import { runs, vusPr } from './vus.ts'

/** Labels and scores of a fixed small series; the expected figures are the data sets' scorer's on the same rows. */
function aSeries() {
  const labels = new Uint8Array(400)
  labels.fill(1, 50, 60)
  labels.fill(1, 200, 240)
  labels[300] = 1
  const scores = Float64Array.from(
    { length: 400 },
    (_, row) => ((row * 7_919) % 101) / 101 + (row >= 52 && row < 66 ? 0.7 : 0) + (row >= 230 && row < 238 ? 0.4 : 0)
  )
  return { labels, scores }
}

describe('runs', () => {
  it('are inclusive, and merged over small gaps', () => {
    const mask = [1, 1, 0, 0, 1, 0, 1]
    expect(runs(mask)).toEqual([
      [0, 1],
      [4, 4],
      [6, 6]
    ])
    expect(runs(mask, 2)).toEqual([
      [0, 1],
      [4, 6]
    ])
    expect(runs(mask, 3)).toEqual([[0, 6]])
  })
})

describe('event counts', () => {
  it('find an event in its grace, count an alarm that lasts again each hour of rows, and merge neighbours', () => {
    const labels = new Uint8Array(500)
    labels.fill(1, 10, 20)
    labels.fill(1, 40, 50)
    const scores = new Float64Array(500)
    scores[29] = 1
    scores[51] = 1
    for (let row = 100; row < 161; row++) scores[row] = 1
    scores[300] = 1
    scores[310] = 1
    scores[400] = 1
    const counts = countEvents(labels, scores, 1)
    expect(counts).toEqual({ events: 2, found: 2, falseAlarms: 4, delays: [19, 11] })
    expect(scoreEvents([counts])).toEqual({ f1: 0.5, precision: 2 / 6, recall: 1, delayRows: 15 })
  })

  it('are best at one threshold for all series', () => {
    const { labels, scores } = aSeries()
    const quiet = { labels: new Uint8Array(400), scores: scores.map(score => score / 10) }
    const best = bestEventScore([{ labels, scores }, quiet])
    for (const threshold of [0.5, 0.9, 1, 1.2, 1.4]) expect(best.f1).toBeGreaterThanOrEqual(scoreEvents([countEvents(labels, scores, threshold)]).f1 - 1e-9)
    expect(best.recall).toBeGreaterThan(0.5)
  })

  it('are zero, not NaN, when nothing is found', () => {
    const labels = Uint8Array.of(0, 1, 0)
    expect(scoreEvents([countEvents(labels, new Float64Array(3), 1)])).toEqual({ f1: 0, precision: 0, recall: 0, delayRows: undefined })
  })
})

describe('VUS-PR', () => {
  it('is that of the reference', () => {
    const { labels, scores } = aSeries()
    expect(vusPr(labels, scores)).toBeCloseTo(0.6251519698490476, 9)
    expect(vusPr(labels, scores, 0)).toBeCloseTo(0.22857388164630846, 9)
  })

  it('is one for scores that are the labels, whatever the order of ties', () => {
    const { labels } = aSeries()
    expect(vusPr(labels, Float64Array.from(labels), 0)).toBeCloseTo(1, 9)
  })
})
