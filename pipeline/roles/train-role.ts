// Training in its thread: reads history through the main thread's store, fits, judges, registers. Ends when it is done.

import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openBackend } from '../../models/backends/open-backend.ts'
import { labelRows } from '../../models/dataset.ts'
import { readHistory } from '../../models/history.ts'
import { trainFailureModel } from '../../models/train.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import { modelRecord } from '../../schemas/model.ts'
import type { Store } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { openLogger } from '../self/logger.ts'
import { systemClock } from '../system.ts'
import { serveRole } from '../hosting/serve-role.ts'
import type { RoleData } from './context.ts'
import { openLog } from './log.ts'

export const MODEL_NAME = 'failure'
/** Older history speaks of other software. */
const HISTORY_MS = 30 * 86_400_000
/** Below this there is nothing to split, let alone to learn. */
const ROWS_MIN = 50

await serveRole<RoleData>(async ({ data: { config, pretty }, meter, parent }) => {
  const logger = openLogger({ level: config.self.logLevel, role: 'train', pretty })
  const store: Pick<Store, 'query'> = { query: (sql, parameters) => parent.call('query', { sql, parameters }) }
  return {
    methods: { train },
    close: async () => undefined
  }

  async function train(): Promise<Record<string, unknown>> {
    const nowMs = systemClock.nowMs()
    const { rows, failures } = await readHistory(store as Store, nowMs - HISTORY_MS)
    const dataset = labelRows(rows, failures, { horizonMs: config.train.horizon, heldOutShare: config.train.heldOut, nowMs })
    if (dataset.train.length < ROWS_MIN || dataset.heldOut.length < ROWS_MIN) {
      throw new AppError(
        'not_found',
        `too little history to train on: ${dataset.train.length} rows to learn from and ${dataset.heldOut.length} to judge by, ${ROWS_MIN} each are needed. Let it run longer`
      )
    }
    const wasmDir = `${dirname(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-backend-wasm/package.json')))}/dist/`
    const backend = await openBackend(wasmDir)
    const model = await trainFailureModel({
      name: MODEL_NAME,
      dataset,
      backend,
      seed: 1,
      epochs: config.train.epochs,
      horizonMs: config.train.horizon,
      windowMs: config.train.window,
      nowMs,
      progress: line => {
        logger.info({ backend: backend.name }, line)
        void parent.call('progress', line)
      }
    })
    const log = await openLog(config, { clock: systemClock, logger, meter, role: 'train' })
    await log.append(TOPICS.models.name, [encodeRecord(modelRecord, model)])
    await log.close()
    const { name, version, stage, rows: counts, heldOut, baseline, baselineName } = model
    return { name, version, stage, backend: backend.name, rows: counts, heldOut, baseline, baselineName, text: reportText(model) }
  }
})

function reportText({ version, stage, backend, rows, heldOut, baseline, baselineName, threshold }: import('../../schemas/model.ts').Model): string {
  const line = (name: string, figures: typeof heldOut): string =>
    `  ${name.padEnd(40)} ${[figures.brier, figures.logLoss, figures.areaUnderCurve, figures.precision, figures.recall].map(value => value.toFixed(4).padStart(11)).join('')}`
  return [
    `model ${MODEL_NAME}@${version} (${backend}): ${stage}`,
    `trained on ${rows.train} rows (${rows.positiveTrain} before a failure), judged on ${rows.heldOut} later ones (${rows.positiveHeldOut} before a failure)`,
    '',
    `  ${'held out'.padEnd(40)} ${['Brier', 'log loss', 'ROC area', 'precision', 'recall'].map(name => name.padStart(11)).join('')}`,
    line(`this model (threshold ${threshold.toFixed(2)})`, heldOut),
    line(baselineName, baseline),
    '',
    stage === 'champion'
      ? 'It beats the baseline: it raises anomalies from now on.'
      : 'It does not beat the baseline (or too few failures to judge): it stays in shadow, its scores are only kept.'
  ].join('\n')
}
