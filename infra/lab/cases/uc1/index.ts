// UC1, crash loop: three pods die at start while the ledger hangs. Wait for the ledger, then replace one pod, once.
//
// Twins, on the same Homeostat: a rolling deploy restarts pods (nothing is done), and a bad configuration kills one pod for ever
// (three attempts, ever later; one call to people; then silence). Fast settings: seconds where defaults are minutes.

import { type AcceptanceReport, type Assertion, type Expectation, judge } from '../assertions.ts'
import type { AcceptanceCase } from '../case.ts'
import { gather, storiesSince } from '../gather.ts'
import { until } from '../rig.ts'
import { entityOf, LEDGER, SERVICE } from './pods.ts'
import { attemptsOf, spacingOf } from './spacing.ts'
import { openStage, restartsSince, that, thirdRestart, type Uc1Stage, wait } from './stage.ts'

const DETECTED_AFTER_THIRD_RESTART_MS = 10_000
const RESTARTS_MS_MAX = 60_000
/** The ledger stays away for so long after the actuator began to wait, drawn. */
const AWAY_MIN_MS = 4_000
const AWAY_MAX_MS = 9_000
const ACT_AFTER_ANSWER_MS = 3_000 // It looks twice a second.
const RESOLVED_DEADLINE_MS = 90_000
const ROLLOUT_WATCHED_MS = 5_000
const ATTEMPTS = 3
const ATTEMPTS_DEADLINE_MS = 120_000
/** Beyond the back-off that would come next: 40 s and a tenth. */
const SILENCE_MS = 45_000

export const crashLoop: AcceptanceCase = {
  name: 'UC1',
  title: 'pods crash while the ledger hangs: wait, then one replacement; a deploy: nothing; a bad configuration: three attempts and a call',
  async run(run) {
    const stage = await openStage(run)
    try {
      return [await hungDependency(stage), await badConfiguration(stage), await deploy(stage)]
    } finally {
      await stage.rig.end(run.keep)
    }
  }
}

async function hungDependency(stage: Uc1Stage): Promise<AcceptanceReport> {
  const { rig } = stage
  const injectedAtMs = Date.now()
  rig.say('UC1: the ledger hangs')
  stage.stopLedger()
  const third = await until(rig, RESTARTS_MS_MAX, () => thirdRestart(stage.events(), injectedAtMs))
  rig.say(`UC1: third restart of ${third?.pod ?? 'none'} after ${(third?.atMs ?? Number.NaN) - injectedAtMs} ms`)
  const waiting = await until(rig, RESTARTS_MS_MAX, async () => commanded(stage, injectedAtMs))
  await wait(rig, rig.random.fork('away').integer(AWAY_MIN_MS, AWAY_MAX_MS))
  const answersAtMs = Date.now()
  stage.continueLedger()
  rig.say(`UC1: the ledger answers again after ${answersAtMs - injectedAtMs} ms`)
  await untilResolved(stage, injectedAtMs)
  const facts = await gather(rig, injectedAtMs, await stage.isReady())
  const thirdMs = third === undefined ? 0 : third.atMs - injectedAtMs
  const expected: Expectation = {
    ...{ detectedWithinMs: thirdMs + DETECTED_AFTER_THIRD_RESTART_MS, cause: [LEDGER], targets: [stage.replaced] },
    ...{ effects: 1, verdict: 'healed', pages: 0 }
  }
  const effectMs = facts.effects.map(({ atMs }) => atMs - answersAtMs)
  const steps = facts.stories.flatMap(({ outcomes }) => outcomes.flatMap(outcome => outcome.steps))
  const waitedMs = steps.map(({ waited }) => (waited?.untilMs ? waited.untilMs - waited.sinceMs : null))
  const restarted = restartsSince(stage.events(), facts.effects[0]?.atMs ?? Date.now(), stage.replaced)
  const report = judge('UC1', rig.seed, expected, facts, [
    that('one incident', facts.stories.length === 1, `${facts.stories.length} incidents: ${facts.stories.map(({ incident }) => incident.title).join('; ')}`),
    that(
      'waited',
      waiting !== undefined && effectMs.every(ms => ms >= 0),
      `decided ${waiting === undefined ? 'never' : 'while it was away'}, effects ${effectMs.join(', ')} ms after it answered`
    ),
    that(
      'at once',
      effectMs.every(ms => ms <= ACT_AFTER_ANSWER_MS),
      `effects ${effectMs.join(', ')} ms after the ledger answered, at most ${ACT_AFTER_ANSWER_MS} are allowed`
    ),
    that('stays up', restarted.length === 0, `${restarted.length} restarts of ${stage.replaced} after it was replaced`)
  ])
  const figures = { thirdRestartMs: thirdMs, awayMs: answersAtMs - injectedAtMs, actedAfterAnswerMs: effectMs[0] ?? null, waitedMs: waitedMs[0] ?? null }
  return { ...report, figures: { ...report.figures, ...figures } }
}

/** The first decision to act, which is where the wait begins. */
async function commanded({ rig }: Uc1Stage, sinceMs: number) {
  return (await storiesSince(rig, sinceMs)).flatMap(({ decisions }) => decisions).find(({ outcome }) => outcome === 'act')
}

async function untilResolved({ rig, isReady }: Uc1Stage, sinceMs: number): Promise<void> {
  await until(rig, RESOLVED_DEADLINE_MS, async () => {
    const stories = await storiesSince(rig, sinceMs).catch(() => [])
    return stories.length > 0 && stories.every(({ incident }) => incident.status === 'resolved') && (await isReady())
  })
}

async function deploy(stage: Uc1Stage): Promise<AcceptanceReport> {
  const { rig } = stage
  // A restart by the roll-out would count in a loop that is not over, and a loop that begins soon after it would seem to begin with it.
  await untilResolved(stage, 0)
  const injectedAtMs = Date.now()
  rig.say('UC1/deploy: a new version is rolled out')
  await stage.rollOut()
  await wait(rig, ROLLOUT_WATCHED_MS)
  const facts = await gather(rig, injectedAtMs, await stage.isReady())
  const restarts = restartsSince(stage.events(), injectedAtMs)
  const expected: Expectation = { detectedWithinMs: null, cause: null, targets: [], effects: 0, verdict: null, pages: 0 }
  return judge('UC1/deploy', rig.seed, expected, facts, [that('look-alike', restarts.length >= 3, `${restarts.length} restarts by the roll-out`)])
}

async function badConfiguration(stage: Uc1Stage): Promise<AcceptanceReport> {
  const { rig, broken } = stage
  const injectedAtMs = Date.now()
  rig.say(`UC1/config: a bad configuration kills ${broken} at each start`)
  stage.configure(broken, false)
  const isCalled = (): boolean => rig.pages.received().some(({ atMs, action }) => atMs >= injectedAtMs && action === 'trigger')
  await until(rig, ATTEMPTS_DEADLINE_MS, isCalled)
  const calledAtMs = Date.now()
  await wait(rig, SILENCE_MS)
  const facts = await gather(rig, injectedAtMs, false)
  const third = thirdRestart(stage.events(), injectedAtMs, [broken])
  const expected: Expectation = {
    ...{ detectedWithinMs: (third === undefined ? 0 : third.atMs - injectedAtMs) + DETECTED_AFTER_THIRD_RESTART_MS, cause: [entityOf(broken), SERVICE] },
    ...{ targets: [broken], effects: ATTEMPTS, verdict: 'ineffective', pages: 1 }
  }
  const attempts = attemptsOf(facts)
  const own: Assertion[] = [
    ...spacingOf(attempts),
    that(
      'silence',
      facts.effects.every(({ atMs }) => atMs < calledAtMs),
      `${SILENCE_MS} ms without an effect after the call`
    )
  ]
  stage.configure(broken, true)
  const report = judge('UC1/config', rig.seed, expected, facts, own)
  const spacing = Object.fromEntries(attempts.map(({ waitedMs }, index) => [`wait${index + 1}Ms`, waitedMs]))
  return { ...report, figures: { ...report.figures, ...spacing } }
}
