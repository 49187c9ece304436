// Tuning: what is proposed, what is not, and why. The replays' alarms are made up here; test/unit/pipeline/cli/tune.test.ts replays.

import { describe, expect, it } from 'vitest'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import type { Label } from '../../../detectors/backtest/evaluate.ts'
import { episodesOf, exceeds } from '../../../detectors/backtest/excess.ts'
import type { MetricExposure } from '../../../detectors/backtest/exposure.ts'
import { type Change, type Trial, trialsOf } from '../../../detectors/backtest/trials.ts'
import { tune } from '../../../detectors/backtest/tune.ts'
import { detectConfig, START_MS } from './builders.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const DAYS = 10
const ENTITY = 'shop/orders@orders-1'

const hour = (hours: number): number => START_MS + hours * HOUR_MS
const anAlarm = (hours: number, overrides: Partial<Anomaly> = {}): Anomaly =>
  ({
    id: `${hours}`,
    status: 'open',
    detector: 'adaptive',
    entity: ENTITY,
    metric: 'queue.depth',
    severity: 'warning',
    detectedAtMs: hour(hours),
    shadow: false,
    ...overrides
  }) as Anomaly
const aLabel = (hours: number): Label => ({ entities: [ENTITY], startMs: hour(hours) - 120_000, endMs: hour(hours) + 600_000, name: `at ${hours}` })
const anExposure = (overrides: Partial<MetricExposure> = {}): MetricExposure => ({
  ...{ metric: 'queue.depth', class: 'saturation', isKey: false, series: 10, seriesUnwatched: 0, seriesDays: 10 * DAYS, days: DAYS },
  ...overrides
})

/** Alarms of the present settings and of some trials; the others find what the present ones do. */
function tuned(
  present: readonly Anomaly[],
  others: readonly [change: Partial<Change>, anomalies: readonly Anomaly[]][],
  { labels, exposure = [anExposure()], days = DAYS }: { labels?: readonly Label[]; exposure?: readonly MetricExposure[]; days?: number } = {}
) {
  const isOf = ({ change }: Trial, wanted: Partial<Change>): boolean =>
    change?.setting === wanted.setting && (wanted.to === undefined || change?.to === wanted.to)
  const outcomes = trialsOf(detectConfig()).map(trial => ({ trial, anomalies: others.find(([wanted]) => isOf(trial, wanted))?.[1] ?? present }))
  return tune({ outcomes, labels, graceMs: 60_000, fromMs: START_MS, toMs: START_MS + days * DAY_MS, exposure, entityDays: 0 })
}

const TRUE_HOURS = [20, 60, 130, 200]
const labels = TRUE_HOURS.map(aLabel)
const found = TRUE_HOURS.map(hours => anAlarm(hours))
/** Twice a day, never in a label. */
const noise = Array.from({ length: 2 * DAYS }, (_, index) => anAlarm(12 * index + 5))

describe('settings for all series', () => {
  it('are tried one at a time, a step lower and higher, within what the configuration allows', () => {
    const trials = trialsOf(detectConfig({ enterPoints: 1, falseAlarmsPerSeriesDay: 1e-6, deviationMinRelative: 0.8 }))
    expect(trials[0]).toMatchObject({ change: undefined })
    expect(trials.slice(1).map(({ change }) => `${change!.setting} ${change!.from} ${change!.to}`)).toEqual([
      'falseAlarmsPerSeriesDay 0.000001 0.00001',
      'enterPoints 1 3',
      'deviationMinRelative 0.8 0.4',
      'deviationMinRelative 0.8 1',
      'novelty.falseAlarmsPerSeriesDay 0.1 0.01',
      'novelty.falseAlarmsPerSeriesDay 0.1 1'
    ])
    expect(trials[2]!.detect).toMatchObject({ enterPoints: 3, deviationMinRelative: 0.8 })
    expect(trials.at(-1)!.detect.novelty).toEqual({ falseAlarmsPerSeriesDay: 1 })
  })

  it('are proposed where they are quieter in both halves and lose no label', () => {
    const { proposals, trials, present, thin } = tuned(
      [...found, ...noise],
      [[{ setting: 'enterPoints', to: 5 }, [...found, ...noise.filter((_, index) => index % 4 === 0)]]],
      { labels }
    )
    expect(proposals).toMatchObject([{ kind: 'setting', isCertain: true, change: { setting: 'enterPoints', from: 3, to: 5 } }])
    expect(proposals[0]!.why).toBe('5 false alarms of adaptive instead of 20, less in both halves of the history, and finds the same 4 labels')
    expect(present).toEqual({ alarms: 24, falseAlarms: 20, labelsFound: 4, delayMedianMs: 120_000 })
    expect(trials.find(({ change }) => change.setting === 'deviationMinRelative')).toMatchObject({ falseAlarms: 20, falseAlarmsNow: 20, verdict: 'no gain' })
    expect(thin).toEqual([])
  })

  it.each([
    ['it loses a label', [...found.slice(1)], /^misses 1 label that the present finds$/],
    ['it is quieter in one half alone', [...found, ...noise.slice(DAYS)], /^hardly quieter, or not in both halves/],
    ['it finds them too late', found.map(one => ({ ...one, detectedAtMs: one.detectedAtMs + 300_000 })), /^quieter, but finds the labels too late$/],
    [
      'others tell it instead',
      [...found, ...noise.map(one => ({ ...one, detector: 'novelty' })), anAlarm(7, { detector: 'absence' })],
      /^what it silences, other detectors tell instead$/
    ]
  ])('are not proposed where %s', (_, anomalies, why) => {
    const { proposals, trials } = tuned([...found, ...noise], [[{ setting: 'enterPoints', to: 5 }, anomalies]], { labels })
    expect(proposals).toEqual([])
    expect(trials.find(({ change }) => change.to === 5)!.verdict).toMatch(why)
  })

  it('are not made quieter where the present ones alarm no more often than configured', () => {
    const exposure = [anExposure({ series: 2_000, seriesDays: 20_000 })]
    const { proposals, trials } = tuned([...found, ...noise], [[{ setting: 'enterPoints', to: 5 }, found]], { labels, exposure })
    expect(proposals).toEqual([])
    expect(trials.find(({ change }) => change.to === 5)!.verdict).toBe('quieter, but the present alarms no more often than configured')
  })

  it('are proposed where they find more in both halves at no cost, and not at a high one', () => {
    const change = { setting: 'deviationMinRelative', to: 0.1 } as const
    const few = [found[0]!, found[2]!]
    expect(tuned(few, [[change, found]], { labels }).proposals).toMatchObject([{ change, why: 'finds 2 labels more, with 0 false alarms instead of 0' }])
    expect(tuned(few, [[change, [...found, ...noise]]], { labels }).proposals).toEqual([])
    expect(tuned(found.slice(0, 2), [[change, found]], { labels: labels.slice(0, 3) }).proposals).toEqual([])
  })

  it('are one for each detector: the best', () => {
    const quiet = (keep: number): Anomaly[] => [...found, ...noise.filter((_, index) => index % keep === 0)]
    const { proposals, trials } = tuned(
      [...found, ...noise],
      [
        [{ setting: 'enterPoints', to: 5 }, quiet(2)],
        [{ setting: 'falseAlarmsPerSeriesDay', to: 0.0001 }, quiet(4)]
      ],
      { labels }
    )
    expect(proposals.map(one => one.kind === 'setting' && one.change.setting)).toEqual(['falseAlarmsPerSeriesDay'])
    expect(trials.find(({ change }) => change.to === 5)!.verdict).toMatch(/; another change does more/)
  })
})

describe('metrics', () => {
  const quiet = anExposure({ metric: 'other', series: 50, seriesDays: 50 * DAYS })
  const chatter = Array.from({ length: 4 * DAYS }, (_, index) => anAlarm(6 * index + 3, { metric: 'chatter' }))
  const loud = anExposure({ metric: 'chatter', class: 'other' })

  it('are proposed to be ignored when they alarm daily, ten times as often as configured, and no label was theirs', () => {
    // The entity's model named it once while a label lasted: that is no find of its own.
    const model = anAlarm(20, { metric: 'chatter', detector: 'multivariate' })
    const { proposals, metrics } = tuned([...found, ...chatter, model], [], { labels, exposure: [anExposure(), quiet, loud] })
    expect(proposals).toEqual([
      { kind: 'ignore', metric: 'chatter', isCertain: true, why: '40 alarms of adaptive, 400 times the configured rate and on most days, never in a label' }
    ])
    expect(metrics[0]).toMatchObject({
      metric: 'chatter',
      alarms: 40,
      falseAlarms: 40,
      perDay: 0.4,
      configured: 0.001,
      isExcessive: true,
      precision: 0,
      labelsFound: 0
    })
    expect(metrics[1]).toMatchObject({ metric: 'queue.depth', alarms: 4, falseAlarms: 0, precision: 1, labelsFound: 4, isExcessive: false })
  })

  it.each([
    ['it says how users fare', [anExposure(), { ...loud, isKey: true }], chatter],
    ['it found a label', [anExposure(), loud], [...chatter, anAlarm(20, { metric: 'chatter' })]],
    ['it alarms on few days', [anExposure(), loud], Array.from({ length: 40 }, (_, index) => anAlarm((index * 23) / 40, { metric: 'chatter' }))],
    ['all are as loud', [loud, { ...loud, metric: 'b' }], [...chatter, ...chatter.map(one => ({ ...one, metric: 'b' }))]],
    ['it alarms as often as configured', [anExposure(), { ...loud, seriesDays: 40_000 }], chatter]
  ])('are not, where %s', (_, exposure, alarms) => {
    expect(tuned(alarms, [], { labels, exposure: [...exposure, { ...quiet, isKey: true, series: 1, seriesDays: 10 }] }).proposals).toEqual([])
  })

  it('that find labels and got no memory are proposed to be looked at more closely', () => {
    const { proposals } = tuned(found, [], { labels, exposure: [anExposure({ seriesUnwatched: 4 })] })
    expect(proposals).toEqual([
      { kind: 'important', metric: 'queue.depth', isCertain: true, why: 'found 4 labels, but memory did not last for the rich tier on 4 of its 10 series' }
    ])
  })
})

describe('a metric that alarms too often', () => {
  const exposure = [anExposure()]
  const above = found.map(one => ({ ...one, direction: 'above' as const }))
  const below = noise.map(one => ({ ...one, direction: 'below' as const }))
  const wider = { setting: 'deviationMinRelative', to: 0.4 } as const

  it('is to be judged one way alone, where labels show that the other was never right', () => {
    expect(tuned([...above, ...below], [], { labels, exposure }).proposals).toEqual([
      { kind: 'metric', metric: 'queue.depth', direction: 'above', isCertain: true, why: 'all 4 true alarms lie above, and 20 of 20 false ones do not' }
    ])
    expect(tuned([...above, ...below], [], { exposure }).proposals).not.toContainEqual(expect.objectContaining({ kind: 'metric' }))
    expect(tuned([...above.slice(1), { ...above[0]!, direction: 'below' }, ...below], [], { labels, exposure }).proposals).toEqual([])
  })

  it('is to matter less, where that was tried on it and lost no label', () => {
    const quieter = [...found, ...noise.filter((_, index) => index % 2 === 0)]
    const others = Array.from({ length: 400 }, (_, index) => anAlarm(index / 2 + 0.25, { metric: 'b', detector: 'absence' }))
    // Of all series together it is no gain: another metric alarms more.
    const worse = [...quieter, ...others, ...others.slice(0, 40).map(one => ({ ...one, detector: 'adaptive' }))]
    const { proposals } = tuned([...found, ...noise, ...others], [[wider, worse]], { labels, exposure })
    expect(proposals).toEqual([
      {
        ...{ kind: 'metric', metric: 'queue.depth', deviationMinRelative: 0.4, isCertain: true },
        why: '10 false alarms of it instead of 20, less in both halves of the history, and no label is lost'
      }
    ])
    expect(tuned([...found, ...noise, ...others], [[wider, worse.slice(1)]], { labels, exposure }).proposals).toEqual([])
  })

  it('is to be ignored rather than to matter less, where that would leave it noise', () => {
    const loud = { ...anExposure({ metric: 'chatter' }), class: 'other' as const }
    const chatter = Array.from({ length: 4 * DAYS }, (_, index) => anAlarm(6 * index + 3, { metric: 'chatter' }))
    const rest = Array.from({ length: 30 }, (_, index) => anAlarm(8 * index, { metric: 'b' }))
    const half = [...chatter.filter((_, index) => index % 2 === 0), ...rest]
    const exposure = [loud, anExposure({ metric: 'b', isKey: true, series: 100, seriesDays: 1_000 })]
    expect(tuned(chatter, [[wider, half]], { labels, exposure }).proposals).toMatchObject([{ kind: 'ignore', metric: 'chatter' }])
    const few = [...chatter.filter((_, index) => index % 20 === 0), ...rest, ...rest]
    expect(tuned(chatter, [[wider, few]], { labels, exposure }).proposals).toMatchObject([{ kind: 'metric', metric: 'chatter', deviationMinRelative: 0.4 }])
  })
})

describe('thin evidence', () => {
  const quieter: [Partial<Change>, Anomaly[]][] = [[{ setting: 'enterPoints', to: 5 }, found]]

  it('without labels makes proposals suggestions', () => {
    const { proposals, thin, labels: count, metrics } = tuned([...found, ...noise], quieter)
    expect(proposals).toMatchObject([
      { kind: 'setting', isCertain: false, why: '4 alarms of adaptive instead of 24, less in both halves of the history' },
      { kind: 'ignore', isCertain: false }
    ])
    expect([count, metrics[0]!.precision]).toEqual([null, null])
    expect(thin).toEqual(['no labels: what a quieter setting would miss is unknown, so proposals are suggestions to look at'])
    expect(tuned([...found, ...noise], quieter, { labels: labels.slice(0, 2) }).thin[0]).toMatch(/^2 labels: fewer than 3 do not tell/)
  })

  it('of days or series justifies nothing, and is named', () => {
    const short = tuned([...found, ...noise], quieter, { labels, exposure: [anExposure({ days: 2 })] })
    expect(short.proposals).toEqual([])
    expect(short.thin).toEqual(['2 days of judged history: nothing is proposed from fewer than 3'])
    expect(short.trials.find(({ change }) => change.to === 5)!.verdict).toMatch(/; too few days$/)
    const narrow = tuned([...found, ...noise], quieter, { labels, exposure: [anExposure({ series: 2 })] })
    expect(narrow.proposals).toEqual([])
    expect(narrow.thin).toEqual(['2 series: nothing is proposed for all series from fewer than 3'])
  })
})

describe('an excess', () => {
  it('is what chance gives less often than once in a hundred', () => {
    expect([exceeds(0, 0), exceeds(1, 0), exceeds(3, 1), exceeds(5, 1)]).toEqual([false, true, false, true])
    // P(X ≥ 114 | 90) = 0.008, P(X ≥ 112 | 90) = 0.014.
    expect([exceeds(112, 90), exceeds(114, 90), exceeds(5_000, 4_000), exceeds(4_010, 4_000)]).toEqual([false, true, true, false])
  })

  it('counts alarms close in time once', () => {
    expect(episodesOf([5_000_000, 0, 500_000, 1_000_000, 5_000_001])).toEqual([0, 5_000_000])
  })
})
