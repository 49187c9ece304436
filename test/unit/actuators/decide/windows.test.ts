// When planned work holds acting back: recurrence rules and cron in time zones, across changes of the clocks; deploys.

import { describe, expect, test } from 'vitest'
import { DEPLOY_MS_MAX, deployWindow } from '../../../../actuators/decide/guards/deploy-window.ts'
import { maintenance, maintenanceMatchProblem, windowEndMs } from '../../../../actuators/decide/guards/maintenance.ts'
import { latestStartMs, parseLocal, parseRule } from '../../../../actuators/decide/guards/rrule.ts'
import { instantOf, localTime } from '../../../../actuators/decide/guards/zone.ts'
import type { Control } from '../../../../schemas/control.ts'
import { aContext, decider, policySet, policyYaml, runbookYaml, anIncident, T0, TARGET } from './builders.ts'

const MINUTE = 60_000
const HOUR = 3_600_000
const local = (text: string) => parseLocal(text)!
const utc = (text: string) => Date.parse(`${text}Z`)

describe('local time', () => {
  test('agrees with the zone in winter and in summer, also where offsets are no whole hours', () => {
    expect(instantOf(local('2026-01-15T02:00'), 'Europe/Berlin')).toBe(utc('2026-01-15T01:00:00'))
    expect(instantOf(local('2026-07-15T02:00'), 'Europe/Berlin')).toBe(utc('2026-07-15T00:00:00'))
    expect(instantOf(local('2026-07-15T02:00'), 'Asia/Kathmandu')).toBe(utc('2026-07-14T20:15:00'))
    expect(localTime(utc('2026-01-15T23:30:00'), 'Pacific/Auckland')).toEqual(local('2026-01-16T12:30'))
  })
  test('a time that never occurs is read with the offset before the gap', () => {
    expect(instantOf(local('2026-03-29T02:30'), 'Europe/Berlin')).toBe(utc('2026-03-29T01:30:00')) // 03:30 in summer time.
    expect(instantOf(local('2026-03-08T02:30'), 'America/New_York')).toBe(utc('2026-03-08T07:30:00'))
  })
  test('a time that occurs twice is the first of the two', () => {
    expect(instantOf(local('2026-10-25T02:30'), 'Europe/Berlin')).toBe(utc('2026-10-25T00:30:00'))
    expect(instantOf(local('2026-11-01T01:30'), 'America/New_York')).toBe(utc('2026-11-01T05:30:00'))
    expect(instantOf(local('2026-04-05T01:45'), 'Australia/Lord_Howe')).toBe(utc('2026-04-04T14:45:00')) // Back by half an hour.
  })
  test('every hour of a year comes back as itself, but for the repeated ones', () => {
    for (const timezone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata']) {
      let repeated = 0
      for (let atMs = utc('2026-01-01T00:00:00'); atMs < utc('2027-01-01T00:00:00'); atMs += HOUR / 2) {
        const back = instantOf(localTime(atMs, timezone), timezone)
        if (back !== atMs) repeated++
        expect(atMs - back === 0 || atMs - back === HOUR || atMs - back === HOUR / 2).toBe(true)
      }
      expect(repeated).toBeLessThanOrEqual(2)
    }
  })
})

describe('recurrence rules', () => {
  const inside = (rrule: string, start: string, at: string, timezone = 'UTC', durationMs = HOUR) => {
    const rule = parseRule(rrule)
    if (typeof rule === 'string') throw new Error(rule)
    return latestStartMs(rule, local(start), timezone, durationMs, utc(at)) !== undefined
  }
  test('every other week on two days, from the first on', () => {
    const rule = 'FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SA'
    const at = (day: string) => inside(rule, '2026-01-05T02:00', `${day}T02:30:00`)
    expect(['2026-01-03', '2026-01-05', '2026-01-10', '2026-01-12', '2026-01-17', '2026-01-19', '2026-01-24'].map(at)).toEqual([
      false,
      true,
      true,
      false,
      false,
      true,
      true
    ])
  })
  test('the second and the last weekday of a month, the last day, a month of the year, an end', () => {
    const at = (rule: string, day: string) => inside(rule, '2026-01-01T02:00', `${day}T02:59:59`)
    expect(['2026-02-10', '2026-02-03', '2026-02-17'].map(day => at('FREQ=MONTHLY;BYDAY=2TU', day))).toEqual([true, false, false])
    expect(['2026-01-30', '2026-01-23'].map(day => at('FREQ=MONTHLY;BYDAY=-1FR', day))).toEqual([true, false])
    expect(['2026-02-28', '2028-02-29', '2028-02-28'].map(day => at('FREQ=MONTHLY;BYMONTHDAY=-1', day))).toEqual([true, true, false])
    expect(['2027-01-01', '2027-02-01'].map(day => at('FREQ=YEARLY', day))).toEqual([true, false])
    expect(['2026-12-24', '2026-11-24'].map(day => at('FREQ=DAILY;BYMONTH=12', day))).toEqual([true, false])
    expect(['2026-01-31', '2026-02-01'].map(day => at('FREQ=DAILY;UNTIL=20260131', day))).toEqual([true, false])
  })
  test('a window that began yesterday still holds, and ends with its last millisecond', () => {
    const window = { rrule: 'FREQ=DAILY', start: '2026-01-01T23:00', duration: 3 * HOUR, timezone: 'Europe/Berlin' }
    const startMs = utc('2026-01-09T22:00:00')
    expect([startMs - 22 * HOUR, startMs, startMs + 3 * HOUR - 1, startMs + 3 * HOUR].map(atMs => windowEndMs(window, atMs))).toEqual([
      startMs - 21 * HOUR,
      startMs + 3 * HOUR,
      startMs + 3 * HOUR,
      undefined
    ])
  })
  test('a duration is elapsed time: the night of the change of the clocks has no longer and no shorter window', () => {
    const night = { rrule: 'FREQ=DAILY', start: '2026-01-01T01:30', duration: 2 * HOUR, timezone: 'Europe/Berlin' }
    expect(windowEndMs(night, utc('2026-03-29T00:45:00'))).toBe(utc('2026-03-29T02:30:00')) // 04:30 in summer time.
    expect(windowEndMs(night, utc('2026-10-25T00:00:00'))).toBe(utc('2026-10-25T01:30:00')) // 02:30, the second one.
    const gap = { ...night, start: '2026-01-01T02:30', duration: HOUR }
    expect(windowEndMs(gap, utc('2026-03-29T01:45:00'))).toBe(utc('2026-03-29T02:30:00'))
  })
  test('by cron, a start in the gap is the end of the gap; a repeated one starts a single window', () => {
    const window = { schedule: '30 2 * * *', duration: 30 * MINUTE, timezone: 'Europe/Berlin' }
    expect(windowEndMs(window, utc('2026-03-29T00:59:59'))).toBeUndefined()
    expect(windowEndMs(window, utc('2026-03-29T01:00:00'))).toBe(utc('2026-03-29T01:30:00'))
    expect(windowEndMs(window, utc('2026-10-25T00:45:00'))).toBe(utc('2026-10-25T01:00:00'))
    expect(windowEndMs(window, utc('2026-10-25T01:45:00'))).toBeUndefined()
  })
  test('what is no rule is said in words', () => {
    expect(['FREQ=HOURLY', 'BYDAY=MO', 'FREQ=DAILY;COUNT=3', 'FREQ=DAILY;BYDAY=XX', 'FREQ=WEEKLY;BYDAY=2MO', 'FREQ=DAILY;INTERVAL=0'].map(parseRule)).toEqual([
      expect.stringContaining('HOURLY'),
      'FREQ is missing',
      expect.stringContaining('COUNT'),
      expect.stringContaining('XX'),
      expect.stringContaining('MONTHLY'),
      expect.stringContaining('INTERVAL')
    ])
    expect(parseLocal('2026-02-30T02:00')).toBeUndefined()
  })
  test('the guard waits for the end of a window by rule and names it', () => {
    const spec = 'maintenanceWindows: [{rrule: "FREQ=WEEKLY;BYDAY=MO", start: "2026-01-05T11:30", duration: 1h}]'
    expect(maintenance(aContext({ spec }))).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 30 * MINUTE, reason: expect.stringContaining('BYDAY=MO') })
    expect(maintenance(aContext({ spec, nowMs: T0 + 30 * MINUTE })).verdict).toBe('allow')
  })
  test('an announcement that could not be understood is refused when it is made, for it would hold everything', () => {
    for (const match of ['', '*', 'shop/orders@1', 'production', 'cause.service == "orders" && incident.severity == "info"'])
      expect(maintenanceMatchProblem(match)).toBeUndefined()
    expect(maintenanceMatchProblem('entity == "shop/orders"')).toMatch(/Unknown variable.*: known are incident, cause.*Give a name/)
    expect(maintenanceMatchProblem('cause.srvice == "orders"')).toBe('cause has no field srvice (at character 7). Did you mean cause.service?')
  })
})

describe('deploys', () => {
  const deploy = (fields: Partial<Extract<Control, { kind: 'change' }>> = {}): Control & { kind: 'change' } => ({
    ...{ kind: 'change', id: 'd1', environment: 'lab', target: 'lab/orders', actor: 'ci', what: 'deploy', fromMs: T0, toMs: null, by: 'ci', atMs: T0 },
    ...fields
  })
  const ask = (change: Control & { kind: 'change' }, nowMs = T0 + MINUTE, spec = 'autonomy: auto') =>
    deployWindow(
      aContext({
        spec,
        nowMs,
        prepare: state => {
          state.changes.d1 = change
        }
      })
    )
  test('while the target is deployed it waits, and then until it has settled', () => {
    expect(ask(deploy())).toMatchObject({ verdict: 'wait', reason: expect.stringContaining('ci is deploying lab/orders') })
    const done = deploy({ toMs: T0 + MINUTE })
    expect(ask(done, T0 + 2 * MINUTE)).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 6 * MINUTE })
    expect(ask(done, T0 + 6 * MINUTE).verdict).toBe('allow')
  })
  test('only the deploy of this target, or of all, in this environment, and none that begins later', () => {
    expect(ask(deploy({ target: 'lab/mail' })).verdict).toBe('allow')
    expect(ask(deploy({ target: '*' })).verdict).toBe('wait')
    expect(ask(deploy({ environment: 'prod' })).verdict).toBe('allow')
    expect(ask(deploy({ fromMs: T0 + HOUR })).verdict).toBe('allow')
    expect(ask(deploy({ what: 'config' })).verdict).toBe('allow')
  })
  test('a deploy that nobody ended is over some time', () => {
    expect(ask(deploy(), T0 + DEPLOY_MS_MAX).verdict).toBe('wait')
    expect(ask(deploy(), T0 + DEPLOY_MS_MAX + 5 * MINUTE).verdict).toBe('allow')
  })
  test('the policy may go on, or ask; a yes lets it act, the end of the deploy too', () => {
    expect(ask(deploy(), T0 + MINUTE, 'deploys: {during: allow}').verdict).toBe('allow')
    const asking = decider(policySet(policyYaml('autonomy: auto\ndeploys: {during: ask, settle: 1m}'), runbookYaml()))
    asking.control(deploy(), 0)
    asking.incident(anIncident(), 1)
    expect(asking.last()).toMatchObject({ outcome: 'ask', autonomy: 'approve', target: TARGET })
    const decisionId = asking.last().id
    asking.control({ kind: 'approval', incidentId: 'incident-1', decisionId, approved: true, by: 'ada', atMs: T0 + 2_000 }, 2)
    expect(asking.last()).toMatchObject({ outcome: 'act' })
    const waiting = decider(policySet(policyYaml('autonomy: auto\ndeploys: {during: ask, settle: 1m}'), runbookYaml()))
    waiting.control(deploy({ toMs: T0 + MINUTE }), 0)
    waiting.incident(anIncident(), 1)
    waiting.run(2, 119)
    expect(waiting.commands()).toHaveLength(0)
    waiting.tick(120)
    expect(waiting.commands()).toHaveLength(1)
  })
})
