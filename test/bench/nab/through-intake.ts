// A series in NAB's format through the pipeline: OTLP over HTTP into the intake, the log's records into a detect shard with the settings
// that are shipped. What comes out are the rich tier's scores, to be compared with detect.ts.

import { openShard, type Shard } from '../../../detectors/shard.ts'
import { budgetOf } from '../../../detectors/score/budget.ts'
import { lastScore } from '../../../detectors/score/rich/rich.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { configSchema } from '../../../schemas/config.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { httpCall, openTestIntake } from '../../support/intake.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { aResource, encodeOtlp } from '../../support/otlp.ts'
import type { Series } from './corpus.ts'

/** Points of one request, as of a sender that exports once an hour. */
const POINTS_PER_REQUEST = 12
const STATUS_OK = 200

/** @returns the rich tier's score after each row, NaN for a row that the pipeline did not judge: late, or the time of another one */
export async function scoresThroughIntake(series: Series): Promise<Float64Array> {
  let arrivalMs = 0
  const log = memoryLog({ nowMs: () => arrivalMs })
  const { intake } = await openTestIntake({ log })
  try {
    for (let first = 0; first < series.values.length; first += POINTS_PER_REQUEST) {
      const last = Math.min(first + POINTS_PER_REQUEST, series.values.length)
      arrivalMs = Math.max(arrivalMs, ...series.timesMs.subarray(first, last))
      const { status } = await httpCall(intake.addresses.http, { body: aRequest(series, first, last) })
      if (status !== STATUS_OK) throw new Error(`the intake answered ${status}`)
    }
  } finally {
    await intake.close()
  }
  const { detect } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  const records = log.records(TOPICS.metrics.name)
  const shard = openShard(
    { topic: TOPICS.metrics.name, partition: records[0]!.partition },
    {
      ...{ settings: settingsFrom(detect), budget: budgetOf(detect.memoryMax), openReader, encodeDerived, environment: 'test' },
      ...{ nowMs: () => arrivalMs, models: () => [], sources: () => [] }
    }
  )
  const scores = new Map<number, number>()
  shard.scorer!.onJudged = (number, _, timeMs) => scores.set(timeMs, scoreIn(shard, number))
  for (const record of records) shard.take(record)
  // What waits for stragglers is judged once their time is over.
  shard.advance(arrivalMs + detect.lateness, undefined)
  const taken = new Set<number>()
  return series.timesMs.map(timeMs => {
    if (taken.has(timeMs)) return Number.NaN
    taken.add(timeMs)
    return scores.get(timeMs) ?? Number.NaN
  })
}

function scoreIn({ scorer }: Shard, series: number): number {
  const { rich } = scorer!.tiers
  const slot = rich.slotOf(series)
  return lastScore(rich.page(slot), rich.row(slot))
}

function aRequest({ values, timesMs }: Series, first: number, last: number): Uint8Array {
  const dataPoints = Array.from({ length: last - first }, (_, at) => ({ timeUnixNano: `${timesMs[first + at]}000000`, asDouble: values[first + at] }))
  const metrics = [{ name: 'app.value', unit: '', gauge: { dataPoints } }]
  return encodeOtlp('metrics', { resourceMetrics: [{ resource: aResource('bench'), scopeMetrics: [{ scope: { name: 'bench' }, metrics }] }] })
}
