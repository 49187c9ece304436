// What a series of the base tier costs by what its attributes are: is BASE_SERIES_BYTES true?

import { BASE_SERIES_BYTES, baseBudget } from '../../../detectors/score/budget.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { configSchema } from '../../../schemas/config.ts'
import { type BenchResult, figure, say } from '../harness.ts'
import { seriesFleet, START_MS } from '../series-fleet.ts'

/** The index has doubled twenty series before: it is at its largest. */
const SERIES = 183_521

const shared = (series: number): Record<string, string> => ({
  'http.request.method': ['GET', 'POST', 'PUT', 'DELETE'][series % 4]!,
  'http.route': `/api/v1/resource/${series % 500}`,
  'http.response.status_code': String(200 + (series % 6))
})
const hex = (value: number, digits: number): string => (Math.imul(value + 1, 0x9e3779b1) >>> 0).toString(16).padStart(digits, '0')

/** The last two are what senders get wrong. */
const SETS: Readonly<Record<string, (series: number) => Record<string, string>>> = {
  threeShared: shared,
  podPerFour: series => ({ ...shared(series), 'k8s.pod.name': `orders-7d9f8b6c5-${hex(series >> 2, 8)}`, 'cloud.region': `region-${series % 3}` }),
  podPerSeries: series => ({
    ...shared(series),
    'k8s.pod.name': `orders-7d9f8b6c5-${hex(series, 8)}`,
    'cloud.region': `region-${series % 3}`,
    'os.type': 'linux'
  }),
  requestId: series => ({ ...shared(series), 'request.id': `${hex(series, 8)}-0000-4000-8000-${hex(series, 12)}`, 'user.id': `user-${series}` }),
  urlAndIds: series => ({
    ...shared(series),
    'url.full': `https://shop.example/api/v1/resource/${series}?session=${hex(series, 32)}&page=${series % 9}&sort=price&filter=${hex(series, 64)}`,
    'request.id': `${hex(series, 8)}-0000-4000-8000-${hex(series, 12)}`,
    'user.id': `user-${series}`
  })
}

export function attributeCosts(): BenchResult {
  const settings = settingsFrom(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect)
  say(`${SERIES.toLocaleString('en')} series; a place of the budget is ${BASE_SERIES_BYTES} bytes`)
  say(`${'attributes'.padEnd(16)}${'bytes a series'.padStart(16)}${'places a series'.padStart(17)}`)
  const result: BenchResult = {}
  for (const [name, attributesOf] of Object.entries(SETS)) {
    const scorer = new Scorer(settings, { budget: baseBudget(Number.MAX_SAFE_INTEGER), nowMs: () => START_MS })
    const fleet = seriesFleet({ attributesOf })
    scorer.begin(START_MS)
    for (let series = 0; series < SERIES; series++) fleet.point(scorer, series, 0)
    const bytes = scorer.table.bytes / SERIES
    const places = scorer.table.places / SERIES
    say(`${name.padEnd(16)}${bytes.toFixed(0).padStart(16)}${places.toFixed(2).padStart(17)}`)
    if (bytes > places * BASE_SERIES_BYTES) throw new Error(`${name}: a series takes more bytes than its places are worth`)
    result[name] = figure(bytes)
  }
  return result
}
