// One interface over the TensorFlow backends: wasm by default (fastest for small nets, plain npm), native where it is
// installed and asked for, JavaScript as the last resort. Loaded only when a model is trained or scored (175 MB).
//
// Measured on two cores, Node 24, autoencoder 32-16-8-16-32, 1,000 rows, 5 epochs: wasm 350 ms, JavaScript 560 ms,
// native 1,420 ms; native wins only on wide nets (64-128-32: 3.2 s against 3.7 s).

import type * as Tensorflow from '@tensorflow/tfjs'
import { AppError } from '../../schemas/errors.ts'

export type BackendName = 'wasm' | 'native' | 'cpu'

export interface Backend {
  tf: typeof Tensorflow
  /** Which one runs: recorded with each model. */
  name: BackendName
}

/**
 * Opens the first backend of `preferred` that works here.
 * @param wasmDir folder of the .wasm files of @tensorflow/tfjs-backend-wasm, with a trailing slash
 * @throws AppError `model_invalid` when none works
 */
export async function openBackend(wasmDir: string, preferred: readonly BackendName[] = ['wasm', 'cpu']): Promise<Backend> {
  const failures: string[] = []
  for (const name of preferred) {
    try {
      return { tf: await OPENERS[name](wasmDir), name }
    } catch (cause) {
      failures.push(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  throw new AppError('model_invalid', `no TensorFlow backend works here (${failures.join('; ')})`)
}

const OPENERS: Readonly<Record<BackendName, (wasmDir: string) => Promise<typeof Tensorflow>>> = {
  async wasm(wasmDir) {
    const tf = await import('@tensorflow/tfjs')
    const wasm = await import('@tensorflow/tfjs-backend-wasm')
    wasm.setWasmPaths(wasmDir)
    await use(tf, 'wasm')
    return tf
  },
  async native() {
    const util = (await import('node:util')).default as unknown as Record<string, unknown>
    // tfjs-node 4.22 still calls two helpers that Node 23 removed (tensorflow/tfjs#8609).
    util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined
    util.isArray ??= Array.isArray
    const tf = (await import('@tensorflow/tfjs-node' as string)) as typeof Tensorflow
    await use(tf, 'tensorflow')
    return tf
  },
  async cpu() {
    const tf = await import('@tensorflow/tfjs')
    await use(tf, 'cpu')
    return tf
  }
}

async function use(tf: typeof Tensorflow, name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`the backend ${name} refused to start`)
  await tf.ready()
}
