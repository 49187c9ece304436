// A registered model as a function of the feature vector: a plain forward pass, 300 multiplications, no TensorFlow needed.
//
// Scoring runs beside detection for every entity and window, so it must cost microseconds and load nothing; the test
// compares it with TensorFlow's own prediction.

import { AppError } from '../schemas/errors.ts'
import type { Model } from '../schemas/model.ts'
import { FEATURE_NAMES } from './features.ts'

interface Layer {
  units: number
  inputs: number
  kernel: Float32Array
  bias: Float32Array
  sigmoid: boolean
}

/** @returns probability that the entity fails within the model's horizon, 0..1. @throws AppError `model_invalid` when shapes do not fit */
export function openPredictor(model: Model): (vector: Float64Array) => number {
  if (model.features.length !== FEATURE_NAMES.length || model.features.some((feature, index) => feature.name !== FEATURE_NAMES[index])) {
    throw new AppError('model_invalid', `model ${model.name}@${model.version} was trained on other features: train again`)
  }
  let inputs = FEATURE_NAMES.length
  const layers = model.layers.map((layer): Layer => {
    const kernel = floats(layer.kernel)
    const bias = floats(layer.bias)
    if (bias.length !== layer.units || kernel.length !== inputs * layer.units)
      throw new AppError('model_invalid', `model ${model.name}@${model.version} has a layer of another shape: train again`)
    const opened = { units: layer.units, inputs, kernel, bias, sigmoid: layer.activation === 'sigmoid' }
    inputs = layer.units
    return opened
  })
  return vector => {
    let values = Float64Array.from(vector, (value, index) => (value - model.features[index]!.mean) / model.features[index]!.scale)
    for (const layer of layers) values = forward(layer, values)
    return values[0]!
  }
}

function forward({ units, inputs, kernel, bias, sigmoid }: Layer, values: Float64Array): Float64Array<ArrayBuffer> {
  const output = new Float64Array(units)
  for (let unit = 0; unit < units; unit++) {
    let sum = bias[unit]!
    for (let input = 0; input < inputs; input++) sum += values[input]! * kernel[input * units + unit]!
    output[unit] = sigmoid ? 1 / (1 + Math.exp(-sum)) : Math.max(0, sum)
  }
  return output
}

function floats(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length % 4 !== 0) throw new AppError('model_invalid', 'a layer is not a whole number of floats: train again')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}
