// The guards that count: cooldown, attempt budget, flapping, blast radius, storm.

import { describe, expect, test } from 'vitest'
import { attemptBudget } from '../../../../actuators/decide/guards/attempt-budget.ts'
import { blastRadius } from '../../../../actuators/decide/guards/blast-radius.ts'
import { backoffMs, cooldown } from '../../../../actuators/decide/guards/cooldown.ts'
import { FLAPS_MAX, flapping } from '../../../../actuators/decide/guards/flapping.ts'
import { STORM_EXIT_MS, STORM_INCIDENTS_MAX, storm } from '../../../../actuators/decide/guards/storm.ts'
import { targetOf } from '../../../../actuators/decide/state.ts'
import {
  aContext,
  aMember,
  anAttempt,
  anIncident,
  anOutcome,
  type ContextOptions,
  decider,
  policySet,
  policyYaml,
  runbookYaml,
  T0,
  TARGET
} from './builders.ts'

const MINUTE = 60_000

describe('cooldown', () => {
  const settings = { initial: 10_000, factor: 2, max: 60_000, jitter: 0.1 }
  test('waits double up to the maximum, with jitter around them', () => {
    expect([1, 2, 3, 4].map(count => backoffMs(settings, count, 0))).toEqual([10_000, 20_000, 40_000, 60_000])
    expect([backoffMs(settings, 1, -1), backoffMs(settings, 1, 1)]).toEqual([9_000, 11_000])
  })
  test('is counted from the end of the last attempt of this runbook on this target', () => {
    const spec = 'cooldown: {initial: 60s, jitter: 0}'
    const attempts = [anAttempt()]
    expect(cooldown(aContext({ spec, attempts }))).toMatchObject({ verdict: 'wait', retryAtMs: T0 - 20_000 + 60_000 })
    expect(cooldown(aContext({ spec, attempts, nowMs: T0 + 40_000 })).verdict).toBe('allow')
    expect(cooldown(aContext({ spec, attempts: [anAttempt({ runbook: 'other' })] })).verdict).toBe('allow')
  })
  test.each([3_600, -3_600, 7])('lasts as long when the wall clock is set by %d s meanwhile', byS => {
    const run = decider(policySet(policyYaml('autonomy: auto\ncooldown: {initial: 60s, jitter: 0}'), runbookYaml()))
    run.incident(anIncident(), 0)
    run.outcome(anOutcome(run.last(), 'ineffective', { recordedAtMs: T0 + 10_000 }), 10)
    run.run(11, 20)
    run.feed({ kind: 'clock_step', byMs: byS * 1_000 }, 20 + byS)
    run.run(21 + byS, 69 + byS)
    expect(run.commands()).toHaveLength(1)
    run.tick(70 + byS)
    expect(run.commands()).toHaveLength(2)
  })
  test('after one runbook healed the target every other waits the initial time', () => {
    const attempts = [anAttempt({ runbook: 'other', verdict: 'healed', endedAtMs: T0 })]
    const spec = 'cooldown: {initial: 60s}'
    expect(cooldown(aContext({ spec, attempts }))).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 60_000 })
    expect(cooldown(aContext({ spec, attempts, nowMs: T0 + 60_000 })).verdict).toBe('allow')
  })
  test('its answer stands still while it is waited for', () => {
    const context = () => cooldown(aContext({ attempts: [anAttempt({ jitter: 0.7 })] })).retryAtMs
    expect(context()).toBe(context())
  })
})

describe('attempt budget', () => {
  const spec = 'attempts: {max: 2, window: 10m}\nrecurrenceWindow: 5m'
  const two = [anAttempt({ verdict: 'healed', healedAtMs: T0 - 20_000 }), anAttempt({ commandId: 'c2', verdict: 'inconclusive' })]
  test('every verdict counts, those older than the window do not', () => {
    expect(attemptBudget(aContext({ spec, attempts: two.slice(0, 1) })).verdict).toBe('allow')
    expect(attemptBudget(aContext({ spec, attempts: two }))).toMatchObject({ verdict: 'refuse', inputs: { attempts: 2, verdicts: 'healed, inconclusive' } })
    expect(attemptBudget(aContext({ spec, attempts: two, nowMs: T0 + 10 * MINUTE })).verdict).toBe('allow')
  })
  test('says how many healed attempts came back', () => {
    const prepare: ContextOptions['prepare'] = state => void targetOf(state, 'lab', TARGET).onsets.push({ incidentId: 'incident-1', atMs: T0 })
    expect(attemptBudget(aContext({ spec, attempts: two, prepare })).inputs).toMatchObject({ recurrences: 1 })
  })
})

describe('flapping', () => {
  test('too many incidents of one target, or one series that opens anew and anew, is flapping', () => {
    const onsets = (count: number) => (state: Parameters<NonNullable<ContextOptions['prepare']>>[0]) => {
      targetOf(state, 'lab', TARGET).onsets = Array.from({ length: count }, (_, index) => ({ incidentId: `i${index}`, atMs: T0 - index * MINUTE }))
    }
    expect(flapping(aContext({ prepare: onsets(FLAPS_MAX) })).verdict).toBe('allow')
    expect(flapping(aContext({ prepare: onsets(FLAPS_MAX + 1) })).verdict).toBe('refuse')
    expect(flapping(aContext({ prepare: onsets(FLAPS_MAX + 1), nowMs: T0 + 9 * MINUTE })).verdict).toBe('allow')
    const members = Array.from({ length: FLAPS_MAX + 1 }, (_, index) => aMember({ anomalyId: `a${index}`, sinceMs: T0 - index * 5_000, closedAtMs: T0 }))
    expect(flapping(aContext({ incident: { members } }))).toMatchObject({ verdict: 'refuse', reason: /flapping/ })
    expect(flapping(aContext({ incident: { members: members.map(member => ({ ...member, metric: member.anomalyId })) } })).verdict).toBe('allow')
  })
})

describe('blast radius', () => {
  const other = { target: 'lab/mail@1' }
  test('in flight elsewhere counts, the own target does not', () => {
    expect(blastRadius(aContext({ attempts: [anAttempt({ verdict: null })] })).verdict).toBe('allow')
    expect(blastRadius(aContext({ attempts: [anAttempt({ ...other, verdict: null })] }))).toMatchObject({
      verdict: 'wait',
      inputs: { inFlight: 1, others: 'lab/mail@1' }
    })
    expect(blastRadius(aContext({ spec: 'blastRadius: {concurrentMax: 2}', attempts: [anAttempt({ ...other, verdict: null })] })).verdict).toBe('allow')
  })
  test('what was done and never verified counts too, for a while; frozen counts until it is released', () => {
    const doubtful = [anAttempt({ ...other, verdict: 'inconclusive' })]
    expect(blastRadius(aContext({ attempts: doubtful }))).toMatchObject({ verdict: 'wait', inputs: { unverified: 1 } })
    expect(blastRadius(aContext({ attempts: doubtful, nowMs: T0 + 10 * MINUTE })).verdict).toBe('allow')
    expect(blastRadius(aContext({ attempts: [anAttempt({ ...other, verdict: 'healed' })] })).verdict).toBe('allow')
    expect(
      blastRadius(
        aContext({
          prepare: state => {
            targetOf(state, 'lab', 'lab/mail@1').frozen = { sinceMs: T0, reason: '' }
          }
        })
      ).verdict
    ).toBe('wait')
  })
  test('other environments do not count', () => {
    const prepare: ContextOptions['prepare'] = state => {
      targetOf(state, 'prod', 'x').frozen = { sinceMs: T0, reason: '' }
    }
    expect(blastRadius(aContext({ prepare })).verdict).toBe('allow')
  })
})

describe('storm', () => {
  const withIncidents = (count: number, nowMs = T0 + 1_000) =>
    storm(
      aContext({
        nowMs,
        prepare(state) {
          const watch = Object.values(state.watches)[0]!
          for (let index = 1; index < count; index++)
            state.watches[`i${index}`] = { ...watch, incident: anIncident({ id: `i${index}`, openedAtMs: T0 - index * 1_000 }) }
        }
      })
    )
  test('the brake is on from one more than the limit until the exit delay has passed', () => {
    expect(withIncidents(STORM_INCIDENTS_MAX).verdict).toBe('allow')
    expect(withIncidents(STORM_INCIDENTS_MAX + 1)).toMatchObject({ verdict: 'wait', retryAtMs: T0 + STORM_EXIT_MS })
    expect(withIncidents(STORM_INCIDENTS_MAX + 1, T0 + STORM_EXIT_MS).verdict).toBe('allow')
  })
})
