// The last arrow of the loop: features, labels, training, judgement, prediction.

import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Backend, openBackend } from '../../../models/backends/open-backend.ts'
import { type FeatureRow, labelRows } from '../../../models/dataset.ts'
import { evaluateForecast } from '../../../models/evaluate.ts'
import { entityFeatures, FEATURE_NAMES } from '../../../models/features.ts'
import { openPredictor } from '../../../models/predict.ts'
import { trainFailureModel } from '../../../models/train.ts'
import { modelSchema } from '../../../schemas/model.ts'
import { seededRandom } from '../../support/virtual-clock.ts'

const WASM_DIR = `${dirname(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-backend-wasm/package.json')))}/dist/`
const HORIZON_MS = 60_000

describe('features', () => {
  it('keep the largest signed deviation of a class, clip it, and follow it with a trend', () => {
    const first = entityFeatures(
      [
        { class: 'latency', deviation: -3 },
        { class: 'latency', deviation: 2 },
        { class: 'errors', deviation: 400 }
      ],
      undefined
    )
    const at = (name: string) => FEATURE_NAMES.indexOf(name)
    expect(first[at('latency|peak')]).toBe(-3)
    expect(first[at('latency|mean')]).toBe(2.5)
    expect(first[at('errors|peak')]).toBe(10)
    const second = entityFeatures([{ class: 'latency', deviation: 2 }], first)
    expect(second[at('latency|trend')]).toBeCloseTo(-2)
    expect(second[at('errors|peak')]).toBe(0)
  })

  it('ignore what is not a number and count unknown classes as other', () => {
    const vector = entityFeatures(
      [
        { class: 'nonsense', deviation: 4 },
        { class: 'errors', deviation: Number.NaN }
      ],
      undefined
    )
    expect(vector[FEATURE_NAMES.indexOf('other|peak')]).toBe(4)
    expect(vector[FEATURE_NAMES.indexOf('errors|peak')]).toBe(0)
  })
})

describe('labels', () => {
  const row = (atMs: number, entity = 'shop/web@1'): FeatureRow => ({ entity, atMs, vector: new Float64Array(FEATURE_NAMES.length) })

  it('are positive only within the horizon before a failure, and rows inside the failure are left out', () => {
    const failures = [{ entity: 'shop/web@1', service: 'shop/web', startedAtMs: 100_000, endedAtMs: 120_000 }]
    const { train, heldOut } = labelRows([row(10_000), row(50_000), row(110_000), row(130_000), row(50_000, 'shop/db@1')], failures, {
      horizonMs: HORIZON_MS,
      heldOutShare: 0,
      nowMs: 1_000_000
    })
    const all = [...train, ...heldOut].map(({ entity, atMs, failed }) => [entity, atMs, failed])
    expect(all).not.toContainEqual(['shop/web@1', 110_000, 0])
    expect(all).toContainEqual(['shop/web@1', 50_000, 1])
    expect(all).toContainEqual(['shop/web@1', 10_000, 0])
    expect(all).toContainEqual(['shop/db@1', 50_000, 0])
  })

  it('never let a training row see the held-out time', () => {
    const rows = Array.from({ length: 200 }, (_, index) => row(index * 10_000))
    const { train, heldOut } = labelRows(rows, [], { horizonMs: HORIZON_MS, heldOutShare: 0.3, nowMs: 10_000_000 })
    expect(Math.max(...train.map(each => each.atMs)) + HORIZON_MS).toBeLessThanOrEqual(Math.min(...heldOut.map(each => each.atMs)))
    expect(heldOut.length).toBeGreaterThan(40)
  })
})

describe('evaluation', () => {
  it('knows a perfect, a useless and a reversed forecast', () => {
    expect(evaluateForecast([1, 1, 0, 0], [1, 1, 0, 0], 0.5)).toMatchObject({ brier: 0, areaUnderCurve: 1, precision: 1, recall: 1 })
    expect(evaluateForecast([0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0], 0.5)).toMatchObject({ brier: 0.25, areaUnderCurve: 0.5 })
    expect(evaluateForecast([0, 0, 1, 1], [1, 1, 0, 0], 0.5)).toMatchObject({ brier: 1, areaUnderCurve: 0 })
  })
})

describe('training', () => {
  let backend: Backend
  beforeAll(async () => {
    backend = await openBackend(WASM_DIR)
  })

  const train = (rows: FeatureRow[], failures: { startedAtMs: number; endedAtMs: number }[]) =>
    trainFailureModel({
      name: 'failure',
      dataset: labelRows(
        rows,
        failures.map(failure => ({ ...failure, entity: 'web', service: 'web' })),
        { horizonMs: HORIZON_MS, heldOutShare: 0.3, nowMs: 100_000_000 }
      ),
      backend,
      seed: 7,
      epochs: 30,
      horizonMs: HORIZON_MS,
      windowMs: 10_000,
      nowMs: 100_000_000,
      progress: () => undefined
    })

  /** Failures announced by two mild deviations together, which the largest deviation alone cannot tell from noise. */
  function history(announced: boolean): { rows: FeatureRow[]; failures: { startedAtMs: number; endedAtMs: number }[] } {
    const random = seededRandom(3)
    const rows: FeatureRow[] = []
    const failures: { startedAtMs: number; endedAtMs: number }[] = []
    let previous: Float64Array | undefined
    for (let cycle = 0; cycle < 60; cycle++) {
      const startMs = cycle * 600_000
      failures.push({ startedAtMs: startMs + 580_000, endedAtMs: startMs + 590_000 })
      for (let step = 0; step < 57; step++) {
        const soon = announced && step >= 52
        const noise = () => (random.next() - 0.5) * 2
        const lonely = random.next() < 0.2 ? 4 : 0
        previous = entityFeatures(
          [
            { class: 'latency', deviation: noise() + (soon ? 3 : lonely) },
            { class: 'saturation', deviation: noise() + (soon ? 3 : 0) }
          ],
          previous
        )
        rows.push({ entity: 'web', atMs: startMs + step * 10_000, vector: previous })
      }
    }
    return { rows, failures }
  }

  it('beats the baseline where several series announce a failure together, and becomes champion', async () => {
    const { rows, failures } = history(true)
    const model = await train(rows, failures)
    expect(modelSchema.safeParse(model).success).toBe(true)
    expect(model.heldOut.brier).toBeLessThan(model.baseline.brier)
    expect(model.heldOut.areaUnderCurve).toBeGreaterThan(0.95)
    expect(model.stage).toBe('champion')
  })

  it('stays in shadow where nothing announces the failures', async () => {
    const { rows, failures } = history(false)
    expect((await train(rows, failures)).heldOut.areaUnderCurve).toBeLessThan(0.7)
  })

  it('stays in shadow with too few failures to judge', async () => {
    const { rows, failures } = history(true)
    expect((await train(rows, failures.slice(0, 2))).stage).toBe('shadow')
  })

  it('predicts without TensorFlow what TensorFlow predicted', async () => {
    const { rows, failures } = history(true)
    const model = await train(rows, failures)
    const predict = openPredictor(model)
    const dataset = labelRows(
      rows,
      failures.map(failure => ({ ...failure, entity: 'web', service: 'web' })),
      { horizonMs: HORIZON_MS, heldOutShare: 0.3, nowMs: 100_000_000 }
    )
    const figures = evaluateForecast(
      dataset.heldOut.map(row => predict(row.vector)),
      dataset.heldOut.map(row => row.failed),
      model.threshold
    )
    expect(figures.brier).toBeCloseTo(model.heldOut.brier, 4)
    expect(figures.logLoss).toBeCloseTo(model.heldOut.logLoss, 3)
  })

  it('refuses a model of other features', async () => {
    const { rows, failures } = history(true)
    const model = await train(rows.slice(0, 400), failures)
    expect(() => openPredictor({ ...model, features: model.features.slice(1) })).toThrow(/other features/)
  })
})
