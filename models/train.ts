// Trains the failure predictor: a small dense net on entity features, judged on held-out time against a baseline.
//
// The baseline knows one number, the largest deviation: a logistic curve fitted to it on the same rows. A net that does
// not beat it in both Brier score and log loss stays in shadow. Runs in a thread of its own; pure but for the backend.

import type * as Tensorflow from '@tensorflow/tfjs'
import { derivedId } from '../schemas/ids.ts'
import type { Model } from '../schemas/model.ts'
import type { Backend } from './backends/open-backend.ts'
import type { Dataset, LabelledRow } from './dataset.ts'
import { evaluateForecast } from './evaluate.ts'
import { FEATURE_NAMES, FEATURE_STATISTICS } from './features.ts'

const HIDDEN_UNITS = [16, 8] as const
const BATCH_ROWS = 64
const LEARNING_RATE = 0.01
/** Fewer positives than this cannot tell a model from luck: it is registered, but stays in shadow. */
export const POSITIVES_MIN = 10
/** A rare failure weighs at most this much more than a healthy row. */
const POSITIVE_WEIGHT_MAX = 20
const BASELINE_ITERATIONS = 300
const BASELINE_RATE = 0.1
const THRESHOLD_RECALL = 0.5

export interface TrainOptions {
  name: string
  dataset: Dataset
  backend: Backend
  seed: number
  epochs: number
  horizonMs: number
  windowMs: number
  nowMs: number
  progress(line: string): void
}

/** @returns the model with its held-out figures beside the baseline's. The caller checks that there are rows to learn from. */
export async function trainFailureModel(options: TrainOptions): Promise<Model> {
  const { dataset, backend, epochs, progress } = options
  const scaling = scalingOf(dataset.train)
  const net = buildNet(backend.tf, options.seed)
  const inputs = backend.tf.tensor2d(dataset.train.map(row => scaled(row.vector, scaling)))
  const labels = backend.tf.tensor2d(dataset.train.map(row => [row.failed]))
  const positiveTrain = countPositives(dataset.train)
  const positiveWeight = Math.min(POSITIVE_WEIGHT_MAX, Math.sqrt((dataset.train.length - positiveTrain + 1) / (positiveTrain + 1)))
  await net.fit(inputs, labels, {
    epochs,
    batchSize: BATCH_ROWS,
    shuffle: false,
    verbose: 0,
    classWeight: { 0: 1, 1: positiveWeight },
    callbacks: { onEpochEnd: async (epoch, logs) => progress(`epoch ${epoch + 1}/${epochs}, loss ${Number(logs?.loss).toFixed(4)}`) }
  })
  const forecast = unweighted(await predict(backend.tf, net, dataset.heldOut, scaling), positiveWeight)
  const trainForecast = unweighted(await predict(backend.tf, net, dataset.train, scaling), positiveWeight)
  const threshold = thresholdFor(trainForecast, dataset.train)
  const baseline = fitBaseline(dataset.train)
  const truth = dataset.heldOut.map(row => row.failed)
  const heldOut = evaluateForecast(forecast, truth, threshold)
  const baselineFigures = evaluateForecast(dataset.heldOut.map(baseline), truth, 0.5)
  const enough = countPositives(dataset.heldOut) >= POSITIVES_MIN && positiveTrain >= POSITIVES_MIN
  const better = heldOut.brier < baselineFigures.brier && heldOut.logLoss < baselineFigures.logLoss
  const layers = await exportLayers(net, positiveWeight)
  inputs.dispose()
  labels.dispose()
  net.dispose()
  return {
    name: options.name,
    version: derivedId(options.name, options.nowMs, JSON.stringify(layers)).slice(0, 12),
    kind: 'failure_probability',
    stage: enough && better ? 'champion' : 'shadow',
    trainedAtMs: options.nowMs,
    backend: backend.name,
    horizonMs: options.horizonMs,
    windowMs: options.windowMs,
    features: FEATURE_NAMES.map((name, index) => ({ name, ...scaling[index]! })),
    layers,
    threshold,
    rows: { train: dataset.train.length, heldOut: dataset.heldOut.length, positiveTrain, positiveHeldOut: countPositives(dataset.heldOut) },
    heldOut,
    baseline: baselineFigures,
    baselineName: 'logistic curve of the largest deviation'
  }
}

type Scaling = readonly { mean: number; scale: number }[]

function scalingOf(rows: readonly LabelledRow[]): Scaling {
  return FEATURE_NAMES.map((_, index) => {
    let sum = 0
    for (const row of rows) sum += row.vector[index]!
    const mean = sum / Math.max(1, rows.length)
    let squares = 0
    for (const row of rows) squares += (row.vector[index]! - mean) ** 2
    // A feature that never moves says nothing: scale 1 keeps it at zero instead of blowing noise up.
    const scale = Math.sqrt(squares / Math.max(1, rows.length))
    return { mean, scale: scale > 1e-6 ? scale : 1 }
  })
}

function scaled(vector: Float64Array, scaling: Scaling): number[] {
  return scaling.map(({ mean, scale }, index) => (vector[index]! - mean) / scale)
}

function buildNet(tf: typeof Tensorflow, seed: number): Tensorflow.Sequential {
  const net = tf.sequential()
  const initializer = (index: number) => tf.initializers.glorotUniform({ seed: seed + index })
  for (const [index, units] of HIDDEN_UNITS.entries()) {
    net.add(
      tf.layers.dense({ units, activation: 'relu', kernelInitializer: initializer(index), ...(index === 0 ? { inputShape: [FEATURE_NAMES.length] } : {}) })
    )
  }
  net.add(tf.layers.dense({ units: 1, activation: 'sigmoid', kernelInitializer: initializer(HIDDEN_UNITS.length) }))
  net.compile({ optimizer: tf.train.adam(LEARNING_RATE), loss: 'binaryCrossentropy' })
  return net
}

async function predict(tf: typeof Tensorflow, net: Tensorflow.Sequential, rows: readonly LabelledRow[], scaling: Scaling): Promise<number[]> {
  if (rows.length === 0) return []
  const inputs = tf.tensor2d(rows.map(row => scaled(row.vector, scaling)))
  const output = net.predict(inputs) as Tensorflow.Tensor
  const probabilities = [...(await output.data())]
  inputs.dispose()
  output.dispose()
  return probabilities
}

/** Training weighs failures up; the odds are divided by the same weight, so that the probability is calibrated again. */
function unweighted(probabilities: readonly number[], positiveWeight: number): number[] {
  return probabilities.map(probability => probability / (probability + (1 - probability) * positiveWeight))
}

/** The last layer's bias takes the weight out for good: what is exported forecasts calibrated probabilities. */
async function exportLayers(net: Tensorflow.Sequential, positiveWeight: number): Promise<Model['layers']> {
  const layers: Model['layers'] = []
  for (const [index, layer] of net.layers.entries()) {
    const [kernel, bias] = layer.getWeights() as [Tensorflow.Tensor, Tensorflow.Tensor]
    const biasValues = Float32Array.from(await bias.data())
    const last = index === net.layers.length - 1
    if (last) biasValues[0] = biasValues[0]! - Math.log(positiveWeight)
    layers.push({
      units: bias.shape[0]!,
      activation: last ? 'sigmoid' : 'relu',
      kernel: base64(Float32Array.from(await kernel.data())),
      bias: base64(biasValues)
    })
  }
  return layers
}

function base64(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')
}

/** The level that half of the failures in training reach: fewer alarms, each meant seriously. */
function thresholdFor(probabilities: readonly number[], rows: readonly LabelledRow[]): number {
  const ofFailures = probabilities.filter((_, index) => rows[index]!.failed === 1).sort((a, b) => b - a)
  return Math.max(0.5, ofFailures[Math.floor(ofFailures.length * THRESHOLD_RECALL)] ?? 0.5)
}

/** Logistic regression on the largest absolute peak, by gradient descent on the log loss. */
function fitBaseline(rows: readonly LabelledRow[]): (row: LabelledRow) => number {
  let slope = 0
  let intercept = Math.log((countPositives(rows) + 1) / (rows.length - countPositives(rows) + 1))
  const peaks = rows.map(largestPeak)
  for (let iteration = 0; iteration < BASELINE_ITERATIONS; iteration++) {
    let slopeGradient = 0
    let interceptGradient = 0
    for (const [index, peak] of peaks.entries()) {
      const error = logistic(slope * peak + intercept) - rows[index]!.failed
      slopeGradient += error * peak
      interceptGradient += error
    }
    slope -= (BASELINE_RATE * slopeGradient) / Math.max(1, rows.length)
    intercept -= (BASELINE_RATE * interceptGradient) / Math.max(1, rows.length)
  }
  return row => logistic(slope * largestPeak(row) + intercept)
}

function largestPeak(row: LabelledRow): number {
  let largest = 0
  for (let index = 0; index < row.vector.length; index += FEATURE_STATISTICS.length) largest = Math.max(largest, Math.abs(row.vector[index]!))
  return largest
}

const logistic = (value: number): number => 1 / (1 + Math.exp(-value))
const countPositives = (rows: readonly LabelledRow[]): number => rows.reduce((sum, row) => sum + row.failed, 0)
