// The session service of the case and the case's hands on it: its customers, its operator, and what is asked of ClickHouse.

import { announce } from '../people.ts'
import { storiesSince } from '../gather.ts'
import { kill, type Rig, until, untilAnswers } from '../rig.ts'
import type { OutcomeRow } from './findings.ts'
import { CALM, CUSTOMERS, type Demand, entityOf, GROUP, memberNames } from './layout.ts'
import { type MemberWatcher, watchMembers } from './watcher.ts'

const WELL_DEADLINE_MS = 30_000
const GONE_DEADLINE_MS = 10_000
/** Instances, drawn: with these two of them are the second stage. */
const COUNTS = [5, 6] as const

export const membersOf = (random: Rig['random']): string[] => memberNames(random.fork('count').pick(COUNTS))

export interface StagesStage extends Rig {
  /** As the operator announced them: drawn. */
  members: readonly string[]
  watcher: MemberWatcher
  /** Customers do so from now on. */
  demand(next: Demand): Promise<void>
  /** Outcomes of commands that acted, as ClickHouse has them, the oldest first. */
  outcomes(incidentIds: readonly string[]): Promise<OutcomeRow[]>
  /** Calm customers, instances that have just begun and keep everything, no open incident, and people's trust. */
  afresh(): Promise<void>
}

/** All instances serve, and their group is announced. */
export async function openStage(rig: Rig): Promise<StagesStage> {
  const members = rig.random.fork('order').shuffle(membersOf(rig.random))
  for (const member of members) await rig.start(member)
  for (const member of members) await untilAnswers(rig, member)
  await rig.start(CUSTOMERS)
  await untilAnswers(rig, CUSTOMERS)
  const watcher = watchMembers(rig, members)
  rig.atEnd(watcher.close)
  await announce(rig, { kind: 'group', environment: rig.environment, group: GROUP, size: members.length, members: members.map(entityOf), by: 'ada' })
  const stage = stageOf(rig, members, watcher)
  if ((await until(rig, WELL_DEADLINE_MS, watcher.areWell)) === undefined && !rig.signal.aborted) throw new Error('the instances do not become well')
  return stage
}

function stageOf(rig: Rig, members: readonly string[], watcher: MemberWatcher): StagesStage {
  const stage: StagesStage = {
    ...rig,
    members,
    watcher,
    async demand(next) {
      watcher.demand(next)
      await fetch(`http://127.0.0.1:${rig.ports[CUSTOMERS]}/demand`, { method: 'PUT', body: JSON.stringify(next) })
    },
    async outcomes(incidentIds) {
      const ids = incidentIds.map(id => `'${id}'`).join(', ')
      if (ids === '') return []
      const rows = await rig.homeostat.sql<{ target: string; verdict: OutcomeRow['verdict']; recordedAtMs: number; steps: string }>(
        'SELECT Target AS target, Verdict AS verdict, toUnixTimestamp64Milli(RecordedAt) AS recordedAtMs, Steps AS steps ' +
          `FROM homeostat_outcomes FINAL WHERE IncidentId IN (${ids}) AND BegunAt IS NOT NULL ORDER BY RecordedAt`
      )
      return rows.map(({ steps, recordedAtMs, ...row }) => {
        const keys = (JSON.parse(steps) as { idempotencyKey: string }[]).map(({ idempotencyKey }) => idempotencyKey)
        return { ...row, recordedAtMs: Number(recordedAtMs), keys }
      })
    },
    async afresh() {
      await stage.demand(CALM)
      await until(rig, WELL_DEADLINE_MS, async () => (await storiesSince(rig, 0)).every(({ incident }) => incident.status === 'resolved'))
      for (const member of members) for (const process of rig.find(member)) kill(process, 'SIGTERM')
      await until(rig, GONE_DEADLINE_MS, () => members.every(member => rig.find(member).length === 0))
      for (const member of members) await rig.start(member)
      for (const member of members) {
        await untilAnswers(rig, member)
        await rig.homeostat.post('/api/releases', { target: entityOf(member), force: true, by: 'ada' })
      }
      await announce(rig, { kind: 'autonomy', policy: 'sessions', reason: 'it was looked at', by: 'ada' })
      await until(rig, WELL_DEADLINE_MS, watcher.areWell)
      watcher.reset()
    }
  }
  return stage
}
