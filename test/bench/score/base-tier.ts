// The base tier's speed: a million shuffled series, and OTLP bytes to scored points. By CPU time of the process: collections and
// compiling count.

import { baseBudget } from '../../../detectors/score/budget.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import type { ScorerSettings } from '../../../detectors/score/scorer-settings.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import type { OtlpReader } from '../../../schemas/otlp.ts'
import type { BenchCase, Sample } from '../harness.ts'
import { otlpLoad, seededRandom } from '../otlp-load.ts'
import { SERIES, START_MS, STEP_MS, type SeriesFleet, seriesFleet } from '../series-fleet.ts'

/** Past the warm-up, so that level and tail are judged, not only begun. */
const WARM_STEPS_BEYOND = 4
const SERVICES = 10
const METRICS = 50
const POINTS_PER_METRIC = 20
/** Rounds of requests until code is optimised. */
const WARM_ROUNDS = 3
const STEPS_PER_ROUND = 30

/** Every series gets one point a round, in an order without any. */
export class ShuffledSeries {
  readonly scorer: Scorer
  readonly #fleet: SeriesFleet
  readonly #order = shuffle(SERIES)
  #step = 0

  constructor(settings: ScorerSettings) {
    this.scorer = new Scorer(settings, { budget: baseBudget(SERIES), nowMs: () => START_MS })
    this.#fleet = seriesFleet()
    while (this.#step < settings.warmupPoints + WARM_STEPS_BEYOND) this.#fleet.feed(this.scorer, this.#step++)
    this.round()
  }

  /** CPU seconds of one point of every series. */
  round(): number {
    const before = this.scorer.stats.scored
    const seconds = cpuSeconds(() => this.#fleet.feed(this.scorer, this.#step++, this.#order))
    const scored = this.scorer.stats.scored - before
    if (scored !== SERIES) throw new Error(`${scored} of ${SERIES} points were scored`)
    return seconds
  }
}

/** From the bytes of requests to scored: reading, finding the series, judging, learning. */
export class EndToEnd implements BenchCase {
  readonly name = 'ours: OTLP bytes -> scored, base tier'
  readonly #scorer: Scorer
  readonly #reader: OtlpReader
  #step = 0

  constructor(settings: ScorerSettings) {
    this.#scorer = new Scorer(settings, { budget: baseBudget(SERIES), nowMs: () => START_MS })
    this.#reader = openReader({ fallback: { entity: 'bench', environment: 'bench' }, seed: 1 })
    const rounds = Math.max(WARM_ROUNDS, Math.ceil((settings.warmupPoints + WARM_STEPS_BEYOND) / STEPS_PER_ROUND))
    for (let round = 0; round < rounds; round++) this.round()
  }

  /** One of the requests, for peers. */
  static request(): Uint8Array {
    return aRequest(0, START_MS).request
  }

  /** Requests are made before the time is taken. */
  round(): Sample {
    const requests: { request: Uint8Array; timeMs: number }[] = []
    let items = 0
    for (const end = this.#step + STEPS_PER_ROUND; this.#step < end; this.#step++) {
      const timeMs = START_MS + this.#step * STEP_MS
      for (let service = 0; service < SERVICES; service++) {
        const { request, pointCount } = aRequest(service, timeMs)
        requests.push({ request, timeMs })
        items += pointCount
      }
    }
    const { points, refused } = this.#scorer.stats
    const begun = performance.now()
    const seconds = cpuSeconds(() => {
      for (const { request, timeMs } of requests) {
        this.#scorer.begin(timeMs)
        this.#reader.readMetrics(request, this.#scorer)
        this.#scorer.close(timeMs)
      }
    })
    const wallMs = performance.now() - begun
    const taken = this.#scorer.stats.points - points - (this.#scorer.stats.refused - refused)
    if (taken !== items) throw new Error(`${taken} of ${items} points were taken`)
    this.#scorer.take()
    return { items, wallMs, cpuMs: seconds * 1e3 }
  }

  async measure(durationMs: number): Promise<Sample> {
    const sum: Sample = { items: 0, wallMs: 0, cpuMs: 0 }
    while (sum.wallMs < durationMs) {
      const { items, wallMs, cpuMs } = this.round()
      sum.items += items
      sum.wallMs += wallMs
      sum.cpuMs += cpuMs
    }
    return sum
  }
}

function aRequest(service: number, timeMs: number) {
  const shape = { kinds: 'numbers', metricCount: METRICS, pointCount: POINTS_PER_METRIC } as const
  return otlpLoad({ seed: 7 + service, ...shape, service: `service-${service}`, timeMs })
}

/** CPU time of the process, helper threads included. */
export function cpuSeconds(work: () => void): number {
  const begun = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(begun)
  return (user + system) / 1e6
}

function shuffle(count: number): Uint32Array {
  const random = seededRandom(11)
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const moved = order[last]!
    order[last] = order[other]!
    order[other] = moved
  }
  return order
}
