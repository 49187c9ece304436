// What every guard case stands on: one Homeostat, the members that the case names, the watcher, and people's ways to speak.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IncidentStory } from '../../../../pipeline/console/live-view.ts'
import type { Control } from '../../../../schemas/control.ts'
import type { Decision } from '../../../../schemas/decision.ts'
import { MAIN } from '../../homeostat.ts'
import { listenAt } from '../../settings.ts'
import type { AcceptanceReport, Assertion, CaseFacts } from '../assertions.ts'
import type { CaseRun } from '../case.ts'
import { gather, storiesSince } from '../gather.ts'
import { kill, openRig, type Rig, until } from '../rig.ts'
import { entityOf, openWatcher, type Watcher } from './watcher.ts'

const HERE = import.meta.dirname
const MEMBER = join(HERE, 'member.ts')
/** Every member that a rule of `rules/` names. */
const MEMBERS = [
  'flap',
  'raced',
  'half',
  'mended',
  'pricey',
  'planned',
  'shadow',
  'asked',
  'spent',
  'worn1',
  'worn2',
  'worn3',
  'noisy1',
  'noisy2',
  'noisy3',
  'noisy4'
] as const
/** They send metrics, on a way of their own. */
const BEACONS = ['beacon1', 'beacon2', 'beacon3'] as const
/** With telemetry: `front` calls `cache` for each of its requests. */
const TRACED = ['front', 'cache'] as const
/** Orders that reach a member over HTTP, as the driver's endpoints. */
const ENDPOINTS = { 'repair-mended': 'mended', 'set-raced': 'raced', 'scale-pricey': 'pricey', 'sync-cache': 'cache', 'async-cache': 'cache' } as const
const START_DEADLINE_MS = 10_000
const SETTLE_MS = 1_000
const LEAVE_DEADLINE_MS = 15_000 // An incident that nothing healed closes after resolveAfter.

export interface GuardStage extends Rig {
  watcher: Watcher
  /** Starts members by the lab's own hand, and watches their parts. */
  enter(members: readonly string[], parts?: readonly string[]): Promise<void>
  /** Ends the members of a case: their alerts first, so that nothing is done to them any more. */
  leave(members: readonly string[]): Promise<void>
  /** Waits so long, or until the run is interrupted. */
  wait(ms: number): Promise<void>
  /** `on` false mends the part, however it was broken. */
  fault(member: string, part: string, on: boolean, isSticky?: boolean): Promise<void>
  isHealthy(member: string): Promise<boolean>
  /** Writes a control record through the console. */
  announce(record: Readonly<Record<string, unknown>>): Promise<Control>
  /** A write of the console's API. */
  post<Result>(path: string, body: object): Promise<Result>
  /** Runs the command line as a person does. @returns what it printed as JSON */
  cli<Result>(...argv: string[]): Promise<Result>
  /** Stories since a moment that speak of these members. */
  stories(members: readonly string[], sinceMs: number): Promise<IncidentStory[]>
  /** What a case about these members is judged by; what an earlier case left behind is not among it. `healthy`: all of them answer. */
  facts(members: readonly string[], injectedAtMs: number): Promise<GuardFacts>
  /** The first decision about a member since `sinceMs` for which `isWanted`; undefined at the deadline. */
  decision(member: string, sinceMs: number, isWanted: (decision: Decision) => boolean, deadlineMs?: number): Promise<Decision | undefined>
}

export interface GuardFacts extends CaseFacts {
  /** What `homeostat explain` prints of the last incident; kept in the run's folder as `explain-<member>-<incident>.txt`. */
  explanation: string
}

export interface GuardCase {
  name: string
  title: string
  play(stage: GuardStage): Promise<AcceptanceReport[]>
}

const DECISION_DEADLINE_MS = 15_000

/** Plays the cases one after the other on one Homeostat; each leaves the stage as it found it. */
export async function playGuards(
  run: CaseRun,
  cases: readonly GuardCase[],
  /** Beside the cases: what is judged of the run as a whole. */
  afterwards: (rig: Rig) => Promise<AcceptanceReport[]> = async () => []
): Promise<AcceptanceReport[]> {
  const rig = await openRig({
    seed: run.seed,
    ports: [...MEMBERS, ...BEACONS, ...TRACED, 'cacheData', 'lossy'],
    rules: join(HERE, 'rules'),
    programs: () =>
      Object.fromEntries([
        ...MEMBERS.map(name => [name, { script: MEMBER, args: [name], entity: entityOf(name) }]),
        ...BEACONS.map(name => [name, { script: join(HERE, 'beacon.ts'), args: [name], entity: entityOf(name) }]),
        ...TRACED.map(name => [name, { script: join(HERE, `${name}.ts`), entity: entityOf(name) }])
      ]),
    settings: ({ otlp }) => ({ intake: { grpc: listenAt(otlp.grpc), http: listenAt(otlp.http), alertmanager: { enabled: true } } }),
    drivers: ({ ports }) => ({
      http: {
        endpoints: Object.fromEntries(
          Object.entries(ENDPOINTS).map(([verb, member]) => [
            verb,
            { method: 'PUT' as const, url: `http://127.0.0.1:${ports[member]}/orders/${verb.split('-')[0]}`, timeout: '2s' }
          ])
        )
      }
    }),
    say: run.say,
    signal: run.signal
  })
  const watcher = openWatcher(rig)
  try {
    run.say(`Homeostat is ready after ${await rig.homeostat.start()} ms in ${rig.folder}`)
    const stage = stageOf(rig, watcher)
    const reports: AcceptanceReport[] = []
    for (const each of cases) {
      if (run.signal.aborted) break
      run.say(`${each.name}: ${each.title}`)
      reports.push(...(await each.play(stage).catch(error => [brokenCase(each, run.seed, error as Error)])))
    }
    return run.signal.aborted ? reports : [...reports, ...(await afterwards(rig))]
  } finally {
    watcher.close()
    await rig.end(run.keep)
  }
}

function brokenCase({ name }: GuardCase, seed: number, error: Error): AcceptanceReport {
  return { case: name, seed, pass: false, assertions: [{ name: 'run', ok: false, detail: error.stack ?? error.message }], figures: {} }
}

function stageOf(rig: Rig, watcher: Watcher): GuardStage {
  const { homeostat, ports, signal } = rig
  const isHealthy = (member: string): Promise<boolean> =>
    fetch(`http://127.0.0.1:${ports[member]}/healthz`, { signal: AbortSignal.timeout(1_000) }).then(
      response => response.ok,
      () => false
    )
  const stories = async (members: readonly string[], sinceMs: number): Promise<IncidentStory[]> => {
    const services = new Set(members)
    return (await storiesSince(rig, sinceMs)).filter(({ incident }) => incident.members.some(({ service }) => services.has(service)))
  }
  const post = async <Result>(path: string, body: object): Promise<Result> => {
    const headers = { 'content-type': 'application/json', 'x-homeostat': '1' }
    const response = await fetch(`${homeostat.address()}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
    return (await response.json()) as Result
  }
  return {
    ...rig,
    watcher,
    isHealthy,
    async wait(ms) {
      await until(rig, ms, () => false)
    },
    stories,
    post,
    async facts(members, injectedAtMs) {
      const all = await gather(rig, injectedAtMs, (await Promise.all(members.map(isHealthy))).every(Boolean))
      const own = await stories(members, injectedAtMs)
      const others = all.stories.filter(({ incident }) => !own.some(story => story.incident.id === incident.id)).map(({ incident }) => incident.id)
      const last = own.at(-1)
      const explanation = last === undefined ? '' : await runCli(rig.folder, ['explain', last.incident.id])
      if (last !== undefined) writeFileSync(join(rig.folder, `explain-${members[0]}-${last.incident.id.slice(0, 8)}.txt`), explanation)
      return { ...all, stories: own, pages: all.pages.filter(({ dedupKey }) => !others.includes(dedupKey)), explanation }
    },
    async enter(members, parts = ['a']) {
      for (const member of members) await rig.start(member)
      for (const member of members) {
        if ((await until(rig, START_DEADLINE_MS, () => isHealthy(member))) === undefined && !signal.aborted) throw new Error(`${member} does not start`)
        watcher.watch(member, parts)
      }
    },
    async leave(members) {
      for (const member of members) await watcher.unwatch(member)
      await until(rig, SETTLE_MS, () => false)
      // What breaks again while its incident is open joins that incident: the next case wants one of its own.
      await until(rig, LEAVE_DEADLINE_MS, async () => (await stories(members, 0)).every(({ incident }) => incident.status === 'resolved'))
      for (const member of members) for (const found of rig.find(member)) kill(found)
    },
    async fault(member, part, on, isSticky = false) {
      await fetch(`http://127.0.0.1:${ports[member]}/fault?part=${part}&on=${on}&sticky=${isSticky}`, { method: 'POST' }).catch(() => undefined)
    },
    announce: record => post('/api/controls', record),
    cli: async <Result>(...argv: string[]) => JSON.parse(await runCli(rig.folder, ['--json', ...argv])) as Result,
    decision: (member, sinceMs, isWanted, deadlineMs = DECISION_DEADLINE_MS) =>
      until(rig, deadlineMs, async () => (await stories([member], sinceMs)).flatMap(({ decisions }) => decisions).find(isWanted))
  }
}

/** @returns what it printed on stdout */
function runCli(folder: string, argv: readonly string[]): Promise<string> {
  const all = ['--disable-warning=ExperimentalWarning', MAIN, '--config', join(folder, 'homeostat.yaml'), ...argv]
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks: { out: Buffer[]; error: Buffer[] } = { out: [], error: [] }
  child.stdout.on('data', chunk => chunks.out.push(chunk as Buffer))
  child.stderr.on('data', chunk => chunks.error.push(chunk as Buffer))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => {
      if (code === 0) resolve(Buffer.concat(chunks.out).toString('utf8'))
      else reject(new Error(`homeostat ${argv.join(' ')} ended with ${code}: ${Buffer.concat(chunks.error).toString('utf8')}`))
    })
  })
}

/** What a case asserts beside the six. */
export function that(name: string, ok: boolean, detail: string): Assertion {
  return { name, ok, detail }
}

/** `homeostat explain` says each of these: why, what would change it, what a person can do. */
export function explains({ explanation }: GuardFacts, ...phrases: readonly string[]): Assertion {
  const text = explanation.replaceAll(/\s+/g, ' ')
  const missing = phrases.filter(phrase => !text.includes(phrase))
  return that('explained', missing.length === 0, missing.length === 0 ? `it says ${phrases.join(' | ')}` : `it lacks ${missing.join(' | ')}`)
}

/** The report with more that was measured. */
export function withFigures(report: AcceptanceReport, figures: AcceptanceReport['figures']): AcceptanceReport {
  return { ...report, figures: { ...report.figures, ...figures } }
}
