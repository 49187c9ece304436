// UC5, bad canary: a canary that fails 8 % of its requests loses its traffic by itself, once, and its version cannot come back by itself.
//
// Twins, on the same Homeostat: an equal canary is promoted; a paused one is aborted by a person; five requests a minute are too few, so
// people are asked and nothing is done; and when what both arms depend on fails, the dependency is accused and nobody rolled back.
//
//   customers ─► proxy (weights, witness) ─┬─► checkout 1.0.0, 1.0.0+baseline, 2.0.x ─► pricing
//                                          └─ PUT /versions/<target> ◄── Homeostat: roll-back-canary

import { join } from 'node:path'
import type { IncidentStory } from '../../../../pipeline/console/live-view.ts'
import type { Canary } from '../../../../schemas/canary.ts'
import { fastSettings } from '../../settings.ts'
import { type AcceptanceReport, type Assertion, type Expectation, judge, NOTHING, that, withFigures } from '../assertions.ts'
import type { AcceptanceCase } from '../case.ts'
import { type Performance, perform } from '../frame.ts'
import { gather, storiesSince } from '../gather.ts'
import { noteFault, watchFault } from '../ground-truth.ts'
import { type Answer, answersFirst, explainsInaction, explanationOf } from '../people.ts'
import { until } from '../rig.ts'
import { armName, BAD_ERROR_RATIO, BASELINE, CANARIES, DEPENDENCY, PROXY, SAMPLES_MIN, STABLE, targetOf } from './rollout.ts'
import { openStage, type Uc5Stage } from './stage.ts'

/** Customers a minute: each arm of a canary gets nine twentieths of them, so 200 requests in about six seconds. */
const BUSY_PER_MINUTE = 4_800
/** Five an arm. */
const QUIET_PER_MINUTE = 10
const ABORT_WITHIN_MS = 20_000
const VERDICT_DEADLINE_MS = 90_000
const OUTCOME_DEADLINE_MS = 45_000
/** So that five requests a minute reach each arm. */
const ONLY_ARMS = { canary: 50, baseline: 50, stable: 0 }
/** Of the quiet twin: fast settings, an hour by default. */
const DECIDE_WITHIN_MS = 30_000
const DEPENDENCY_FAILS = 0.4
const DEPENDENCY_WITHIN_MS = 15_000
const DEPENDENCY_WATCHED_MS = 15_000
const HEALTHY_WATCHED_MS = 5_000
/** Error ratios are alike when their difference lies within this many standard errors, or two requests. */
const STANDARD_ERRORS = 3

export const badCanary: AcceptanceCase = {
  name: 'UC5',
  title: 'a canary with 8 % more errors is rolled back and quarantined; equal: promoted; paused: abortable; quiet: people are asked; both bad: not its fault',
  run: run =>
    perform<Uc5Stage>(run, {
      name: 'UC5',
      rig: rollout(),
      setUp: rig => openStage(rig, BUSY_PER_MINUTE),
      plays: [
        { name: 'UC5', play: bad },
        { name: 'UC5/paused', play: paused },
        { name: 'UC5/quiet', play: quiet },
        { name: 'UC5/equal', play: equal },
        { name: 'UC5/starved', play: starved }
      ],
      between: stage => stage.backToStable(),
      watchAudit: true,
      scorecard: ({ rig }) => ({
        excused: {},
        takesBack: ({ what }) => what === 'weight 0',
        coverage: async () => ({ members: SENDERS.length, answering: SENDERS.filter(name => rig.find(name).length > 0).length })
      })
    })
}

const VERSIONS = [STABLE, BASELINE, ...Object.values(CANARIES)]
/** Programs with telemetry. */
const SENDERS = [PROXY, DEPENDENCY, ...VERSIONS.map(armName)]

function rollout(): Performance<Uc5Stage>['rig'] {
  const script = (name: string): string => join(import.meta.dirname, `${name}.ts`)
  const arm = (version: string) => ({
    script: script('arm'),
    args: [version],
    env: { ERROR_RATIO: version === CANARIES.bad ? String(BAD_ERROR_RATIO) : '0' }
  })
  return {
    ports: [PROXY, 'admin', DEPENDENCY, ...VERSIONS.map(armName)],
    rules: join(import.meta.dirname, 'rules'),
    // Requests are what this case is about; a Node.js process that just began grows for minutes, and is another matter.
    settings: ({ folder }) => ({ detect: { ...fastSettings(folder).detect, ignore: ['^process\\.'] } }),
    pageFrom: 'critical', // A question about a canary is a ticket.
    programs: () => ({
      [PROXY]: { script: script('proxy') },
      [DEPENDENCY]: { script: script('pricing') },
      ...Object.fromEntries(VERSIONS.map(version => [armName(version), arm(version)]))
    }),
    drivers: ({ ports }) => ({
      http: { endpoints: { weigh: { method: 'PUT', url: `http://127.0.0.1:${ports['admin']}/versions/{target}`, timeout: '5s' } } }
    })
  }
}

/** The case. */
async function bad(stage: Uc5Stage): Promise<AcceptanceReport> {
  const target = targetOf(CANARIES.bad)
  const injectedAtMs = await stage.release('bad')
  watchFault(stage.rig, injectedAtMs, () => stage.isWithoutWeight('bad'))
  const aborted = await until(stage.rig, VERDICT_DEADLINE_MS, () => stage.effects(injectedAtMs)[0])
  const atAbort = await stage.counts()
  stage.rig.say(`UC5: ${aborted === undefined ? 'not aborted' : `aborted ${aborted.atMs - injectedAtMs} ms after its start`}`)
  const canary = await untilOver(stage, 'bad', injectedAtMs)
  await stage.reset()
  await until(stage.rig, HEALTHY_WATCHED_MS, () => false)
  const after = total(await stage.counts())
  const restart = await stage.order('bad', 'start')
  const weight = await stage.weigh(CANARIES.bad, 10)
  const facts = await gather(stage.rig, injectedAtMs, alike(after, atAbort[BASELINE]!))
  const reachedMs = Math.max(...[CANARIES.bad, BASELINE].map(version => atAbort[version]?.reachedAtMs ?? Number.POSITIVE_INFINITY))
  const tookMs = aborted === undefined ? Number.POSITIVE_INFINITY : aborted.atMs - reachedMs
  const rollback = await stage.rollbacks()
  const expected: Expectation = {
    ...{ detectedWithinMs: reachedMs - injectedAtMs + ABORT_WITHIN_MS, cause: [target], targets: [target] },
    ...{ effects: 1, verdict: 'healed', pages: 0 }
  }
  const report = judge('UC5', stage.rig.seed, expected, facts, [
    answersFirst(await explanationOf(stage.rig, 'bad', canaryStory(facts.stories)), ROLLED_BACK),
    that('decided by enough', tookMs >= 0, `${figures(atAbort)} when it was aborted, ${SAMPLES_MIN} an arm are needed`),
    that('in time', tookMs <= ABORT_WITHIN_MS, `aborted ${tookMs} ms after both arms had ${SAMPLES_MIN} requests, ${ABORT_WITHIN_MS} allowed`),
    that('verdict of the canary', canary?.state === 'failed' && canary.quarantined, `${canary?.state ?? 'none'}: ${canary?.reason ?? ''}`),
    that('customers', alike(after, atAbort[BASELINE]!), `${ratio(after)} afterwards, ${ratio(atAbort[BASELINE]!)} at the baseline before`),
    that(
      'quarantine',
      restart.status === 409 && weight.status === 409,
      `start answered ${restart.status}, a weight at the proxy ${weight.status}: ${restart.message}`
    ),
    that('M7', rollback === 1, `${rollback ?? 'no'} commands of the scorecard's M7 are rollbacks`)
  ])
  return withFigures(report, { reachedMs: reachedMs - injectedAtMs, abortedAfterMs: tookMs, looks: canary?.looks ?? null })
}

async function equal(stage: Uc5Stage): Promise<AcceptanceReport> {
  const injectedAtMs = await stage.release('equal')
  const canary = await until(stage.rig, VERDICT_DEADLINE_MS, () => stage.canary('equal', ({ state }) => state !== 'running'))
  const promotedMs = Date.now() - injectedAtMs
  // What a deploy pipeline does that reads the verdict.
  if (canary?.state === 'passed') await stage.promote('equal')
  await stage.reset()
  await until(stage.rig, HEALTHY_WATCHED_MS, () => false)
  const counts = await stage.counts()
  const facts = await gather(stage.rig, injectedAtMs, true)
  const promoted = counts[CANARIES.equal]!
  const report = judge('UC5/equal', stage.rig.seed, NOTHING, facts, [
    that('passed', canary?.state === 'passed', `${canary?.state ?? 'undecided'}: ${canary?.reason ?? ''}`),
    that('decided by enough', Math.min(canary?.canary.requests ?? 0, canary?.baseline.requests ?? 0) >= SAMPLES_MIN, `${canary?.canary.requests} requests`),
    that('promoted', promoted.requests === total(counts).requests && promoted.errors === 0, figures(counts)),
    noCanaryIncident(facts.stories),
    await explainsInaction(stage.rig, 'equal', facts.stories)
  ])
  return withFigures(report, { promotedMs, looks: canary?.looks ?? null })
}

async function paused(stage: Uc5Stage): Promise<AcceptanceReport> {
  const target = targetOf(CANARIES.paused)
  const injectedAtMs = await stage.release('paused')
  watchFault(stage.rig, injectedAtMs, () => stage.isWithoutWeight('paused'))
  await stage.order('paused', 'pause')
  await until(stage.rig, VERDICT_DEADLINE_MS, () => stage.canary('paused', ({ state }) => state === 'paused'))
  const abortedAtMs = Date.now()
  await stage.order('paused', 'abort')
  const effect = await until(stage.rig, VERDICT_DEADLINE_MS, () => stage.effects(abortedAtMs)[0])
  const canary = await untilOver(stage, 'paused', injectedAtMs)
  const facts = await gather(stage.rig, injectedAtMs, (await stage.counts())[CANARIES.paused]!.weight === 0)
  const tookMs = effect === undefined ? null : effect.atMs - abortedAtMs
  const expected: Expectation = { detectedWithinMs: ABORT_WITHIN_MS, cause: [target], targets: [target], effects: 1, verdict: 'healed', pages: 0 }
  const report = judge('UC5/paused', stage.rig.seed, expected, facts, [
    answersFirst(await explanationOf(stage.rig, 'paused', canaryStory(facts.stories)), ROLLED_BACK),
    that('aborted', canary?.state === 'aborted' && canary.quarantined, `${canary?.state ?? 'none'} by ${canary?.by ?? 'nobody'}`),
    that('in time', tookMs !== null && tookMs <= ABORT_WITHIN_MS, `without weight ${tookMs} ms after the order`)
  ])
  return withFigures(report, { abortedAfterMs: tookMs })
}

async function quiet(stage: Uc5Stage): Promise<AcceptanceReport> {
  await stage.rate(QUIET_PER_MINUTE)
  const injectedAtMs = await stage.release('quiet', { decideWithinMs: DECIDE_WITHIN_MS }, ONLY_ARMS)
  watchFault(stage.rig, injectedAtMs, () => stage.isWithoutWeight('quiet')) // The question is a true one.
  const canary = await until(stage.rig, VERDICT_DEADLINE_MS, () => stage.canary('quiet', ({ state }) => state !== 'running'))
  const asked = await until(stage.rig, OUTCOME_DEADLINE_MS, async () =>
    (await storiesSince(stage.rig, injectedAtMs)).flatMap(({ decisions }) => decisions).find(({ outcome }) => outcome === 'ask')
  )
  await until(stage.rig, OUTCOME_DEADLINE_MS, () => stage.pages(injectedAtMs).some(({ action }) => action === 'trigger'))
  const facts = await gather(stage.rig, injectedAtMs, true)
  const tickets = facts.pages.filter(({ action, urgency }) => action === 'trigger' && urgency === 'ticket')
  const report = judge(
    'UC5/quiet',
    stage.rig.seed,
    // A ticket: somebody is told, nobody is woken.
    { detectedWithinMs: DECIDE_WITHIN_MS + ABORT_WITHIN_MS, cause: [targetOf(CANARIES.quiet)], targets: [], effects: 0, verdict: null, pages: 0 },
    facts,
    [
      answersFirst(await explanationOf(stage.rig, 'quiet', canaryStory(facts.stories)), {
        did: 'It waits for people to say yes.',
        why: 'Why: ',
        change: 'What would change that: '
      }),
      that('held', canary?.state === 'inconclusive', `${canary?.state ?? 'undecided'}: ${canary?.reason ?? ''}`),
      that('asked', asked !== undefined && tickets.length === 1, `${asked?.reason ?? 'nobody was asked'}; ${tickets.length} tickets`)
    ]
  )
  await stage.rate(BUSY_PER_MINUTE)
  return withFigures(report, { requests: canary?.canary.requests ?? null })
}

async function starved(stage: Uc5Stage): Promise<AcceptanceReport> {
  const startedAtMs = await stage.release('starved')
  await until(stage.rig, VERDICT_DEADLINE_MS, async () => (await stage.counts())[CANARIES.starved]!.reachedAtMs !== null || undefined)
  await stage.untilQuiet() // What is open would take the new trouble in, and was there before it.
  const injectedAtMs = Date.now()
  const fault = noteFault(stage.rig, injectedAtMs)
  stage.rig.say(`UC5/starved: ${DEPENDENCY} fails ${100 * DEPENDENCY_FAILS} % of its requests`)
  await stage.failDependency(DEPENDENCY_FAILS)
  await until(stage.rig, DEPENDENCY_WATCHED_MS, () => false)
  const canary = await stage.canary('starved', () => true)
  const facts = await gather(stage.rig, injectedAtMs, false)
  const counts = await stage.counts()
  const accused = facts.stories.find(({ incident }) => incident.causes[0]?.service === DEPENDENCY)
  const explanation = await explanationOf(stage.rig, 'starved', accused)
  await stage.failDependency(0)
  fault.healthyAgainAtMs = Date.now()
  const expected: Expectation = {
    ...{ detectedWithinMs: DEPENDENCY_WITHIN_MS, cause: [DEPENDENCY, `lab/${DEPENDENCY}@${DEPENDENCY}-1`], targets: [] },
    ...{ effects: 0, verdict: null, pages: 0 }
  }
  const report = judge('UC5/starved', stage.rig.seed, expected, facts, [
    that(
      'both arms',
      [CANARIES.starved, BASELINE].every(version => counts[version]!.errors > 0),
      figures(counts)
    ),
    answersFirst(explanation, { did: 'It did nothing.', why: 'Why: ', change: `write a policy that matches cause.service == "${DEPENDENCY}"` }),
    that('not the canary', canary?.state === 'running' || canary?.state === 'passed', `${canary?.state ?? 'none'}: ${canary?.reason ?? ''}`),
    noCanaryIncident(facts.stories)
  ])
  return withFigures(report, { ranMs: injectedAtMs - startedAtMs })
}

/** Of what was healed: nothing is left that could be otherwise. */
const ROLLED_BACK: Answer = { did: 'roll-back-canary healed', why: 'What was tried: roll-back-canary on', change: 'Nothing is left to do.' }

/** The incident that is about the canary. */
function canaryStory(stories: readonly IncidentStory[]): IncidentStory | undefined {
  return stories.find(({ incident }) => incident.causes[0]?.signature.startsWith('canary'))
}

/** The canary when its rollback has its outcome and the incident is over. */
async function untilOver(stage: Uc5Stage, name: keyof typeof CANARIES, sinceMs: number): Promise<Canary | undefined> {
  await until(stage.rig, OUTCOME_DEADLINE_MS, async () => {
    const stories = (await storiesSince(stage.rig, sinceMs)).filter(({ incident }) => incident.causes[0]?.signature === 'canary')
    return stories.length > 0 && stories.every(({ incident, outcomes }) => outcomes.length > 0 && incident.status === 'resolved')
  })
  return stage.canary(name, () => true)
}

function noCanaryIncident(stories: readonly { incident: { causes: readonly { signature: string }[]; title: string } }[]): Assertion {
  const blamed = stories.filter(({ incident }) => incident.causes.some(({ signature }) => signature === 'canary'))
  return that('no rollback', blamed.length === 0, blamed[0]?.incident.title ?? 'no incident names the canary')
}

type Count = Awaited<ReturnType<Uc5Stage['counts']>>[string]
type Outcomes = Pick<Count, 'requests' | 'errors'>

function total(counts: Readonly<Record<string, Count>>): Outcomes {
  const all = Object.values(counts)
  return { requests: all.reduce((sum, { requests }) => sum + requests, 0), errors: all.reduce((sum, { errors }) => sum + errors, 0) }
}

/** Whether two error ratios differ by no more than chance. The lab's own arithmetic, not that of the product. */
function alike(a: Outcomes, b: Outcomes): boolean {
  if (a.requests === 0 || b.requests === 0) return false
  const pooled = (a.errors + b.errors) / (a.requests + b.requests)
  const standardError = Math.sqrt(pooled * (1 - pooled) * (1 / a.requests + 1 / b.requests))
  return Math.abs(a.errors / a.requests - b.errors / b.requests) <= Math.max(STANDARD_ERRORS * standardError, 2 / Math.min(a.requests, b.requests))
}

const ratio = ({ requests, errors }: Outcomes): string => `${errors} of ${requests} failed`
const figures = (counts: Readonly<Record<string, Count>>): string =>
  Object.entries(counts)
    .map(([version, count]) => `${version}: ${ratio(count)}`)
    .join(', ')
