// Each guard by itself: when it allows, waits, asks, refuses, and what it says would change that.

import { describe, expect, test } from 'vitest'
import { approval } from '../../../../actuators/decide/guards/approval.ts'
import { autonomy } from '../../../../actuators/decide/guards/autonomy.ts'
import { evidence } from '../../../../actuators/decide/guards/evidence.ts'
import { freshness } from '../../../../actuators/decide/guards/freshness.ts'
import { frozen } from '../../../../actuators/decide/guards/frozen.ts'
import { GUARDS } from '../../../../actuators/decide/guards/guards.ts'
import { killSwitch } from '../../../../actuators/decide/guards/kill-switch.ts'
import { maintenance, windowEndMs } from '../../../../actuators/decide/guards/maintenance.ts'
import { ownership } from '../../../../actuators/decide/guards/ownership.ts'
import { targetOf } from '../../../../actuators/decide/state.ts'
import { BLOCK_REASONS, guardResultSchema } from '../../../../schemas/decision.ts'
import { aContext, aMember, anAttempt, killSwitch as aKillSwitch, type ContextOptions, T0, TARGET } from './builders.ts'

const MINUTE = 60_000
const accused = aMember({ anomalyId: 'a2', entity: 'lab/gateway', metric: 'homeostat.edge.errors', attributes: { peer: 'lab/orders' }, direction: 'above' })

test('every answer fits the record, and every no says what would change it', () => {
  const contexts: ContextOptions[] = [
    {},
    { spec: 'autonomy: observe' },
    { spec: 'autonomy: approve' },
    { spec: 'autonomy: auto\nmaintenanceWindows: [{schedule: "* * * * *", duration: 2h}]\nconfirmFor: 10m' },
    { runbook: 'risk: high\nsignatures: [silent]' },
    { attempts: [anAttempt({ verdict: null, endedAtMs: null }), anAttempt({ commandId: 'c2' }), anAttempt({ commandId: 'c3' })] },
    {
      incident: { members: [] },
      prepare: state => {
        targetOf(state, 'lab', TARGET).frozen = { sinceMs: T0, reason: 'unknown' }
      }
    },
    {
      prepare: state => {
        state.killSwitches.global = aKillSwitch('global', true) as never
      }
    }
  ]
  for (const options of contexts) {
    for (const guard of GUARDS) {
      const result = guard(aContext(options))
      expect(guardResultSchema.safeParse(result).success).toBe(true)
      expect(result.reason).not.toBe('')
      expect(result.counterfactual === '', `${result.guard}: ${result.verdict}`).toBe(result.verdict === 'allow')
    }
  }
})

test('each guard has its own block reason', () => {
  const names = GUARDS.map(guard => guard(aContext()).guard)
  expect(new Set(names).size).toBe(GUARDS.length)
  expect(names.every(name => BLOCK_REASONS.includes(name))).toBe(true)
})

describe('evidence', () => {
  test('allows a sure cause that was seen long enough', () => expect(evidence(aContext()).verdict).toBe('allow'))
  test('waits for a surer cause, for more members, and for the confirmation time', () => {
    expect(evidence(aContext({ cause: { score: 0.4 } })).reason).toContain('0.4')
    expect(evidence(aContext({ spec: 'evidence: {membersMin: 2}' })).verdict).toBe('wait')
    expect(evidence(aContext({ spec: 'confirmFor: 30s' }))).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 30_000 })
    expect(evidence(aContext({ spec: 'confirmFor: 30s', nowMs: T0 + 30_000 })).verdict).toBe('allow')
  })
  test('a cause whose own signs have closed is not acted upon, though a symptom is open', () => {
    expect(evidence(aContext({ cause: { open: false } }))).toMatchObject({ verdict: 'wait', inputs: { causeOpen: false, openMembers: 1 } })
    expect(evidence(aContext({ cause: { open: true } })).verdict).toBe('allow')
  })
  test('a condition that cleared, or is only a note, is no evidence', () => {
    expect(evidence(aContext({ incident: { members: [aMember({ closedAtMs: T0 })] } })).verdict).toBe('wait')
    expect(evidence(aContext({ incident: { members: [aMember({ severity: 'info' })] } })).verdict).toBe('wait')
  })
})

describe('freshness', () => {
  const medium = 'risk: medium\nsignatures: [silent, errors]'
  test('telemetry of all: any risk', () => expect(freshness(aContext({ runbook: medium, incident: { unknownEntities: [] } })).verdict).toBe('allow'))
  test('a silent target may get a low-risk act', () => expect(freshness(aContext()).verdict).toBe('allow'))
  test('a silent target that nobody complains of vetoes a risky act: its exporter may be what broke', () => {
    expect(freshness(aContext({ runbook: medium }))).toMatchObject({ verdict: 'wait', inputs: { targetUnknown: true, callersThatComplain: '' } })
  })
  test('a silent target whose caller sees errors is evidence, not a veto', () => {
    const result = freshness(aContext({ runbook: medium, incident: { members: [aMember(), accused] } }))
    expect(result).toMatchObject({ verdict: 'allow', inputs: { callersThatComplain: 'gateway' } })
  })
  test('a caller that is silent itself is no witness, and any other unknown entity vetoes a risky act', () => {
    const incident = { members: [aMember(), accused], unknownEntities: [TARGET, 'lab/gateway@gateway-1'] }
    expect(freshness(aContext({ runbook: medium, incident }))).toMatchObject({ verdict: 'wait', inputs: { unknownOthers: 'lab/gateway@gateway-1' } })
    expect(freshness(aContext({ runbook: 'risk: high\nsignatures: [silent]', incident: { unknownEntities: ['lab/mail@1'] } })).verdict).toBe('wait')
  })
  test('a complaint that ended, or one of too little, is no evidence', () => {
    for (const member of [
      { ...accused, closedAtMs: T0 },
      { ...accused, direction: 'below' as const },
      { ...accused, attributes: { peer: 'lab/mail' } }
    ]) {
      expect(freshness(aContext({ runbook: medium, incident: { members: [aMember(), member] } })).verdict).toBe('wait')
    }
  })
})

describe('frozen', () => {
  test('a frozen target and a runbook in quarantine there are refused until a person releases it', () => {
    expect(frozen(aContext()).verdict).toBe('allow')
    const iced = frozen(
      aContext({
        prepare: state => {
          targetOf(state, 'lab', TARGET).frozen = { sinceMs: T0, reason: 'no answer' }
        }
      })
    )
    expect(iced).toMatchObject({ verdict: 'refuse', counterfactual: /homeostat release/ })
    expect(
      frozen(
        aContext({
          prepare: state => {
            targetOf(state, 'lab', TARGET).quarantined.restart = T0
          }
        })
      ).verdict
    ).toBe('refuse')
    expect(
      frozen(
        aContext({
          prepare: state => {
            targetOf(state, 'lab', TARGET).quarantined.other = T0
          }
        })
      ).verdict
    ).toBe('allow')
  })
})

describe('ownership', () => {
  const running = { verdict: null, endedAtMs: null } as const
  test('one command in flight per target, an instance and its service overlap', () => {
    expect(ownership(aContext({ attempts: [anAttempt()] })).verdict).toBe('allow')
    expect(ownership(aContext({ attempts: [anAttempt(running)] }))).toMatchObject({ verdict: 'wait', inputs: { commandInFlight: 'command-1' } })
    expect(ownership(aContext({ attempts: [anAttempt({ ...running, target: 'lab/orders' })] })).verdict).toBe('wait')
    expect(ownership(aContext({ attempts: [anAttempt({ ...running, target: 'lab/orders@orders-2' })] })).verdict).toBe('allow')
  })
})

describe('maintenance', () => {
  const saturday = Date.UTC(2026, 0, 10, 1, 30) // 02:30 in Berlin.
  const spec = 'maintenanceWindows: [{schedule: "0 2 * * 6", duration: 2h, timezone: Europe/Berlin}]'
  test('inside a window of the policy it waits for its end, in the zone of the policy', () => {
    expect(maintenance(aContext({ spec, nowMs: saturday }))).toMatchObject({ verdict: 'wait', retryAtMs: Date.UTC(2026, 0, 10, 3) })
    expect(maintenance(aContext({ spec, nowMs: saturday - 31 * MINUTE })).verdict).toBe('allow')
  })
  test('a window begins with its first millisecond and is over with its last', () => {
    const window = { schedule: '0 2 * * 6', duration: 7_200_000, timezone: 'Europe/Berlin' }
    const startMs = Date.UTC(2026, 0, 10, 1)
    expect([startMs - 1, startMs, startMs + 7_199_999, startMs + 7_200_000].map(atMs => windowEndMs(window, atMs) !== undefined)).toEqual([
      false,
      true,
      true,
      false
    ])
  })
  test('summer time moves a window with its zone', () => {
    const window = { schedule: '0 2 * * *', duration: 60 * MINUTE, timezone: 'America/New_York' }
    expect(windowEndMs(window, Date.UTC(2026, 0, 15, 7, 30))).toBeDefined()
    expect(windowEndMs(window, Date.UTC(2026, 6, 15, 6, 30))).toBeDefined()
    expect(windowEndMs(window, Date.UTC(2026, 6, 15, 7, 30))).toBeUndefined()
  })
  const announced = (match: string) =>
    maintenance(
      aContext({
        prepare: state => {
          state.maintenance.m1 = { kind: 'maintenance', id: 'm1', match, fromMs: T0, toMs: T0 + 60 * MINUTE, by: 'ada', atMs: T0 }
        }
      })
    ).verdict
  test('announced maintenance holds for what its match names', () => {
    expect(['orders', TARGET, 'lab', '*', 'cause.service == "orders"'].map(announced)).toEqual(['wait', 'wait', 'wait', 'wait', 'wait'])
    expect(['payments', 'prod', 'cause.service == "payments"'].map(announced)).toEqual(['allow', 'allow', 'allow'])
  })
  test('an announcement that cannot be understood holds for everything', () => {
    expect(['cause.service ==', 'bogus.x == 1', 'cause.gone == 1'].map(announced)).toEqual(['wait', 'wait', 'wait'])
  })
})

describe('autonomy and approval', () => {
  test('nothing acts below approve, and approve asks', () => {
    expect(['observe', 'suggest', 'approve', 'auto'].map(level => autonomy(aContext({ spec: `autonomy: ${level}` })).verdict)).toEqual([
      'refuse',
      'refuse',
      'allow',
      'allow'
    ])
    expect(['observe', 'suggest', 'approve', 'auto'].map(level => approval(aContext({ spec: `autonomy: ${level}` })).verdict)).toEqual([
      'allow',
      'allow',
      'ask',
      'allow'
    ])
  })
})

describe('kill switch', () => {
  test.each(['global', 'environment/lab', 'policy/orders'])('%s stops it', scope => {
    expect(
      killSwitch(
        aContext({
          prepare: state => {
            state.killSwitches[scope] = aKillSwitch(scope, true) as never
          }
        })
      ).verdict
    ).toBe('refuse')
    expect(
      killSwitch(
        aContext({
          prepare: state => {
            state.killSwitches[scope] = aKillSwitch(scope, false) as never
          }
        })
      ).verdict
    ).toBe('allow')
  })
  test('another environment or policy does not', () => {
    for (const scope of ['environment/prod', 'policy/mail']) {
      expect(
        killSwitch(
          aContext({
            prepare: state => {
              state.killSwitches[scope] = aKillSwitch(scope, true) as never
            }
          })
        ).verdict
      ).toBe('allow')
    }
  })
})
