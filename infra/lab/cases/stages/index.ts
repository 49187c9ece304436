// STAGES: all instances of a service keep what nobody needs, and a restart with a bound cures each. One, then half, then all.
//
// Twins, on the same Homeostat: the bound harms the first instance (the rollout ends there, it is taken back, nobody else is touched), and
// it harms one of the second stage (what the stages before did is taken back, too, the last one first). People are called once each time.
//
//   customers ─► sessions-1 … sessions-5 or -6 ──OTLP──► Homeostat ──restart──► processes     watcher: the lab's own look at both

import { join } from 'node:path'
import { type AcceptanceReport, type Assertion, type CaseFacts, type Expectation, judge, that, withFigures } from '../assertions.ts'
import type { AcceptanceCase } from '../case.ts'
import { readEffects, readWitnessed } from '../effects.ts'
import { perform } from '../frame.ts'
import { gather, storiesSince } from '../gather.ts'
import { watchFault } from '../ground-truth.ts'
import { type Answer, answersFirst, explains, explanationOf } from '../people.ts'
import { type RigOptions, until, wait } from '../rig.ts'
import { seeded } from '../../seeded.ts'
import { fastSettings } from '../../settings.ts'
import { type Flight, flightsOf, neverMore, processesEach, stageByStage, stagesOf } from './findings.ts'
import { BOUNDED, CONCURRENT_MAX, CUSTOMERS, entityOf, HELD_BYTES_MAX, memberOf, SERVICE, SESSIONS_BOUND, SESSIONS_MAX } from './layout.ts'
import { membersOf, openStage, type StagesStage } from './stage.ts'

const DETECTED_WITHIN_MS = 15_000
const FULL_DEADLINE_MS = 20_000
const ACT_DEADLINE_MS = 30_000
const ROLLOUT_DEADLINE_MS = 75_000
const PAGE_DEADLINE_MS = 15_000
/** After people were called: time in which more could be acted on. */
const SILENCE_MS = 4_000
/** Never reached: a rule of the operator's own says here what is too much, and nothing is learned. */
const WARMUP_POINTS = 100_000
const ABSENCE_MIN = '30s'
/**
 * Of the last outcome where the bound harms: harmful, undone within the command. On a machine so busy that how it was before could not be
 * read in time, nobody can call it harm: then it is partial, and taken back by a command of its own.
 */
const NOT_HEALED = ['harmful', 'undone'] as const

export const inStages: AcceptanceCase = {
  name: 'STAGES',
  title: 'all instances leak: restarted one, half, all, each stage verified before the next; one that the restart harms: taken back, the others untouched',
  run: run =>
    perform<StagesStage>(run, {
      name: 'STAGES',
      rig: fleet(run.seed),
      setUp: openStage,
      plays: [
        { name: 'STAGES', play: healed },
        { name: 'STAGES/harm', play: harmedAtOnce },
        { name: 'STAGES/back', play: harmedLater }
      ],
      between: stage => stage.afresh(),
      watchAudit: true,
      scorecard: stage => ({
        excused: {},
        madeAtMs: ({ atMs, detail }) => (detail === undefined ? atMs : (JSON.parse(detail) as { madeAtMs: number }).madeAtMs),
        takesBack: ({ what }) => what === 'start',
        coverage: async () => ({ members: stage.members.length, answering: stage.members.filter(member => stage.find(member).length > 0).length })
      })
    })
}

function fleet(seed: number): Omit<RigOptions, 'seed' | 'say' | 'signal'> {
  const script = (name: string): string => join(import.meta.dirname, `${name}.ts`)
  const members = membersOf(seeded(seed))
  const limits = { [BOUNDED]: { env: { [SESSIONS_MAX]: String(SESSIONS_BOUND) } } }
  return {
    ports: [CUSTOMERS, ...members],
    rules: join(import.meta.dirname, 'rules'),
    programs: () => ({
      [CUSTOMERS]: { script: script('customers') },
      ...Object.fromEntries(members.map(name => [name, { script: script('server'), args: [name], entity: entityOf(name), definition: { limits } }]))
    }),
    settings: ({ folder }) => ({
      store: { batchInterval: '1s' }, // Two instances are looked at side by side: the store has enough to answer.
      detect: {
        ...fastSettings(folder).detect,
        warmupPoints: WARMUP_POINTS,
        absenceMin: ABSENCE_MIN, // What is restarted is silent meanwhile, on a busy machine for seconds.
        rules: [{ name: 'held', metric: 'session.memory', above: HELD_BYTES_MAX, recover: HELD_BYTES_MAX, for: '1s', severity: 'critical' }]
      }
    })
  }
}

/** Customers leave without a word from now on. @returns when that was, and what is asked of the play */
async function inject(stage: StagesStage, returns: readonly string[]): Promise<number> {
  stage.watcher.reset()
  await wait(stage, stage.random.integer(0, 1_000))
  const injectedAtMs = Date.now()
  await stage.demand({ leaves: true, returns })
  stage.say(`customers leave their sessions open${returns.length === 0 ? '' : `, those of ${returns.join(', ')} come back to old ones`}`)
  // It hurts once an instance keeps too much: then it is a fault.
  const fullAtMs = await until(stage, FULL_DEADLINE_MS, stage.watcher.fullAtMs)
  const fault = watchFault(stage, fullAtMs ?? injectedAtMs, stage.watcher.areWell)
  fault.membersHealthyAtMs = Object.fromEntries(stage.watcher.sights().map(({ member, recoveredAtMs }) => [entityOf(member), recoveredAtMs]))
  return injectedAtMs
}

/** The case. */
async function healed(stage: StagesStage): Promise<AcceptanceReport> {
  const injectedAtMs = await inject(stage, [])
  await untilActs(stage, injectedAtMs, 2)
  const going = (await until(stage, ACT_DEADLINE_MS, () => explainedIn(stage, injectedAtMs, 'Stage 2 of'))) ?? ''
  await untilStories(stage, injectedAtMs, ({ incident }) => incident.status === 'resolved')
  const { facts, flights, stages, own } = await found(stage, injectedAtMs)
  const count = stage.members.length
  const expected: Expectation = {
    ...{ detectedWithinMs: DETECTED_WITHIN_MS, cause: [SERVICE], targets: stage.members },
    ...{ effects: count, verdict: 'healed', pages: 0 }
  }
  const report = judge('STAGES', stage.seed, expected, facts, [
    ...own,
    that('one incident', facts.stories.length === 1, `${facts.stories.length} incidents`),
    that(
      'each once',
      flights.length === count && new Set(flights.map(({ member }) => member)).size === count,
      `${flights.length} acts on ${new Set(flights.map(({ member }) => member)).size} of ${count} instances`
    ),
    processesEach('processes', stage.watcher.sights(), stage.members, 2),
    explains({ explanation: going }, `Stage 2 of ${stages.length}: 1 of ${count} members verified`, 'It is acting: bound-sessions on lab/sessions@'),
    answersFirst(await explanationOf(stage, 'healed', facts.stories.at(-1)), {
      did: 'bound-sessions healed',
      why: 'What was tried: bound-sessions on',
      change: 'Nothing is left to do.'
    })
  ])
  return withFigures(report, timesOf(flights, injectedAtMs))
}

/** Twin: the first instance is worse off with the bound. */
async function harmedAtOnce(stage: StagesStage): Promise<AcceptanceReport> {
  const injectedAtMs = await inject(stage, stage.members)
  await untilCalled(stage, injectedAtMs)
  const { facts, flights, stages, own } = await found(stage, injectedAtMs)
  const [first] = stages[0]!
  const others = stage.members.filter(member => member !== first)
  const expected: Expectation = {
    ...{ detectedWithinMs: DETECTED_WITHIN_MS, cause: [SERVICE], targets: [first!] },
    ...{ effects: 2, verdict: NOT_HEALED, pages: 1 } // The restart with the bound, and the one that takes it back.
  }
  const report = judge('STAGES/harm', stage.seed, expected, facts, [
    ...own,
    processesEach('others', stage.watcher.sights(), others, 1),
    takenBack(stage, [first!]),
    answersFirst(await explanationOf(stage, 'harm', facts.stories.at(-1)), gaveUpAfter(first!)),
    saysWhere(facts, 1, stages.length, others.length, stage.members.length)
  ])
  return withFigures(report, timesOf(flights, injectedAtMs))
}

/** Twin: the first is cured, one of the second stage is worse off. */
async function harmedLater(stage: StagesStage): Promise<AcceptanceReport> {
  const injectedAtMs = await inject(stage, [])
  await untilActs(stage, injectedAtMs, 1)
  const first = readEffects(stage.folder, injectedAtMs)[0]?.target
  const [second, third, ...rest] = stage.members.filter(member => member !== first)
  stage.say(`customers of ${second} come back to old sessions`)
  await stage.demand({ leaves: true, returns: [second!] })
  await untilCalled(stage, injectedAtMs)
  const { facts, flights, stages, own } = await found(stage, injectedAtMs)
  const acted = [first!, second!, third!]
  const expected: Expectation = {
    ...{ detectedWithinMs: DETECTED_WITHIN_MS, cause: [SERVICE], targets: acted },
    ...{ effects: 2 * acted.length, verdict: 'undone', pages: 1 }
  }
  const back = flights.filter(({ isAct }) => !isAct).map(({ member }) => member)
  // What is harmful the actuator takes back at once, within its command.
  const left = acted.filter(member => !flights.some(flight => flight.isAct && flight.member === member && flight.verdict === 'harmful')).reverse()
  const report = judge('STAGES/back', stage.seed, expected, facts, [
    ...own,
    processesEach('others', stage.watcher.sights(), rest, 1),
    takenBack(stage, acted),
    that(
      'the last one first',
      back.join() === left.join(),
      `taken back by commands of their own: ${back.join(', ') || 'nothing'}, expected ${left.join(', ')}`
    ),
    neverMore(
      flights.filter(({ isAct }) => !isAct),
      [acted],
      1
    ),
    answersFirst(await explanationOf(stage, 'back', facts.stories.at(-1)), gaveUpAfter(second!)),
    saysWhere(facts, 2, stages.length, rest.length, stage.members.length)
  ])
  return withFigures(report, timesOf(flights, injectedAtMs))
}

/** What `explain` answers when a member's verdict ended the rollout. */
function gaveUpAfter(member: string): Answer {
  return {
    did: 'It gave up and called people.',
    why: `bound-sessions was stopped: ${entityOf(member)} was `,
    change: 'Another runbook of the policy, or a look by a person.'
  }
}

/** What the console says of the last incident at this moment, once it has the phrase: the command line takes too long to start for that. */
async function explainedIn(stage: StagesStage, sinceMs: number, phrase: string): Promise<string | undefined> {
  const story = (await storiesSince(stage, sinceMs)).at(-1) as { explanation?: readonly string[] } | undefined
  const text = story?.explanation?.join('\n') ?? ''
  return text.includes(phrase) ? text : undefined
}

interface Found {
  facts: CaseFacts
  flights: Flight[]
  /** Members of each stage. */
  stages: string[][]
  /** What is asked of every rollout. */
  own: Assertion[]
}

async function found(stage: StagesStage, injectedAtMs: number): Promise<Found> {
  const all = await gather(stage, injectedAtMs, stage.watcher.areWell())
  // That the policy lost a level is told apart from the incident.
  const facts = { ...all, pages: all.pages.filter(({ dedupKey }) => !dedupKey.startsWith('policy/')) }
  tell(stage, facts)
  const rows = await stage.outcomes(facts.stories.map(({ incident }) => incident.id))
  const flights = flightsOf(readWitnessed(stage.folder, injectedAtMs), rows)
  const first = flights[0]?.member ?? stage.members[0]!
  const stages = stagesOf([first, ...stage.members.filter(member => member !== first)])
  const own = [neverMore(flights, stages, CONCURRENT_MAX), stageByStage(flights, stages, stage.watcher.sights())]
  return { facts, flights, stages, own }
}

/** Every one of these keeps all again, in a process that began after the one with the bound. */
function takenBack({ watcher }: StagesStage, members: readonly string[]): Assertion {
  const seen = watcher.sights().filter(({ member }) => members.includes(member))
  const bounds = seen.map(({ incarnations }) => incarnations.map(({ isBounded }) => isBounded).join())
  const detail = seen.map(({ member, incarnations }) => `${member}: ${incarnations.map(({ isBounded }) => (isBounded ? 'bounded' : 'free')).join(', ')}`)
  return that('taken back', seen.length === members.length && bounds.every(text => text === 'false,true,false'), detail.join('; '))
}

/** People read where it stopped, and how many were left alone. */
function saysWhere({ stories }: CaseFacts, stage: number, stages: number, left: number, count: number): Assertion {
  const reason = stories.at(-1)?.decisions.at(-1)?.reason ?? ''
  const wanted = `in stage ${stage} of ${stages}; ${left} of ${count} members were not acted on`
  return that('says where', reason.includes(wanted), reason.includes(wanted) ? wanted : `${wanted} is not in: ${reason}`)
}

const untilActs = (stage: StagesStage, sinceMs: number, count: number): Promise<true | undefined> =>
  until(stage, ACT_DEADLINE_MS, () => readEffects(stage.folder, sinceMs).length >= count || undefined)

const untilStories = (stage: StagesStage, sinceMs: number, holds: (story: CaseFacts['stories'][number]) => boolean): Promise<true | undefined> =>
  until(stage, ROLLOUT_DEADLINE_MS, async () => {
    const stories = await storiesSince(stage, sinceMs)
    return (stories.length > 0 && stories.every(holds)) || undefined
  })

/** It gave up, people were told, and a while has passed. */
async function untilCalled(stage: StagesStage, sinceMs: number): Promise<void> {
  await untilStories(stage, sinceMs, ({ decisions }) => decisions.at(-1)?.outcome === 'escalate')
  await until(stage, PAGE_DEADLINE_MS, () => stage.pages.received().some(({ atMs, action }) => atMs >= sinceMs && action === 'trigger'))
  await wait(stage, SILENCE_MS)
}

/** ms since the injection at which each act began, and its verdict came. */
function timesOf(flights: readonly Flight[], injectedAtMs: number): Record<string, string> {
  const text = flights.map(({ member, isAct, awayAtMs, verifiedAtMs, verdict }) => {
    return `${isAct ? '' : '-'}${memberOf(member)} ${awayAtMs - injectedAtMs}..${verifiedAtMs - injectedAtMs} ${verdict}`
  })
  return { acts: text.join(', ') }
}

/** What was decided, and what came of it, for whoever reads the run. */
function tell({ say }: StagesStage, { stories }: CaseFacts): void {
  for (const { incident, decisions, outcomes } of stories) {
    say(`incident ${incident.id.slice(0, 8)}: ${incident.title}; ${incident.status}`)
    for (const { outcome, reason } of decisions) say(`  decision: ${outcome}, ${reason}`)
    for (const { target, verdict, reason } of outcomes) say(`  outcome: ${target} ${verdict}, ${reason}`)
  }
}
