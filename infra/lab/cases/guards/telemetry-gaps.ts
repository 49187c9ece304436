// F4: 30 % of the exports are dropped, delayed, duplicated or overtaken, then one service is not heard at all. It is well all the time.
//
// Unknown is a value: a risky act (the restart is of medium risk) waits, since nobody complains of the silent one; and what is told
// twice, late or in another order opens no second incident.

import { WARMUP_MS } from '../../settings.ts'
import { judge, that, withFigures } from '../assertions.ts'
import { explains } from '../people.ts'
import { until } from '../rig.ts'
import { openLossyWay } from './lossy-way.ts'
import type { GuardCase, GuardFacts } from './stage.ts'

const BEACONS = ['beacon1', 'beacon2', 'beacon3'] as const
const SILENCED = 'beacon2'
const FAULT_RATIO = 0.3
const LOSSY_MS = 60_000
const SILENT_DEADLINE_MS = 30_000
const SILENT_MS = 15_000

export const telemetryGaps: GuardCase = {
  name: 'F4',
  title: '30 % of telemetry dropped, delayed, duplicated or reordered: no risky act on what is unknown, no incident twice',
  async play(stage) {
    const way = await openLossyWay(stage.ports['lossy']!, stage.otlp.http, stage.random.fork('lossy'))
    try {
      await stage.enter(BEACONS, [])
      stage.say('learning what is normal')
      await stage.wait(WARMUP_MS)
      const injectedAtMs = Date.now()
      way.set(FAULT_RATIO)
      await stage.wait(LOSSY_MS)
      const silencedAtMs = Date.now()
      way.set(FAULT_RATIO, SILENCED)
      const waits = await stage.decision(SILENCED, silencedAtMs, ({ blockedBy }) => blockedBy.includes('freshness'), SILENT_DEADLINE_MS)
      await stage.wait(SILENT_MS)
      const facts = await stage.facts(BEACONS, injectedAtMs)
      way.set(0)
      await until(stage, SILENT_DEADLINE_MS, async () => (await stage.stories(BEACONS, injectedAtMs)).every(({ incident }) => incident.status === 'resolved'))
      const counts = way.counts()
      await stage.leave(BEACONS)
      const expected = { detectedWithinMs: null, cause: [SILENCED], targets: [], effects: 0, verdict: null, pages: 0 } as const
      const twice = overlapping(facts)
      const report = judge('F4', stage.seed, expected, facts, [
        explains(facts, 'sends no telemetry and no caller complains of it', 'What would change that', 'see for yourself whether lab/beacon2@beacon2-1 is well'),
        that('unknown', waits !== undefined, waits?.reason ?? 'no decision waits for telemetry'),
        that('no incident twice', twice.length === 0, twice.length === 0 ? `${facts.stories.length} incidents, none beside another of its service` : twice[0]!)
      ])
      return [withFigures(report, { ...counts })]
    } finally {
      await way.close()
    }
  }
}

/** Incidents of one service that are open at the same time. */
function overlapping({ stories }: GuardFacts): string[] {
  const spans = stories
    .filter(({ incident }) => incident.resolution !== 'merged')
    .map(({ incident: { id, causes, openedAtMs, resolvedAtMs } }) => ({
      id,
      service: causes[0]?.service,
      openedAtMs,
      endMs: resolvedAtMs ?? Number.POSITIVE_INFINITY
    }))
  return spans.flatMap(one =>
    spans
      .filter(other => other.id !== one.id && other.service === one.service && other.openedAtMs >= one.openedAtMs && other.openedAtMs < one.endMs)
      .map(other => `incidents ${one.id.slice(0, 8)} and ${other.id.slice(0, 8)} of ${one.service} are open at once`)
  )
}
