// What judges a rollout in the lab: each demand fails on its own counter-example, and the case's rules load.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { undoKey } from '../../../actuators/execute/ledger.ts'
import { loadPolicySet } from '../../../actuators/decide/policy-file.ts'
import type { Effect } from '../../../infra/lab/cases/effects.ts'
import { type Flight, flightsOf, neverMore, processesEach, stageByStage, stagesOf } from '../../../infra/lab/cases/stages/findings.ts'
import { BOUNDED, CONCURRENT_MAX, HELD_BYTES_MAX, STAGES } from '../../../infra/lab/cases/stages/layout.ts'
import type { MemberSight } from '../../../infra/lab/cases/stages/watcher.ts'

const MEMBERS = ['a', 'b', 'c', 'd', 'e']
const STAGED = [['a'], ['b', 'c'], ['d', 'e']]

const aFlight = (member: string, awayAtMs: number, fields: Partial<Flight> = {}): Flight => {
  return { member, awayAtMs, verifiedAtMs: awayAtMs + 10, verdict: 'healed', isAct: true, ...fields }
}
/** One, then two side by side, then two one after the other. */
const FLIGHTS = [aFlight('a', 0), aFlight('b', 20), aFlight('c', 21), aFlight('d', 40), aFlight('e', 51)]
const aSight = (member: string, recoveredAtMs: number[], processes = 2): MemberSight => {
  const incarnations = Array.from({ length: processes }, (_, pid) => ({ pid, startTicks: pid, isBounded: pid > 0, firstSeenMs: 0, lastSeenMs: 1 }))
  return { member, recoveredAtMs, isWell: true, incarnations }
}
const SIGHTS = FLIGHTS.map(({ member, awayAtMs }) => aSight(member, [awayAtMs + 5]))

test('stages of one, half and all', () => {
  expect(stagesOf(MEMBERS)).toEqual(STAGED)
  expect(stagesOf([...MEMBERS, 'f'])).toEqual([['a'], ['b', 'c'], ['d', 'e', 'f']])
})

describe('at once', () => {
  test('no more than the policy allows, and than the stage has', () => {
    expect(neverMore(FLIGHTS, STAGED, 2)).toMatchObject({ ok: true, detail: '2 at once at most, of 5' })
    expect(neverMore(FLIGHTS, STAGED, 1)).toMatchObject({ ok: false, detail: '2 of 1 when c of stage 2 ended' })
    expect(neverMore([], STAGED, 2).ok).toBe(false)
  })

  test('what is not verified counts: the next begins too early', () => {
    const late = FLIGHTS.map(flight => (flight.member === 'a' ? { ...flight, verifiedAtMs: 22 } : flight))
    expect(neverMore(late, STAGED, 2)).toMatchObject({ ok: false, detail: '3 of 2 when c of stage 2 ended' })
  })

  test('a canary is alone though the policy allows two', () => {
    expect(neverMore([aFlight('a', 0), aFlight('b', 1)], [['b'], ['a']], 2).ok).toBe(false)
  })
})

describe('one stage after the other', () => {
  const judged = (flights: readonly Flight[], sights = SIGHTS) => stageByStage(flights, STAGED, sights)

  test('each when all of the one before were verified and well', () => {
    expect(judged(FLIGHTS)).toMatchObject({ ok: true, detail: 'a | b c | d e, each when the one before was verified and well' })
    expect(judged(FLIGHTS.slice(0, 1))).toMatchObject({ ok: true })
    expect(judged([]).ok).toBe(false)
  })

  test.each([
    ['a member is left out', FLIGHTS.filter(({ member }) => member !== 'b'), SIGHTS, 'stage 3 began without b'],
    [
      'before the record',
      FLIGHTS.map(each => (each.member === 'c' ? { ...each, verifiedAtMs: 45 } : each)),
      SIGHTS,
      'stage 3 began 5 ms before c was verified'
    ],
    [
      'by the verdict alone',
      FLIGHTS,
      SIGHTS.map(each => (each.member === 'a' ? { ...each, recoveredAtMs: [30] } : each)),
      'stage 2 began before a was seen to be well'
    ]
  ])('%s: named', (_what, flights, sights, detail) => {
    expect(judged(flights, sights)).toMatchObject({ ok: false, detail })
  })

  test('taking back is no act of a stage', () => {
    expect(judged([...FLIGHTS.slice(0, 1), aFlight('a', 5, { isAct: false, verdict: 'undone' })]).ok).toBe(true)
  })
})

test('processes are counted by the kernel', () => {
  expect(processesEach('processes', SIGHTS, MEMBERS, 2).ok).toBe(true)
  expect(processesEach('processes', [...SIGHTS.slice(1), aSight('a', [], 3)], MEMBERS, 2)).toMatchObject({ ok: false, detail: 'a was 3 of 2' })
  expect(processesEach('processes', SIGHTS, [], 2).ok).toBe(false)
})

test('a stay begins with the end of the old process and ends with the recorded outcome; an undo within it is a part of it', () => {
  const line = (atMs: number, what: string, key = '', target = 'a'): Effect => ({ atMs, target, what, key })
  const witnessed = [
    line(1, 'stop'),
    line(3, 'start bounded', 'k'),
    line(8, 'stop'),
    line(9, 'start', undoKey('k')),
    line(20, 'stop'),
    line(21, 'start', 'back')
  ]
  const row = (key: string, recordedAtMs: number) => ({ target: 'lab/sessions@a', verdict: 'undone' as const, recordedAtMs, keys: [key] })
  expect(flightsOf(witnessed, [row('back', 30), row('k', 12), row('unseen', 5)])).toEqual([
    { member: 'a', verdict: 'undone', awayAtMs: 1, verifiedAtMs: 12, isAct: true },
    { member: 'a', verdict: 'undone', awayAtMs: 20, verifiedAtMs: 30, isAct: false }
  ])
})

test('its policy and runbook load, and say what the judge believes of them', () => {
  const rules = join(import.meta.dirname, '../../../infra/lab/cases/stages/rules')
  const files = globSync(join(rules, '*', '*.yaml')).map(file => ({ file, text: readFileSync(file, 'utf8') }))
  const loaded = loadPolicySet(files)
  expect(loaded.ok ? [] : loaded.problems).toEqual([])
  if (!loaded.ok) return
  const [policy] = loaded.set.policies
  const [step] = loaded.set.runbooks.get('bound-sessions')!.spec.steps
  expect(policy!.spec.blastRadius).toMatchObject({ concurrentMax: CONCURRENT_MAX, group: 'service' })
  expect(step!.stages?.map(String)).toEqual([...STAGES])
  expect(step!.action.args).toEqual({ limits: BOUNDED })
  expect(step!.verify.checks).toContainEqual(expect.objectContaining({ metric: 'session.memory', expect: `value < ${HELD_BYTES_MAX}` }))
})
