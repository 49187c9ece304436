// What every guard case stands on: one Homeostat, the members that the case names, the watcher, and people's ways to speak.

import { join } from 'node:path'
import type { IncidentStory } from '../../../../pipeline/console/live-view.ts'
import type { Control } from '../../../../schemas/control.ts'
import type { Decision } from '../../../../schemas/decision.ts'
import { listenAt } from '../../settings.ts'
import type { AcceptanceReport, CaseFacts } from '../assertions.ts'
import type { CaseRun } from '../case.ts'
import { type Performance, perform, type Play } from '../frame.ts'
import { gather, storiesSince } from '../gather.ts'
import { announce, explanationOf, runCli } from '../people.ts'
import { answers, kill, type Rig, until, untilAnswers, wait } from '../rig.ts'
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
const SETTLE_MS = 1_000
const RESOLVED_DEADLINE_MS = 20_000
const LEAVE_DEADLINE_MS = 15_000 // An incident that nothing healed closes after resolveAfter.

export interface GuardStage extends Rig {
  watcher: Watcher
  /** Starts members by the lab's own hand, and watches their parts. */
  enter(members: readonly string[], parts?: readonly string[]): Promise<void>
  /** Starts one member, watches its part `a` and breaks it; sticky: a restart does not mend it. @returns when that was, epoch ms */
  enterBroken(member: string, isSticky?: boolean): Promise<number>
  /** Ends the members of a case: their alerts first, so that nothing is done to them any more. */
  leave(members: readonly string[]): Promise<void>
  /** Waits so long, or until the run is interrupted. */
  wait(ms: number): Promise<void>
  /** `on` false mends the part, however it was broken. */
  fault(member: string, part: string, on: boolean, isSticky?: boolean): Promise<void>
  isHealthy(member: string): Promise<boolean>
  /** Writes a control record through the console. */
  announce(record: Readonly<Record<string, unknown>>): Promise<Control>
  /** Runs the command line as a person does. @returns what it printed as JSON */
  cli<Result>(...argv: string[]): Promise<Result>
  /** Stories since a moment that speak of these members. */
  stories(members: readonly string[], sinceMs: number): Promise<IncidentStory[]>
  /** What a case about these members is judged by; what an earlier case left behind is not among it. `healthy`: all of them answer. */
  facts(members: readonly string[], injectedAtMs: number): Promise<GuardFacts>
  /** Waits until there is an incident of this member since then, and all of them are over. */
  untilResolved(member: string, sinceMs: number): Promise<void>
  /** The facts of a case that is over; then its members leave. */
  over(members: readonly string[], injectedAtMs: number): Promise<GuardFacts>
  /** The first decision about a member since `sinceMs` for which `isWanted`; undefined at the deadline. */
  decision(member: string, sinceMs: number, isWanted: (decision: Decision) => boolean, deadlineMs?: number): Promise<Decision | undefined>
}

export interface GuardFacts extends CaseFacts {
  /** What `homeostat explain` prints of the last incident. */
  explanation: string
}

export interface GuardCase extends Play<GuardStage> {
  title: string
}

const DECISION_DEADLINE_MS = 15_000

/** Plays the cases one after the other on one Homeostat; each leaves the stage as it found it. */
export function playGuards(run: CaseRun, name: string, cases: readonly GuardCase[]): Promise<AcceptanceReport[]> {
  return perform<GuardStage>(run, {
    name,
    rig: guardedFleet(),
    setUp: async rig => stageOf(rig),
    plays: cases,
    watchAudit: false,
    scorecard: {
      excused: EXCUSED,
      // A process says when it was made; an order over HTTP is witnessed as it comes.
      madeAtMs: ({ atMs, what, detail }) => (what === 'start' && detail !== undefined ? Number(detail) : atMs)
    }
  })
}

const NO_END = 'members break and mend in turns that overlap: there is no one fault an incident whose end the lab knows'
const EXCUSED = {
  ...{ m1: NO_END, m2: NO_END, m3: NO_END, m4: NO_END },
  m6: 'people are called once a target, and by questions and storms, too: a call is no handing over there',
  m9: 'members speak by alerts, not by metrics',
  m10: 'some of these cases kill Homeostat, and nobody can look at ClickHouse meanwhile'
}

function guardedFleet(): Performance<GuardStage>['rig'] {
  return {
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
    })
  }
}

function stageOf(rig: Rig): GuardStage {
  const { ports } = rig
  const watcher = openWatcher(rig)
  rig.atEnd(watcher.close)
  const isHealthy = (member: string): Promise<boolean> => answers(rig, member)
  const stories = async (members: readonly string[], sinceMs: number): Promise<IncidentStory[]> => {
    const services = new Set(members)
    return (await storiesSince(rig, sinceMs)).filter(({ incident }) => incident.members.some(({ service }) => services.has(service)))
  }
  const stage: GuardStage = {
    ...rig,
    watcher,
    isHealthy,
    wait: ms => wait(rig, ms),
    stories,
    async facts(members, injectedAtMs) {
      const all = await gather(rig, injectedAtMs, (await Promise.all(members.map(isHealthy))).every(Boolean))
      const own = await stories(members, injectedAtMs)
      // Those of earlier cases too: members that left together may be worth a page minutes later.
      const others = (await rig.homeostat.incidents()).map(({ id }) => id).filter(id => !own.some(({ incident }) => incident.id === id))
      const explanation = await explanationOf(rig, members[0]!, own.at(-1))
      return { ...all, stories: own, pages: all.pages.filter(({ dedupKey }) => !others.includes(dedupKey)), explanation }
    },
    async enter(members, parts = ['a']) {
      for (const member of members) await rig.start(member)
      for (const member of members) {
        await untilAnswers(rig, member)
        watcher.watch(member, parts)
      }
    },
    async enterBroken(member, isSticky = false) {
      await stage.enter([member])
      const injectedAtMs = Date.now()
      await stage.fault(member, 'a', true, isSticky)
      return injectedAtMs
    },
    async untilResolved(member, sinceMs) {
      await until(rig, RESOLVED_DEADLINE_MS, async () => {
        const own = await stories([member], sinceMs)
        return own.length > 0 && own.every(({ incident }) => incident.status === 'resolved')
      })
    },
    async over(members, injectedAtMs) {
      const facts = await stage.facts(members, injectedAtMs)
      await stage.leave(members)
      return facts
    },
    async leave(members) {
      for (const member of members) await watcher.unwatch(member)
      await wait(rig, SETTLE_MS)
      // What breaks again while its incident is open joins that incident: the next case wants one of its own.
      await until(rig, LEAVE_DEADLINE_MS, async () => (await stories(members, 0)).every(({ incident }) => incident.status === 'resolved'))
      for (const member of members) for (const found of rig.find(member)) kill(found)
    },
    async fault(member, part, on, isSticky = false) {
      await fetch(`http://127.0.0.1:${ports[member]}/fault?part=${part}&on=${on}&sticky=${isSticky}`, { method: 'POST' }).catch(() => undefined)
    },
    announce: record => announce(rig, record),
    cli: async <Result>(...argv: string[]) => JSON.parse(await runCli(rig.folder, ['--json', ...argv])) as Result,
    decision: (member, sinceMs, isWanted, deadlineMs = DECISION_DEADLINE_MS) =>
      until(rig, deadlineMs, async () => (await stories([member], sinceMs)).flatMap(({ decisions }) => decisions).find(isWanted))
  }
  return stage
}
