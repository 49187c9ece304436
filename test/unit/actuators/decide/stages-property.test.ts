// Whatever the order of outcomes, their verdicts and the restarts between: never more members than the stage and the blast radius allow.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Verdict } from '../../../../schemas/outcome.ts'
import { VERDICTS } from '../../../../schemas/outcome.ts'
import { T0 } from './builders.ts'
import { memberNames, staged } from './stages-world.ts'

const RUNS = 300
const ROUNDS_MAX = 40
const SECONDS_A_ROUND = 11 // Longer than the cooldown, so that what was refused can have its turn again.
const spec = (concurrentMax: number) =>
  `autonomy: auto\ncooldown: {initial: 10s, factor: 1, jitter: 0}\nattempts: {max: 50, window: 1h, runbook: {max: 500}, environment: {max: 500}}\nblastRadius: {concurrentMax: ${concurrentMax}}`

/** Members beyond which nothing may be ordered while some of those before are not verified; computed from the stages as written. */
function reach(stages: readonly (number | string)[], count: number, isVerified: (index: number) => boolean): number {
  const ends = stages.map(stage => Math.min(count, typeof stage === 'number' ? stage : Math.ceil((count * Number.parseInt(stage, 10)) / 100)))
  return ends.find(end => ![...Array(end).keys()].every(isVerified)) ?? count
}

test('never more members in flight or unverified than the stage allows', () => {
  const worlds = fc.record({
    count: fc.integer({ min: 1, max: 12 }),
    stages: fc.constantFrom<(number | string)[]>([1, '25%', '100%'], [1, 2, 3, '100%'], ['50%', '100%'], ['100%'], [2, '75%']),
    concurrentMax: fc.integer({ min: 1, max: 5 }),
    answers: fc.array(fc.record({ pick: fc.nat(), verdict: fc.constantFrom<Verdict>('healed', 'healed', 'healed', ...VERDICTS), isRestart: fc.boolean() }), {
      maxLength: ROUNDS_MAX
    })
  })
  const seen = { stopped: 0, undone: 0, beyondFirst: 0 }
  fc.assert(
    fc.property(worlds, ({ count, stages, concurrentMax, answers }) => {
      const options = { spec: spec(concurrentMax), stages: `[${stages.join(', ')}]`, members: count }
      let world = staged(options)
      const names = memberNames(count)
      const verdicts = new Map<string, Verdict>()
      const ordered: ReturnType<typeof world.commands> = []
      const look = (): void => {
        for (const command of world.commands()) if (!ordered.includes(command)) ordered.push(command)
        expect(new Set(ordered.map(({ id }) => id)).size).toBe(ordered.length)
        const acts = ordered.filter(({ undoes }) => undoes === undefined)
        const open = ordered.filter(({ id }) => !verdicts.has(id))
        expect(new Set(open.map(({ target }) => target)).size).toBeLessThanOrEqual(concurrentMax)
        expect(open.length).toBeLessThanOrEqual(concurrentMax)
        const isVerified = (index: number): boolean => acts.some(({ id, target }) => target === names[index] && verdicts.get(id) === 'healed')
        const touched = Math.max(0, ...acts.map(({ target }) => names.indexOf(target) + 1))
        expect(touched).toBeLessThanOrEqual(reach(stages, count, isVerified))
        if (touched > 1) seen.beyondFirst++
        // Once one was not healed, nothing is begun any more but taking back.
        const failed = acts.findIndex(({ id }) => !['healed', 'refused', 'undone', undefined].includes(verdicts.get(id)))
        if (failed >= 0) seen.stopped++
        seen.undone += ordered.filter(({ undoes }) => undoes !== undefined).length
      }
      look()
      for (const [round, { pick, verdict, isRestart }] of answers.entries()) {
        const atS = SECONDS_A_ROUND * (round + 1)
        const open = ordered.filter(({ id }) => !verdicts.has(id))
        const command = open[pick % Math.max(1, open.length)]
        if (isRestart) {
          world = staged({ ...options, state: JSON.parse(JSON.stringify(world.state)) })
        }
        const stopsNow = ordered.some(({ id, undoes }) => undoes === undefined && !['healed', 'refused', 'undone', undefined].includes(verdicts.get(id)))
        if (command !== undefined) {
          // The actuator answers an act and a taking back with words of their own.
          const said =
            command.undoes === undefined && verdict === 'undone' ? 'healed' : command.undoes !== undefined && verdict === 'healed' ? 'undone' : verdict
          verdicts.set(command.id, said)
          const { id: commandId, incidentId, decisionId, environment, target, runbook, policy, attempt } = command
          const of = { commandId, incidentId, decisionId, environment, target, runbook, policy, attempt }
          const times = { receivedAtMs: T0, begunAtMs: T0, healedAtMs: said === 'healed' ? T0 + atS * 1_000 : null, recordedAtMs: T0 + atS * 1_000 }
          const evidence = { signals: [], logs: [], spans: [], facts: {} }
          world.outcome(
            {
              ...of,
              ...times,
              evidence,
              id: `o-${commandId}`,
              verdict: said,
              reason: said,
              refusedBy: said === 'refused' ? 'fence' : null,
              steps: [],
              cost: 0,
              escalated: false
            },
            atS
          )
        }
        world.tick(atS + SECONDS_A_ROUND - 1)
        const before = ordered.length
        look()
        if (stopsNow) expect(ordered.slice(before).every(({ undoes }) => undoes !== undefined)).toBe(true)
      }
    }),
    { numRuns: RUNS, seed: 6 }
  )
  // It would prove nothing if none of this had come about.
  for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(50)
})
