// The lab's judge: each assertion fails on its own counter-example, so a passing lab means something.

import { describe, expect, it } from 'vitest'
import { type CaseFacts, judgeCase } from '../../../infra/lab/judge.ts'
import { heldUpMs } from '../../../infra/lab/probes.ts'
import type { WitnessEvent } from '../../../infra/lab/witness.ts'
import type { IncidentStory } from '../../../pipeline/console/live-view.ts'
import type { Verdict } from '../../../schemas/outcome.ts'

const INJECTED_MS = 1_000_000

interface Story {
  openedAfterMs?: number
  target?: string
  keys?: string[]
  verdict?: Verdict
  recordedAfterMs?: number
}

function aStory({ openedAfterMs = 4_000, target = 'payments', keys = ['k1'], verdict = 'healed', recordedAfterMs = 20_000 }: Story = {}): IncidentStory {
  const steps = keys.map(idempotencyKey => ({ idempotencyKey, name: 'restart', target, result: 'applied' }))
  return {
    incident: { id: 'i1', openedAtMs: INJECTED_MS + openedAfterMs, causes: [{ entity: 'lab/payments@payments-1', signature: 'silent' }] },
    anomalies: [],
    decisions: [],
    outcomes: [{ verdict, reason: 'because', steps, recordedAtMs: INJECTED_MS + recordedAfterMs }]
  } as unknown as IncidentStory
}

function anEffect(effect: Partial<WitnessEvent> = {}): WitnessEvent {
  return { at: INJECTED_MS + 6_000, service: 'payments', pid: 1, event: 'start', madeAtMs: INJECTED_MS + 5_800, key: 'k1', ...effect }
}

function theFacts(facts: Partial<CaseFacts> = {}): CaseFacts {
  return {
    truth: { case: 'hang', seed: 1, environment: 'lab', target: 'payments', injectedAtMs: INJECTED_MS, healthyAgainAtMs: INJECTED_MS + 8_000, cause: '' },
    stories: [aStory()],
    effects: [anEffect()],
    elsewhere: [],
    mttrMs: 9_000,
    heldUpMs: 0,
    ...facts
  }
}

const failuresOf = (facts: Partial<CaseFacts>): string => judgeCase(theFacts(facts)).failures.join('; ')

describe('the judge of a lab case', () => {
  it('passes a fault that was found, healed by one action and told truly', () => {
    expect(judgeCase(theFacts())).toMatchObject({
      pass: true,
      detectedMs: 4_000,
      healedMs: 8_000,
      actions: 1,
      wrongActions: 0,
      verdict: 'healed',
      cause: 'lab/payments@payments-1',
      steps: ['restart'],
      failures: []
    })
  })

  it('fails what was not detected, or too late', () => {
    expect(failuresOf({ stories: [], effects: [] })).toContain('not detected')
    expect(failuresOf({ stories: [aStory({ openedAfterMs: 15_001 })] })).toContain('detected 15001 ms after the injection')
  })

  it('fails when another service was acted on, and when the guilty one was not', () => {
    const report = judgeCase(theFacts({ effects: [anEffect(), anEffect({ service: 'orders', key: 'k2' })], stories: [aStory({ keys: ['k1', 'k2'] })] }))
    expect(report).toMatchObject({ pass: false, actions: 1, wrongActions: 1 })
    expect(report.failures.join()).toContain('orders was acted on (start), the guilty one is payments')
    expect(failuresOf({ effects: [] })).toContain('the guilty payments was not acted on')
  })

  it('fails when something happened in another environment', () => {
    const report = judgeCase(theFacts({ elsewhere: [anEffect({ key: 'k2' })] }))
    expect(report).toMatchObject({ pass: false, actions: 1, wrongActions: 1 })
    expect(report.failures.join()).toContain('payments of another environment was acted on (start), the fault is in lab')
  })

  it('fails when one key had two effects', () => {
    expect(failuresOf({ effects: [anEffect(), anEffect({ at: INJECTED_MS + 7_000 })] })).toContain('1 effects happened twice: key k1')
  })

  it('fails when the witness and the recorded steps differ, either way', () => {
    expect(failuresOf({ effects: [anEffect(), anEffect({ key: 'unknown' })] })).toContain('belong to no step')
    expect(failuresOf({ stories: [aStory({ keys: ['k1', 'k2'] })] })).toContain('1 applied steps have no effect')
  })

  it('fails when the verdict and the ground truth differ, either way', () => {
    const never = { ...theFacts().truth, healthyAgainAtMs: null }
    expect(failuresOf({ truth: never })).toContain('not healthy again, and the verdict is healed')
    expect(failuresOf({ stories: [aStory({ verdict: 'ineffective' })] })).toContain('the verdict is ineffective')
    expect(failuresOf({ stories: [aStory({ recordedAfterMs: 6_000 })] })).toContain('came 2000 ms before the fleet was healthy')
  })

  it('fails when the MTTR in ClickHouse is missing or more than two seconds off', () => {
    expect(failuresOf({ mttrMs: null })).toContain('no MTTR')
    expect(failuresOf({ mttrMs: 10_001 })).toContain('2001 ms apart')
    expect(failuresOf({ mttrMs: 6_000 })).toBe('')
  })

  it('allows for the time that the lab stood still, and no more', () => {
    const late = { stories: [aStory({ openedAfterMs: 19_000 })], mttrMs: 14_000 }
    expect(failuresOf({ ...late, heldUpMs: 4_000 })).toBe('')
    expect(failuresOf({ ...late, heldUpMs: 3_999 })).toContain('at most 18999 are allowed')
    expect(failuresOf({ ...late, heldUpMs: 3_999 })).toContain('at most 5999 are allowed')
    const samples = [0, 200, 400, 5_000, 5_200].map(sentAtMs => ({ sentAtMs, ok: true, isSlow: false, durationMs: 1, detail: '' }))
    expect([heldUpMs(samples, 0), heldUpMs(samples, 500), heldUpMs([], 0)]).toEqual([4_400, 0, 0])
  })
})
