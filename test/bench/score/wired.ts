// The same series through `Scorer.point`, as the pipeline feeds it: what the rich tier costs where it is built in.

import type { SeriesBudget } from '../../../detectors/score/budget.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import type { ScorerSettings } from '../../../detectors/score/scorer-settings.ts'
import { POINT_KIND, type PointView, type ResourceView } from '../../../schemas/otlp.ts'
import type { Series } from '../nab/corpus.ts'
import { keyOf } from '../series-fleet.ts'

/** A gauge of an entity of its own for every series, all in one new scorer. @returns that scorer */
export function feedWired(corpus: readonly Series[], settings: ScorerSettings, budget: SeriesBudget): Scorer {
  const scorer = new Scorer(settings, { budget, nowMs: () => 0 })
  const none = new Float64Array(0)
  for (const [index, { values, timesMs }] of corpus.entries()) {
    const resource: ResourceView = { entityIndex: index, entity: `bench@${index}`, service: 'bench', environment: 'bench', version: '', attributes: () => ({}) }
    const [keyLow, keyHigh] = keyOf(index)
    const view: PointView = {
      ...{ resource, keyLow, keyHigh, kind: POINT_KIND.gauge, temporality: 0, monotonic: false, timeMs: 0, startMs: 0, value: 0, noRecordedValue: false },
      ...{ count: 0, sum: 0, min: 0, max: 0, boundCount: 0, bucketCount: 0, bounds: none, buckets: none, scale: 0, zeroCount: 0, positiveOffset: 0 },
      ...{ negativeOffset: 0, negativeBucketCount: 0, negativeBuckets: none, quantileCount: 0, quantiles: none, quantileValues: none },
      ...{ name: () => 'app.value', unit: () => '', description: () => '', attributes: () => ({}) }
    }
    for (let row = 0; row < values.length; row++) {
      view.timeMs = timesMs[row]!
      view.value = values[row]!
      scorer.begin(view.timeMs)
      scorer.point(view)
      scorer.close(view.timeMs)
    }
    scorer.take()
  }
  return scorer
}
