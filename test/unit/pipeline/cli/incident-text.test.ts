// The story of an incident as a terminal shows it.

import { expect, test } from 'vitest'
import { incidentText } from '../../../../pipeline/cli/incident-text.ts'
import type { Decision } from '../../../../schemas/decision.ts'
import type { CheckResult, StepResult } from '../../../../schemas/outcome.ts'
import { anIncident, anOutcome, T0 } from '../../actuators/decide/builders.ts'

const aCheck = (fields: Partial<CheckResult>): CheckResult => ({
  ...{ name: 'serving', type: 'http', result: 'pass', value: null, samples: 1, expect: 'status 200', detail: '', atMs: 0 },
  ...fields
})

function storyOf(checks: readonly CheckResult[]): string[] {
  const incident = anIncident()
  const act = { id: 'd', incidentId: incident.id, environment: 'lab', target: 'lab/orders@orders-1', policy: 'orders', runbook: 'restart' }
  const decision = { ...act, commandId: 'c', attempt: 1, decidedAtMs: T0 } as Decision
  const step: StepResult = {
    ...{ idempotencyKey: 'k', name: 'act', driver: 'process', verb: 'restart', target: 'orders-1', result: 'applied', detail: 'restarted' },
    ...{ waited: null, begunAtMs: T0, appliedAtMs: T0, verdict: 'healed', checks: [...checks], undo: 'none' }
  }
  const outcomes = [anOutcome(decision, 'healed', { steps: [step] })]
  return incidentText({ incident, anomalies: [], decisions: [], outcomes, explanation: ['orders is silent'] }).split('\n')
}

test('a check says what it saw: a figure where there is one, of how many samples where there are several', () => {
  const lines = storyOf([
    aCheck({ value: 200, detail: 'answered 200' }),
    aCheck({ name: 'running', type: 'state', expect: 'facts.state == "running"', detail: 'state running: holds' }),
    aCheck({ name: 'errors', type: 'metric', value: 0.1724137931034483, samples: 3, expect: 'value < 0.5' })
  ]).map(line => line.trim())
  expect(lines).toEqual(
    expect.arrayContaining([
      'check serving: pass, value 200, wanted status 200: answered 200',
      'check running: pass, wanted facts.state == "running": state running: holds',
      'check errors: pass, value 0.172 of 3 samples, wanted value < 0.5'
    ])
  )
})

test('no line is wider than a hundred columns', () => {
  const lines = storyOf([aCheck({ detail: 'a reason that goes on and on '.repeat(10) })])
  expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(100)
})
