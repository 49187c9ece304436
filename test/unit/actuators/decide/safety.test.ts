// What holds in any order of events: one command per target, budgets, blast radius, growing fences, ids that never repeat.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Verdict } from '../../../../schemas/outcome.ts'
import { aCause, anIncident, anOutcome, decider, killSwitch, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

test('whatever happens, a target never has two commands in flight, nor more attempts than its budget, and fences only grow', () => {
  const verdicts: Verdict[] = ['healed', 'partial', 'ineffective', 'harmful', 'inconclusive', 'unknown', 'refused']
  const move = fc.oneof(
    fc.record({
      kind: fc.constant('incident' as const),
      id: fc.integer({ min: 0, max: 3 }),
      target: fc.integer({ min: 0, max: 2 }),
      healed: fc.boolean(),
      over: fc.boolean()
    }),
    fc.record({ kind: fc.constant('outcome' as const), pick: fc.nat(5), verdict: fc.constantFrom(...verdicts) }),
    fc.record({ kind: fc.constant('release' as const), target: fc.integer({ min: 0, max: 2 }) }),
    fc.record({ kind: fc.constant('switch' as const), on: fc.boolean() }),
    fc.record({ kind: fc.constant('tick' as const), seconds: fc.integer({ min: 1, max: 120 }) })
  )
  const spec = 'autonomy: auto\ncooldown: {initial: 1s, jitter: 0.5}\nattempts: {max: 2, window: 1h}\nblastRadius: {concurrentMax: 2}'
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), moves => {
      const { feed, decisions, commands } = decider(policySet(policyYaml(spec), runbookYaml()))
      const settled = new Set<string>()
      const versions = new Map<string, number>()
      let atS = 0
      for (const step of moves) {
        atS++
        if (step.kind === 'tick') {
          atS += step.seconds
          feed({ kind: 'tick' }, atS)
        } else if (step.kind === 'incident') {
          const id = `incident-${step.id}`
          versions.set(id, (versions.get(id) ?? 0) + 1)
          const causes = [aCause({ entity: `lab/orders@orders-${step.target}` })]
          const fields = {
            id,
            causes,
            version: versions.get(id)!,
            openedAtMs: T0,
            healedAtMs: step.healed ? T0 : null,
            status: step.over ? ('resolved' as const) : ('open' as const)
          }
          feed({ kind: 'incident', record: anIncident(fields) }, atS)
        } else if (step.kind === 'outcome') {
          const open = commands().filter(command => !settled.has(command.id))
          const command = open[step.pick % Math.max(1, open.length)]
          if (command === undefined) continue
          settled.add(command.id)
          const decision = decisions().find(one => one.commandId === command.id)!
          feed({ kind: 'outcome', record: anOutcome(decision, step.verdict, { recordedAtMs: T0 + atS * 1_000 }) }, atS)
        } else if (step.kind === 'release')
          feed({ kind: 'control', record: { kind: 'release_target', target: `lab/orders@orders-${step.target}`, by: 'ada', atMs: T0 + atS * 1_000 } }, atS)
        else feed({ kind: 'control', record: killSwitch('global', step.on, T0 + atS * 1_000) }, atS)
        const open = commands().filter(command => !settled.has(command.id) && T0 + atS * 1_000 < command.expiresAtMs)
        expect(new Set(open.map(command => command.target)).size).toBe(open.length)
        expect(open.length).toBeLessThanOrEqual(2)
      }
      for (const list of Map.groupBy(commands(), command => command.target).values()) {
        for (const [index, command] of list.entries()) {
          expect(list.filter(other => other.issuedAtMs > command.issuedAtMs - 3_600_000 && other.issuedAtMs <= command.issuedAtMs).length).toBeLessThanOrEqual(
            2
          )
          if (index > 0) expect(command.fence).toBeGreaterThan(list[index - 1]!.fence)
        }
      }
      const ids = decisions().map(decision => decision.id)
      expect(new Set(ids).size).toBe(ids.length)
      expect(new Set(commands().map(command => command.id)).size).toBe(commands().length)
    }),
    { numRuns: 300 }
  )
})

test('a record of an incident that was resolved is not decided anew, under ids that were used', () => {
  const { feed, decisions, commands } = decider(policySet(policyYaml('autonomy: auto\ncooldown: {initial: 1s}'), runbookYaml()))
  const incident = (version: number, status: 'open' | 'resolved') => anIncident({ id: 'incident-0', version, status, openedAtMs: T0 })
  feed({ kind: 'incident', record: incident(1, 'open') }, 1)
  expect(commands()).toHaveLength(1)
  feed({ kind: 'outcome', record: anOutcome(decisions()[0]!, 'healed', { recordedAtMs: T0 + 2_000 }) }, 2)
  feed({ kind: 'incident', record: incident(2, 'resolved') }, 3)
  feed({ kind: 'incident', record: incident(3, 'open') }, 4)
  expect(commands()).toHaveLength(1)
  expect(decisions()).toHaveLength(1)
})
