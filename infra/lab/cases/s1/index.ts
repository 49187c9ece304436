// S1, crash loop end to end under crashes: the twin of UC1 that needs three attempts, while Homeostat is killed at every state transition.
//
// One process has all roles here, so each kill -9 hits all of them at one named point of one of them (points.ts: 46; a third a seed,
// so that three seeds in a row visit all). The clock of Homeostat is set back by 30 s in the first back-off, and forward again while
// the second attempt is verified. Must: one effect an attempt at the witness, no more attempts than the budget has, no back-off cut
// short, one call, no command without its outcome.

import { TOLERANCES } from '../../scorecard.ts'
import { type AcceptanceReport, type Assertion, type CaseFacts, type Expectation, judge, that, withFigures } from '../assertions.ts'
import type { AcceptanceCase } from '../case.ts'
import { readEffects } from '../effects.ts'
import { perform } from '../frame.ts'
import { gather, storiesSince } from '../gather.ts'
import { watchFault } from '../ground-truth.ts'
import { type Answer, answersFirst, explanationOf } from '../people.ts'
import { type Rig, until, wait } from '../rig.ts'
import { entityOf, SERVICE } from '../uc1/pods.ts'
import { type AttemptSeen, attemptsOf, spacingOf } from '../uc1/spacing.ts'
import { CLOSED_AFTER_MS, clusterOf, coverageOf, openStage, thirdRestart, type Uc1Stage, untilResolved } from '../uc1/stage.ts'
import { stepClock } from './arming.ts'
import { type Hit, visit } from './chaos.ts'
import { type Point, shareOf } from './points.ts'

const ATTEMPTS = 3
const CLOCK_STEP_MS = 30_000
const STEP_DEADLINE_MS = 60_000
const CALL_DEADLINE_MS = 60_000
const CALLED_MS = 3_000 // What happens with the call itself is over by then.
/** Beyond the back-off that would come next: 40 s and a tenth. */
const SILENCE_MS = 45_000
/** Between ready and acting: claims, reads, the next tick. */
const PICK_UP_MS = 5_000
/** From the third restart on, beside the time in which nobody was there. */
const DETECTED_MS = 10_000
/** Between the intent in the ledger and the call that has the effect. */
const BEFORE_EFFECT: readonly Point[] = ['ledger.begun:after', 'act.call:before']
/** Which guard ends it depends on where it was killed: an attempt may be used up, refused, or of unknown effect. */
const GAVE_UP: Answer = { did: 'It gave up and called people.', why: 'Why: ', change: 'What would change that: ' }

export const crashLoopUnderCrashes: AcceptanceCase = {
  name: 'S1',
  title: 'three attempts on a crash loop while Homeostat is killed at every state transition and its clock is stepped',
  run: run =>
    perform<S1Stage>(run, {
      name: 'S1',
      rig: clusterOf(run.seed, { main: new URL('./main.ts', import.meta.url).pathname, commandExpiry: '60s' }),
      setUp: async rig => ({ ...(await openStage(rig)), hits: [], steps: [] }),
      warmUp: true,
      plays: [{ name: 'S1', play: underCrashes }],
      watchAudit: false,
      scorecard: stage => ({
        excused: { m10: 'nobody can look at ClickHouse while Homeostat is away, and its clock is stepped' },
        tolerances: {
          // Mended by the case: for ClickHouse that is over when the alert closes.
          m1: TOLERANCES.m1 + CLOSED_AFTER_MS / 1_000,
          // M5 ends with the intent in the ledger, the witness sees the effect: killed between them, it was away meanwhile.
          m5: TOLERANCES.m5 + awayMs(stage.hits.filter(({ point }) => BEFORE_EFFECT.includes(point))) / 1_000
        },
        coverage: () => coverageOf(stage),
        madeAtMs: ({ atMs }) => atMs + stepAt(stage.steps, atMs)
      })
    })
}

interface S1Stage extends Uc1Stage {
  /** The kills of the run. */
  hits: Hit[]
  /** What was added to Homeostat's clock, from when on. */
  steps: { atMs: number; stepMs: number }[]
}

const stepAt = (steps: S1Stage['steps'], atMs: number): number => steps.findLast(step => step.atMs <= atMs)?.stepMs ?? 0

async function underCrashes(stage: S1Stage): Promise<AcceptanceReport> {
  const { rig, broken, hits } = stage
  const share = shareOf(rig.seed)
  const injectedAtMs = Date.now()
  const effects = () => readEffects(rig.folder, injectedAtMs).length
  rig.say(`S1: a bad configuration kills ${broken} at each start`)
  stage.configure(broken, false)
  watchFault(rig, injectedAtMs, stage.isReady)
  const step = (stepMs: number): void => {
    stepClock(rig.folder, stepMs)
    stage.steps.push({ atMs: Date.now(), stepMs })
  }
  const restored = until(rig, 4 * STEP_DEADLINE_MS, () => effects() >= 2).then(() => step(0))
  const isCalled = (): boolean => rig.pages.received().some(({ atMs }) => atMs >= injectedAtMs && Date.now() - atMs >= CALLED_MS)
  const [first, second, third] = share.attempts
  hits.push(...(await visit(rig, first!)))
  await until(rig, STEP_DEADLINE_MS, async () => (await storiesSince(rig, injectedAtMs).catch(() => [])).some(({ outcomes }) => outcomes.length > 0))
  rig.say(`S1: the clock of Homeostat is set back by ${CLOCK_STEP_MS} ms`)
  step(-CLOCK_STEP_MS)
  hits.push(...(await visit(rig, [...share.steady, ...second!], isCalled)))
  hits.push(...(await visit(rig, [...third!, ...share.call], isCalled)))
  await until(rig, CALL_DEADLINE_MS, isCalled)
  const calledAtMs = Date.now()
  await wait(rig, SILENCE_MS)
  await restored
  const facts = await gather(rig, injectedAtMs, false)
  const attempts = attemptsOf(facts)
  const report = judge('S1', rig.seed, expectation(stage, injectedAtMs, hits), facts, [
    ...spacingOf(attempts, latenessOf(attempts, hits)).filter(({ name }) => name === 'spacing'),
    visited(hits),
    oneEffectAnAttempt(facts),
    // Killed every few seconds, Homeostat may miss its own telemetry too: an incident of its own, about which nothing is done.
    answersFirst(
      await explanationOf(
        rig,
        'under-crashes',
        facts.stories.findLast(({ outcomes }) => outcomes.length > 0)
      ),
      GAVE_UP
    ),
    await noOrphans(rig),
    that(
      'silence',
      facts.effects.every(({ atMs }) => atMs < calledAtMs),
      `${SILENCE_MS} ms without an effect after the call`
    )
  ])
  // Over, so that the scorecard has a closed incident.
  stage.configure(broken, true)
  await untilResolved(stage, injectedAtMs)
  return withFigures(report, figuresOf(hits, attempts))
}

function expectation({ events, broken }: Uc1Stage, injectedAtMs: number, hits: readonly Hit[]): Expectation {
  const third = thirdRestart(events(), injectedAtMs, [broken])
  return {
    detectedWithinMs: (third?.atMs ?? injectedAtMs) - injectedAtMs + DETECTED_MS + awayMs(hits, injectedAtMs),
    cause: [entityOf(broken), SERVICE],
    targets: [broken],
    effects: [1, ATTEMPTS],
    // What was measured while nobody listened is missing: then no verdict is possible, and none is made up. An attempt whose time was
    // over before anybody was there to make it is refused.
    verdict: ['ineffective', 'inconclusive', 'refused'],
    pages: 1
  }
}

/** How long Homeostat was away between two moments, and what it needs to go on after each time. */
function awayMs(hits: readonly Hit[], fromMs = 0, toMs = Number.POSITIVE_INFINITY): number {
  const within = hits.filter(({ crashedAtMs }) => crashedAtMs !== null && crashedAtMs >= fromMs && crashedAtMs <= toMs)
  return within.reduce((sum, { crashedAtMs, readyAtMs }) => sum + readyAtMs! - crashedAtMs! + PICK_UP_MS, 0)
}

/** By how much each back-off may be longer: times away, and the step of the clock in the first. */
function latenessOf(attempts: readonly AttemptSeen[], hits: readonly Hit[]): number[] {
  return attempts.slice(1).map(({ effectAtMs }, index) => awayMs(hits, attempts[index]!.effectAtMs, effectAtMs) + (index === 0 ? CLOCK_STEP_MS : 0))
}

function visited(hits: readonly Hit[]): Assertion {
  const missed = hits.filter(({ crashedAtMs }) => crashedAtMs === null).map(({ point }) => point)
  return that(
    'points',
    missed.length === 0,
    `killed at ${hits.length - missed.length} of ${hits.length} points${missed.length === 0 ? '' : `, never passed: ${missed.join(', ')}`}`
  )
}

function oneEffectAnAttempt({ stories, effects }: CaseFacts): Assertion {
  const outcomes = stories.flatMap(story => story.outcomes)
  // Attempts are counted within an incident, and there may be several: a command is one attempt.
  const commands = effects.map(({ key }) => outcomes.find(({ steps }) => steps.some(step => step.idempotencyKey === key))?.commandId)
  const once = new Set(commands).size === commands.length && !commands.includes(undefined)
  const within = outcomes.length <= ATTEMPTS
  return that('once an attempt', once && within, `${effects.length} effects of ${new Set(commands).size} commands, ${outcomes.length} attempts of ${ATTEMPTS}`)
}

async function noOrphans({ homeostat }: Rig): Promise<Assertion> {
  const [row] = await homeostat.sql<{ commands: number; open: number; twice: number }>(
    `SELECT uniqExact(CommandId) AS commands, countIf(outcomes = 0) AS open, countIf(outcomes > 1) AS twice FROM
      (SELECT c.CommandId AS CommandId, uniqExactIf(o.OutcomeId, o.OutcomeId != '') AS outcomes
       FROM homeostat_commands AS c LEFT JOIN homeostat_outcomes AS o ON o.CommandId = c.CommandId GROUP BY CommandId)`
  )
  const { commands = 0, open = 0, twice = 0 } = row ?? {}
  return that(
    'no orphan',
    Number(commands) > 0 && Number(open) === 0 && Number(twice) === 0,
    `${commands} commands, ${open} without an outcome, ${twice} with two`
  )
}

function figuresOf(hits: readonly Hit[], attempts: readonly AttemptSeen[]): AcceptanceReport['figures'] {
  const ready = hits.flatMap(({ crashedAtMs, readyAtMs }) => (crashedAtMs === null || readyAtMs === null ? [] : [readyAtMs - crashedAtMs]))
  const waits = Object.fromEntries(attempts.map(({ waitedMs }, index) => [`wait${index + 1}Ms`, waitedMs]))
  return { points: ready.length, readyMsMax: Math.max(0, ...ready), ...waits }
}
