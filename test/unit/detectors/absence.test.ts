import { describe, expect, it } from 'vitest'
import { absenceLimitMs, judgeAbsence } from '../../../detectors/rules/absence.ts'
import { EntityTable, type EntityState, hear } from '../../../detectors/score/entities.ts'
import { aResource, chance, START_MS } from './builders.ts'

const SETTINGS = { absenceIntervals: 5, absenceMin: 10_000, unsavedMs: 20_000, derivedLagMs: 20_000 }

/** An entity heard at these seconds. */
function heardAt(seconds: readonly number[], hasOwnMetrics = true): EntityState {
  const state = new EntityTable().of(aResource())!
  state.hasOwnMetrics = hasOwnMetrics
  for (const second of seconds) hear(state, START_MS + second * 1_000)
  return state
}
const every = (intervalS: number, count: number): number[] => Array.from({ length: count }, (_, i) => i * intervalS)
const judge = (state: EntityState, second: number, listeningSince = 0) =>
  judgeAbsence(state, START_MS + second * 1_000, START_MS + listeningSince * 1_000, SETTINGS)

describe('absence', () => {
  it('opens once when a regular sender falls silent and closes when it is back', () => {
    const state = heardAt(every(1, 60))
    expect(judge(state, 68)).toBeUndefined()
    const open = judge(state, 70)
    expect(open).toMatchObject({ status: 'open', detector: 'absence', direction: 'absent', observed: null, severity: 'critical', sinceMs: START_MS + 59_000 })
    expect(open!.reason).toBe('No telemetry of shop/orders@orders-1 for 11 s, where it comes every 1 s; last heard at 08:00:59 UTC. Its state is unknown.')
    expect(judge(state, 75)).toBeUndefined()
    hear(state, START_MS + 80_000)
    const close = judge(state, 81)
    expect(close).toMatchObject({ status: 'close', id: open!.id, sinceMs: open!.sinceMs, observedAtMs: START_MS + 80_000 })
    expect(judge(state, 82)).toBeUndefined()
  })

  it('waits for its number of usual intervals', () => {
    const state = heardAt(every(10, 30))
    expect(judge(state, 290 + 49)).toBeUndefined()
    expect(judge(state, 290 + 51)).toBeDefined()
  })

  it('is patient with irregular senders', () => {
    const { uniform } = chance(1)
    let at = 0
    const state = heardAt(Array.from({ length: 100 }, () => (at += 1 + uniform() * 59)))
    expect(absenceLimitMs(state, SETTINGS)).toBeGreaterThan(5 * 45_000)
  })

  it('says nothing of senders it hardly knows or that report seldom', () => {
    expect(judge(heardAt(every(1, 5)), 1_000)).toBeUndefined()
    expect(judge(heardAt(every(3_600, 50)), 50 * 3_600 + 80_000)).toBeUndefined()
  })

  it('does not take one long gap as the new usual interval', () => {
    const state = heardAt([...every(1, 100), 5_000, ...every(1, 10).map(s => 5_001 + s)])
    expect(absenceLimitMs(state, SETTINGS)).toBeLessThanOrEqual(12_000)
  })

  it('counts silence only from when it listens, and gives senders time to reconnect after that', () => {
    const state = heardAt(every(1, 60))
    expect(judge(state, 1_011, 1_000)).toBeUndefined()
    expect(judge(state, 1_044, 1_000)).toBeUndefined()
    expect(judge(state, 1_046, 1_000)).toBeDefined()
    const back = heardAt([...every(1, 60), 1_005])
    expect(judge(back, 1_016, 1_000)).toBeDefined()
  })

  it('adds the lag of derived telemetry for what is known only through it', () => {
    expect(judge(heardAt(every(2, 60), false), 118 + 25)).toBeUndefined()
    expect(judge(heardAt(every(2, 60), false), 118 + 31)).toMatchObject({ severity: 'warning' })
  })

  it('gives an entity up after an hour until it is heard again, and tells both', () => {
    const state = heardAt(every(1, 60))
    const told = judge(state, 80)
    expect(judge(state, 3_700)).toMatchObject({ id: told!.id, status: 'close', givenUp: true })
    expect(judge(state, 4_000)).toBeUndefined()
    hear(state, START_MS + 4_100_000)
    const back = judge(state, 4_101)
    expect(back).toMatchObject({ id: told!.id, status: 'close', observedAtMs: START_MS + 4_100_000 })
    expect(back!.givenUp).toBeUndefined()
    expect(judge(state, 4_120)).toMatchObject({ status: 'open' })
  })
})
