// F2: one trigger in five is an alarm about a member that is well. Wrong acts stay at most 5 % of the triggers, whatever comes at once.
//
// Real faults break two parts of a member and come in pairs, so that the blast radius (one at a time) has something to hold back.
// A random alarm is one alert of one part. What tells them apart is the policy: `evidence.membersMin: 2`.

import { type Assertion, judge, that, withFigures } from '../assertions.ts'
import { type Answer, answersFirst, explanationOf } from '../people.ts'
import { until } from '../rig.ts'
import type { GuardCase, GuardFacts, GuardStage } from './stage.ts'
import { entityOf } from './watcher.ts'

const NOISY = ['noisy1', 'noisy2', 'noisy3', 'noisy4'] as const
const PAIRS = 6
const RANDOM = 3 // Of 15 triggers.
/** Two incidents each: closer together they would be a storm, and its brake would hold everything. */
const PAIR_MS = 18_000
const RANDOM_MS = 9_000
const ALARM_MS = 4_000
const WRONG_RATIO_MAX = 0.05
const HEALTHY_DEADLINE_MS = 60_000
/** A process that was made just before its member answered again. */
const SLACK_MS = 500

/** When a member was broken, by the injector and the lab's own look. */
interface Broken {
  member: string
  fromMs: number
  toMs: number
}

export const randomAlarms: GuardCase = {
  name: 'F2',
  title: 'one trigger in five is a random alarm: wrong acts at most 5 % of triggers, one target at a time',
  async play(stage) {
    await stage.enter(NOISY, ['a', 'b'])
    const injectedAtMs = Date.now()
    const broken: Promise<Broken>[] = []
    const alarmed: Broken[] = []
    const slots = stage.random.fork('random-alarms').shuffle([...Array<'pair'>(PAIRS).fill('pair'), ...Array<'random'>(RANDOM).fill('random')])
    // Each member in its turn, so that none breaks so often that it would rightly be called flapping.
    const inTurn = stage.random.fork('members').shuffle(NOISY)
    const done = { pair: 0, random: 0 }
    for (const slot of slots) {
      if (stage.signal.aborted) break
      const endMs = Date.now() + (slot === 'pair' ? PAIR_MS : RANDOM_MS)
      const turn = done[slot]++
      if (slot === 'pair') broken.push(...[0, 1].map(offset => breakOne(stage, inTurn[(2 * turn + offset) % NOISY.length]!)))
      else alarmed.push(await alarmOne(stage, inTurn[turn % NOISY.length]!))
      await stage.wait(Math.max(0, endMs - Date.now()))
    }
    const spans = await Promise.all(broken)
    const facts = await stage.over(NOISY, injectedAtMs)
    const wrong = facts.effects.filter(({ target, atMs }) => !spans.some(one => one.member === target && atMs >= one.fromMs && atMs <= one.toMs + SLACK_MS))
    const triggers = 2 * PAIRS + RANDOM
    const most = mostAtOnce(facts)
    const expected = { detectedWithinMs: null, cause: null, targets: NOISY, effects: [2 * PAIRS, 2 * PAIRS + 1], verdict: 'healed', pages: 0 } as const
    const report = judge('F2', stage.seed, expected, facts, [
      that('wrong acts', wrong.length / triggers <= WRONG_RATIO_MAX, `${wrong.length} of ${triggers} triggers led to an act on a member that was well`),
      await explainsOne(stage, 'random', facts, alarmed, {
        did: 'it went away by itself',
        why: '1 open anomalies, 2 are needed',
        change: '1 more open anomalies'
      }),
      await explainsOne(stage, 'real', facts, spans, { did: 'Over: restart-', why: 'healed', change: 'Nothing is left to do' }),
      that('blast radius', most === 1, `${most} targets under treatment at once, 1 allowed`)
    ])
    return [withFigures(report, { triggers, wrongActs: wrong.length, wrongRatio: wrong.length / triggers, atOnceMax: most })]
  }
}

async function breakOne(stage: GuardStage, member: string): Promise<Broken> {
  const fromMs = Date.now()
  await stage.fault(member, 'a', true)
  await stage.fault(member, 'b', true)
  await until(stage, HEALTHY_DEADLINE_MS, () => stage.isHealthy(member))
  return { member, fromMs, toMs: Date.now() }
}

async function alarmOne(stage: GuardStage, member: string): Promise<Broken> {
  const fromMs = Date.now()
  await stage.watcher.alarm([{ member, part: 'a' }], true)
  await stage.wait(ALARM_MS)
  await stage.watcher.alarm([{ member, part: 'a' }], false)
  return { member, fromMs, toMs: Date.now() }
}

/** The first of these moments that has an incident of its own: it is over for long. */
async function explainsOne(stage: GuardStage, name: string, { stories }: GuardFacts, moments: readonly Broken[], answer: Answer): Promise<Assertion> {
  const told = moments.flatMap(({ member, fromMs, toMs }) =>
    stories.filter(({ incident }) => incident.causes[0]?.entity === entityOf(member) && incident.openedAtMs >= fromMs && incident.openedAtMs <= toMs)
  )
  return answersFirst(await explanationOf(stage, name, told[0]), answer)
}

/** Targets between the begin of an act and its verdict. */
function mostAtOnce({ stories }: GuardFacts): number {
  const spans = stories
    .flatMap(({ outcomes }) => outcomes)
    .flatMap(({ begunAtMs, recordedAtMs, target }) => (begunAtMs === null ? [] : [{ begunAtMs, recordedAtMs, target }]))
  return Math.max(
    0,
    ...spans.map(one => new Set(spans.filter(other => other.begunAtMs <= one.begunAtMs && one.begunAtMs < other.recordedAtMs).map(({ target }) => target)).size)
  )
}
