// What holds in any order of people's words and others' deeds: no act during a deploy, a hands-off period or after two reverts,
// none without people while the error budget is gone or the level was lost, never more than the environment's budget.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Control } from '../../../../schemas/control.ts'
import { aCause, anIncident, anOutcome, decider, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const HANDS_OFF_S = 120
const SETTLE_S = 60
const ENVIRONMENT_MAX = 4
const SPEC = `autonomy: auto
cooldown: {initial: 1s, jitter: 0.5}
attempts: {max: 3, window: 1h, environment: {max: ${ENVIRONMENT_MAX}, window: 1h}}
blastRadius: {concurrentMax: 3}
ownership: {handsOff: ${HANDS_OFF_S}s, revertWindow: 1d}
deploys: {settle: ${SETTLE_S}s}
errorBudget: {}`

type Change = Extract<Control, { kind: 'change' }>

test('no act against people, others, or an empty budget', () => {
  const target = fc.integer({ min: 0, max: 2 })
  const move = fc.oneof(
    fc.record({ kind: fc.constant('incident' as const), id: fc.integer({ min: 0, max: 5 }), target }),
    fc.record({ kind: fc.constant('outcome' as const), verdict: fc.constantFrom('healed' as const, 'ineffective' as const, 'harmful' as const) }),
    fc.record({
      kind: fc.constant('change' as const),
      target,
      what: fc.constantFrom('deploy' as const, 'manual' as const, 'revert' as const),
      lastsS: fc.nat(60)
    }),
    fc.record({ kind: fc.constant('budget' as const), left: fc.constantFrom(0, 0.5) }),
    fc.record({ kind: fc.constant('answer' as const), approved: fc.boolean() }),
    fc.record({ kind: fc.constant('grant' as const) }),
    fc.record({ kind: fc.constant('tick' as const), seconds: fc.integer({ min: 1, max: 300 }) })
  )
  let acts = 0
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), moves => {
      const one = decider(policySet(policyYaml(SPEC), runbookYaml()))
      const changes: Change[] = []
      const approved = new Set<string>()
      const settled = new Set<string>()
      let versions = 0
      let left = 1
      let demotions = 0
      let atS = 0
      let seen = 0
      for (const step of moves) {
        atS++
        const atMs = T0 + atS * 1_000
        const name = 'target' in step ? `lab/orders@orders-${step.target}` : ''
        if (step.kind === 'tick') {
          atS += step.seconds
          one.tick(atS)
        } else if (step.kind === 'incident') {
          one.incident(
            anIncident({ id: `incident-${step.id}`, version: ++versions, causes: [aCause({ entity: name })], openedAtMs: T0, unknownEntities: [] }),
            atS
          )
        } else if (step.kind === 'outcome') {
          const command = one.commands().find(known => !settled.has(known.id))
          if (command === undefined) continue
          settled.add(command.id)
          if (step.verdict === 'harmful') demotions++
          one.outcome(anOutcome(one.decisions().find(known => known.commandId === command.id)!, step.verdict, { recordedAtMs: atMs }), atS)
        } else if (step.kind === 'change') {
          const record: Change = {
            kind: 'change',
            id: `c${atS}`,
            environment: 'lab',
            target: name,
            actor: 'argo',
            what: step.what,
            fromMs: atMs,
            toMs: atMs + step.lastsS * 1_000,
            by: 'argo',
            atMs
          }
          changes.push(record)
          one.control(record, atS)
        } else if (step.kind === 'budget') {
          left = step.left
          one.control({ kind: 'error_budget', environment: 'lab', service: '*', remainingRatio: left, burnRate: 0, by: 'slo', atMs }, atS)
        } else if (step.kind === 'answer') {
          const question = one.decisions().findLast(decision => decision.outcome === 'ask')
          if (question === undefined) continue
          if (step.approved) approved.add(question.incidentId)
          one.control({ kind: 'approval', incidentId: question.incidentId, decisionId: question.id, approved: step.approved, by: 'ada', atMs }, atS)
        } else {
          demotions = 0
          one.control({ kind: 'autonomy', policy: 'orders', reason: '', by: 'ada', atMs }, atS)
        }
        for (const command of one.commands().slice(seen)) {
          acts++
          const nowMs = command.issuedAtMs
          const own = changes.filter(change => change.target === command.target && change.fromMs <= nowMs)
          for (const change of own) expect(nowMs).toBeGreaterThanOrEqual(change.toMs! + (change.what === 'deploy' ? SETTLE_S : HANDS_OFF_S) * 1_000)
          expect(own.filter(change => change.what === 'revert').length).toBeLessThan(2)
          if (left === 0 || demotions > 0) expect(approved).toContain(command.incidentId)
          expect(demotions).toBeLessThan(3)
        }
        seen = one.commands().length
        expect(one.commands().filter(command => command.issuedAtMs > T0 + atS * 1_000 - 3_600_000).length).toBeLessThanOrEqual(ENVIRONMENT_MAX)
      }
    }),
    { numRuns: 300 }
  )
  expect(acts).toBeGreaterThan(100) // Else the test says nothing.
})
