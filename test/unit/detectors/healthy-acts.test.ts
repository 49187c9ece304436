// Policies that may act, on a small fleet for ninety minutes: nothing is done while it is well, and something when it is not.

import { beforeAll, describe, expect, it } from 'vitest'
import { decideHealthy, type HealthyDecision, isAct } from '../../bench/healthy/decide.ts'
import { type NamedPolicySet, policySets } from '../../bench/healthy/policy-sets.ts'
import { type HealthyRun, runHealthy } from '../../bench/healthy/run.ts'
import { scenario, type ScenarioSize, START_MS } from '../../bench/healthy/scenario.ts'

const MINUTE_MS = 60_000
const SMALL: ScenarioSize = { instances: 1, hosts: 1, lengthMs: 90 * MINUTE_MS }
const FAULT = { service: 'orders', errorShare: 0.5, fromMs: 60 * MINUTE_MS, toMs: 65 * MINUTE_MS }

describe('policies at level auto', { timeout: 60_000 }, () => {
  let sets: NamedPolicySet[]
  beforeAll(() => {
    sets = policySets()
  })

  function replay(size: ScenarioSize): { run: HealthyRun; decided: HealthyDecision[] } {
    const fleet = scenario('day', 7, size)
    const run = runHealthy(fleet)
    return { run, decided: decideHealthy(run, fleet, sets) }
  }

  it('do nothing while the fleet is well', () => {
    const { run, decided } = replay(SMALL)
    expect(run.points).toBeGreaterThan(90_000)
    expect(decided.filter(isAct)).toEqual([])
  })

  it('act, each of the sets, on the one service that fails for five minutes', () => {
    const acts = replay({ ...SMALL, fault: FAULT }).decided.filter(isAct)
    expect(new Set(acts.map(({ policySet }) => policySet))).toEqual(new Set(sets.map(({ name }) => name)))
    expect(new Set(acts.map(({ decision }) => decision.target))).toEqual(new Set(['shop/orders@orders-1']))
    const first = Math.min(...acts.map(({ decision }) => decision.decidedAtMs))
    expect(first - (START_MS + FAULT.fromMs)).toBeLessThan(2 * MINUTE_MS)
    expect(acts.every(({ isOfSilence }) => !isOfSilence)).toBe(true)
  })

  it.each([
    ['the whole fleet', undefined, 'critical'],
    ['a service whose callers are heard', 'payments', 'warning']
  ] as const)('restart nothing when %s is not heard for half an hour, though it is well: one incident, until it is heard', (_who, service, severity) => {
    const unheard = { ...(service === undefined ? {} : { service }), fromMs: 50 * MINUTE_MS, toMs: 80 * MINUTE_MS }
    const { run, decided } = replay({ ...SMALL, instances: 2, unheard })
    expect(run.incidents).toEqual([])
    expect(run.incidentsOfSilence).toMatchObject([{ severity, status: 'resolved', causes: [{ signature: 'telemetry_gap' }] }])
    expect(run.incidentsOfSilence[0]!.resolvedAtMs).toBeGreaterThan(START_MS + unheard.toMs)
    expect(decided.length).toBeGreaterThan(0)
    expect(decided.filter(isAct)).toEqual([])
  })
})
