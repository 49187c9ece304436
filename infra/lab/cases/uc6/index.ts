// UC6, rogue spawning: a worker leaks memory and forks without end; it is taken out of service, frozen, looked at, ended and restarted.
//
// Twin A: an honest batch forks eight helpers and ends: nothing happens. Twin B: another worker goes rogue, dies before the act, and its pid
// belongs to an innocent process: the actuator refuses, says so, and somebody is called. One Homeostat for all, for its warm-up is most of the time.
//
//   queue ◄── worker-1 (goes rogue), worker-2 (must not be touched; then the other way round)      sampler ──OTLP──► Homeostat
//     └─ jobs.jsonl, witness.jsonl                                       watcher: the lab's own look at worker-1's tree

import { join } from 'node:path'
import { isStopped, type ProcessStat, sameProcess, signalProcess } from '../../../../actuators/drivers/process-table.ts'
import { readRunFile } from '../../../../actuators/drivers/run-file.ts'
import type { IncidentStory } from '../../../../pipeline/console/live-view.ts'
import type { StepResult } from '../../../../schemas/outcome.ts'
import { pause, runDirOf } from '../../fleet.ts'
import { type AcceptanceReport, type Expectation, judge, NOTHING, that, withFigures } from '../assertions.ts'
import type { AcceptanceCase } from '../case.ts'
import { type Performance, perform } from '../frame.ts'
import { gather, storiesSince } from '../gather.ts'
import { noteFault, watchFault } from '../ground-truth.ts'
import { answersFirst, explainsInaction, explanationOf } from '../people.ts'
import { answers, type Rig, until, untilAnswers, wait } from '../rig.ts'
import { jobsKept, lowered, post, toldChildren, treeEnded, unharmed } from './findings.ts'
import { entityOf, processesOf, readLimitEvents, WORKERS, type WorkerName } from './layout.ts'
import { reusePid } from './reuse-pid.ts'
import { readSnapshots, type TreeWatcher, treeEffects, watchTree } from './watcher.ts'

const ROGUE: WorkerName = 'worker-1'
/** Rogue in twin B: what is normal for it was not learned while it was rogue before. */
const OTHER: WorkerName = 'worker-2'
const MIB = 2 ** 20
/** The machine is shared: at most so many helpers and so much memory in any run. */
const LIMITS = {
  default: { env: { CHILDREN_MAX: '60', LEAK_BYTES_MAX: String(300 * MIB) } },
  // Node.js asks for 550 MiB before its first line, so this leaves some 350 MiB.
  lowered: { memoryBytes: 900 * MIB, env: { CHILDREN_MAX: '4', LEAK_BYTES_MAX: String(32 * MIB) } }
}
const DETECTED_WITHIN_MS = 15_000
const OUTCOME_DEADLINE_MS = 75_000
const CLOSE_DEADLINE_MS = 30_000
const STABLE_MS = 20_000
const BATCH = { children: 8, ms: 5_000 }
const BATCH_WATCHED_MS = 12_000
const EXIT_DEADLINE_MS = 5_000
const PAGE_DEADLINE_MS = 15_000
const REFUSAL_WATCHED_MS = 3_000

export const rogueSpawning: AcceptanceCase = {
  name: 'UC6',
  title: 'a worker forks and leaks without end: quarantined, its exact tree ended, restarted with lower limits; no job lost or done twice',
  run: run =>
    perform<Stage>(run, {
      name: 'UC6',
      rig: workshop(),
      setUp,
      warmUp: true,
      plays: [
        { name: 'UC6/batch', play: honestBatch },
        { name: 'UC6', play: rogue },
        { name: 'UC6/reused-pid', play: reusedPid }
      ],
      watchAudit: true,
      scorecard: {
        excused: { m9: 'a worker cannot answer for its telemetry: it is spoken of by another, and one of the two is dead at the end' },
        recoveryTolerance: 4 // s: growth is dated when it left what is normal, some samples after it began.
      }
    })
}

interface Stage extends Rig {
  watcher: TreeWatcher
}

async function setUp(rig: Rig): Promise<Stage> {
  const watcher = watchTree(rig.folder, ROGUE)
  rig.atEnd(watcher.close)
  for (const name of ['queue', ...WORKERS]) {
    await rig.start(name)
    await untilAnswers(rig, name)
  }
  await rig.start('sampler')
  return { ...rig, watcher }
}

function workshop(): Performance<Stage>['rig'] {
  const script = (name: string): string => join(import.meta.dirname, `${name}.ts`)
  const worker = (name: WorkerName) => ({ script: script('worker'), args: [name], entity: entityOf(name), definition: { limits: LIMITS } })
  const order = (port: number, what: string) => {
    const origin = `http://127.0.0.1:${port}/orders`
    return { method: 'POST' as const, url: `${origin}/${what}/{target}`, statusUrl: `${origin}/{key}`, timeout: '2s' }
  }
  return {
    ports: ['queue', ...WORKERS],
    rules: join(import.meta.dirname, 'rules'),
    programs: () => ({
      queue: { script: script('queue') },
      sampler: { script: script('sampler') },
      [ROGUE]: worker(ROGUE),
      [OTHER]: worker(OTHER)
    }),
    drivers: ({ ports: { queue } }) => ({
      http: { endpoints: { 'pause-intake': order(queue!, 'pause'), 'resume-intake': order(queue!, 'resume'), note: order(queue!, 'note') } }
    })
  }
}

/** Twin A. */
async function honestBatch(stage: Stage): Promise<AcceptanceReport> {
  const neighbour = treeOf(stage, OTHER)
  const injectedAtMs = Date.now()
  stage.say(`a batch forks ${BATCH.children} and ends`)
  await post(stage, ROGUE, `/batch?children=${BATCH.children}&ms=${BATCH.ms}`)
  await wait(stage, BATCH_WATCHED_MS)
  await untilQuiet(stage, injectedAtMs)
  const facts = await gather(stage, injectedAtMs, true)
  tell(stage, facts.stories)
  const forked = stage.watcher.countMax()
  const told = await toldChildren(stage, ROGUE)
  return judge(
    'UC6/batch',
    stage.seed,
    NOTHING,
    { ...facts, effects: [...facts.effects, ...treeEffects(stage.folder, ROGUE, seenSince(stage, injectedAtMs), [])] },
    [
      that('forked', forked >= 3 + BATCH.children, `${forked} processes at most`),
      that('told', told >= 2 + BATCH.children, `Homeostat was told of ${told} children at most`),
      await explainsInaction(stage, 'batch', facts.stories),
      unharmed(neighbour)
    ]
  )
}

/** The case. */
async function rogue(stage: Stage): Promise<AcceptanceReport> {
  const neighbour = treeOf(stage, OTHER)
  const injectedAtMs = await goRogue(stage, ROGUE)
  // Two helpers and itself, and the queue lets it work.
  watchFault(stage, injectedAtMs, async () => stage.watcher.stable().count === 3 && (await answers(stage, 'queue', '/intake')))
  const story = await until(stage, OUTCOME_DEADLINE_MS, async () => (await storiesSince(stage, injectedAtMs)).find(({ outcomes }) => outcomes.length > 0))
  await untilQuiet(stage, injectedAtMs)
  const { root, helpers } = processesOf(stage.folder, ROGUE)
  const { sinceMs, count } = stage.watcher.stable()
  const stableMs = Date.now() - sinceMs
  const healthy = root !== undefined && count === 3 && stableMs >= STABLE_MS
  const facts = await gather(stage, injectedAtMs, healthy)
  tell(stage, facts.stories)
  const steps = facts.stories.flatMap(({ outcomes }) => outcomes.flatMap(outcome => outcome.steps))
  const events = seenSince(stage, injectedAtMs)
  const expected: Expectation = {
    detectedWithinMs: DETECTED_WITHIN_MS,
    cause: [entityOf(ROGUE)],
    targets: [ROGUE],
    // pause, freeze, snapshot, stop, start, note, resume
    effects: 7,
    verdict: 'healed',
    pages: 0
  }
  const all = { ...facts, effects: [...facts.effects, ...treeEffects(stage.folder, ROGUE, events, steps)].sort((a, b) => a.atMs - b.atMs) }
  const order = all.effects.map(({ what }) => what)
  const ended = events.find(({ what }) => what === 'stop')
  const snapshot = readSnapshots(stage.folder, ROGUE).at(-1)
  const frozen = events.find(({ what }) => what === 'freeze')
  const report = judge('UC6', stage.seed, expected, all, [
    answersFirst(await explanationOf(stage, 'rogue', actedOn(facts.stories)), {
      did: 'quarantine-worker healed',
      why: 'What was tried: quarantine-worker on',
      change: 'Nothing is left to do.'
    }),
    that('order', order.join() === 'pause,freeze,snapshot,stop,start,note,resume', order.join(', ')),
    that(
      'evidence',
      snapshot?.processCount === frozen?.count && snapshot !== undefined,
      `${snapshot?.processCount ?? 'no'} processes in the snapshot, ${frozen?.count ?? 'none'} seen frozen`
    ),
    treeEnded(snapshot, ended?.atMs, helpers),
    that('stable', healthy, `${count} processes for ${stableMs} ms, ${STABLE_MS} wanted`),
    lowered(root, LIMITS.lowered.memoryBytes),
    await jobsKept(stage),
    unharmed(neighbour)
  ])
  const atMs = (what: string): number | null => all.effects.find(effect => effect.what === what)?.atMs ?? null
  const since = (what: string): number | null => (atMs(what) === null ? null : atMs(what)! - injectedAtMs)
  const figures = {
    pausedMs: since('pause'),
    frozenMs: since('freeze'),
    endedMs: since('stop'),
    restartedMs: since('start'),
    resumedMs: since('resume'),
    processesMax: stage.watcher.countMax(),
    limitEvents: readLimitEvents(stage.folder).filter(event => event.atMs >= injectedAtMs).length,
    verdict: story?.outcomes[0]?.verdict ?? null
  }
  return withFigures(report, figures)
}

/** Twin B. */
async function reusedPid(stage: Stage): Promise<AcceptanceReport> {
  const neighbour = treeOf(stage, ROGUE)
  const injectedAtMs = await goRogue(stage, OTHER)
  noteFault(stage, injectedAtMs) // It is never well again.
  const story = await until(stage, DETECTED_WITHIN_MS, async () => (await storiesSince(stage, injectedAtMs)).find(({ incident }) => isGrown(incident.members)))
  // Now, before the policy has confirmed it.
  const { innocent, how, tries } = await reusePid(stage.folder, OTHER, await endByHand(stage, OTHER))
  stage.say(`${OTHER} died, pid ${innocent.pid} belongs to an innocent process (${how}, ${tries} tries)`)
  const identity = readRunFile(runDirOf(stage.folder), OTHER).process
  await until(stage, OUTCOME_DEADLINE_MS, async () => (await storiesSince(stage, injectedAtMs)).some(({ outcomes }) => outcomes.length > 0))
  await until(stage, PAGE_DEADLINE_MS, () => stage.pages.received().some(({ atMs, action }) => atMs >= injectedAtMs && action === 'trigger'))
  await wait(stage, REFUSAL_WATCHED_MS) // Nothing more may come.
  const facts = await gather(stage, injectedAtMs, false)
  tell(stage, facts.stories)
  const steps = facts.stories.flatMap(({ outcomes }) => outcomes.flatMap(outcome => outcome.steps))
  const refusal = steps.find(({ verb }) => verb === 'freeze')
  const isUnharmed = sameProcess(innocent) !== undefined && !isStopped(sameProcess(innocent)!)
  const expected: Expectation = {
    detectedWithinMs: DETECTED_WITHIN_MS,
    cause: [entityOf(OTHER)],
    targets: [OTHER],
    effects: 1, // Its intake is paused: nobody is there who could take jobs.
    verdict: 'ineffective',
    pages: 1
  }
  const report = judge('UC6/reused-pid', stage.seed, expected, facts, [
    answersFirst(await explanationOf(stage, 'reused-pid', actedOn(facts.stories)), {
      did: 'It gave up and called people.',
      why: 'quarantine-worker was tried once',
      change: 'attempts.max above 1'
    }),
    that(
      'refused',
      isRefusal(refusal) && identity?.pid === innocent.pid,
      refusal === undefined ? 'no freeze was tried' : `freeze ${refusal.result}: ${refusal.detail}`
    ),
    that('innocent', isUnharmed, isUnharmed ? `process ${innocent.pid} goes on` : `process ${innocent.pid} was signalled`),
    unharmed(neighbour),
    await jobsKept(stage, true)
  ])
  return withFigures(report, { reuse: how, reuseTries: tries, incident: story?.incident.id.slice(0, 8) ?? null })
}

/** Waits until every incident since then is over: what comes next must not join it. */
function untilQuiet(stage: Stage, sinceMs: number): Promise<true | undefined> {
  return until(stage, CLOSE_DEADLINE_MS, async () => (await storiesSince(stage, sinceMs)).every(({ incident }) => incident.status === 'resolved'))
}

async function goRogue(stage: Stage, worker: WorkerName): Promise<number> {
  const leak = stage.random.integer(12, 18) * MIB
  const forks = stage.random.integer(4, 6)
  await pause(stage.random.integer(0, 1_000))
  const injectedAtMs = Date.now()
  stage.say(`${worker} goes rogue: ${leak / MIB} MiB and ${forks} helpers a second`)
  await post(stage, worker, `/rogue?leakBytesPerS=${leak}&forksPerS=${forks}`)
  return injectedAtMs
}

/** The worker and its helpers die as by the kernel's hand; reaped, so that its pid is free. */
async function endByHand(stage: Stage, worker: WorkerName): Promise<ProcessStat> {
  await post(stage, worker, '/rogue?leakBytesPerS=0&forksPerS=0')
  const { root, helpers } = processesOf(stage.folder, worker)
  // Helpers first, while their parent can still reap them: a zombie would keep the session's number taken.
  for (const helper of helpers) signalProcess(helper, 'SIGKILL')
  await until(stage, EXIT_DEADLINE_MS, () => processesOf(stage.folder, worker).helpers.length === 0)
  signalProcess(root!, 'SIGKILL')
  await until(stage, EXIT_DEADLINE_MS, () => sameProcess(root!) === undefined)
  return root!
}

/** The incident that led to an act. */
const actedOn = (stories: readonly IncidentStory[]): IncidentStory | undefined => stories.find(({ outcomes }) => outcomes.length > 0)

/** Both signs that the policy asks for. */
const isGrown = (members: readonly { metric: string }[]): boolean =>
  ['process.memory.usage', 'process.children.count'].every(metric => members.some(member => member.metric === metric))

const isRefusal = (step: StepResult | undefined): boolean => step?.result === 'failed' && /belongs to another process now/.test(step.detail)

function treeOf({ folder }: Rig, worker: WorkerName): ProcessStat[] {
  const { root, helpers } = processesOf(folder, worker)
  return [...(root ? [root] : []), ...helpers]
}

/** What was decided, and what came of it, for whoever reads the run. */
function tell({ say }: Stage, stories: readonly IncidentStory[]): void {
  for (const { incident, decisions, outcomes } of stories) {
    say(`incident ${incident.id.slice(0, 8)}: ${incident.title}, of ${incident.members.map(({ metric }) => metric).join(', ')}; ${incident.status}`)
    for (const { outcome, reason } of decisions) say(`  decision: ${outcome}, ${reason}`)
    for (const { verdict, reason } of outcomes) say(`  outcome: ${verdict}, ${reason}`)
  }
}

const seenSince = ({ watcher }: Stage, sinceMs: number) => watcher.events().filter(({ atMs }) => atMs >= sinceMs)
