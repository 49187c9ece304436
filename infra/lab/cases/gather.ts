// Everything of a case that is judged, asked from Homeostat as any user asks, when the case is over.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { verifyAuditStore } from '../../../pipeline/cli/audit-store.ts'
import type { IncidentStory } from '../../../pipeline/console/live-view.ts'
import { openVerificationKeys } from '../../../pipeline/roles/keys.ts'
import { configSchema } from '../../../schemas/config.ts'
import { pause } from '../fleet.ts'
import type { CaseFacts } from './assertions.ts'
import { readEffects } from './effects.ts'
import type { Rig } from './rig.ts'

/** An onset may be put a little before the injection: the window that holds it began earlier. */
const ONSET_SLACK_MS = 3_000
const STORE_DEADLINE_MS = 10_000 // Until the last row of an incident is in ClickHouse.
const POLL_MS = 250

/** Incidents that began with or after `sinceMs`, with all that belongs to them; the oldest first. */
export async function storiesSince({ homeostat }: Pick<Rig, 'homeostat'>, sinceMs: number): Promise<IncidentStory[]> {
  const since = (await homeostat.incidents()).filter(
    ({ openedAtMs, startedAtMs, resolvedAtMs }) => Math.min(openedAtMs, startedAtMs) >= sinceMs - ONSET_SLACK_MS && (resolvedAtMs ?? openedAtMs) >= sinceMs
  )
  const stories = await Promise.all(since.map(({ id }) => homeostat.story(id)))
  return stories.sort((a, b) => a.incident.openedAtMs - b.incident.openedAtMs)
}

/** `healthy`: what the case's own probes say at this moment. Effects and pages of before `injectedAtMs` are left out. */
export async function gather(rig: Rig, injectedAtMs: number, healthy: boolean): Promise<CaseFacts> {
  const stories = await storiesSince(rig, injectedAtMs)
  return {
    injectedAtMs,
    stories,
    effects: readEffects(rig.folder, injectedAtMs),
    pages: rig.pages.received().filter(({ atMs }) => atMs >= injectedAtMs),
    joined: await missingRows(rig, stories),
    healthy
  }
}

/** What of the stories is not in ClickHouse under the incident's id, waited for a while: the store writes in batches. */
async function missingRows(rig: Rig, stories: readonly IncidentStory[]): Promise<string[]> {
  const deadlineMs = Date.now() + STORE_DEADLINE_MS
  for (;;) {
    const problems = [...(await Promise.all(stories.map(story => missingOf(rig, story)))).flat(), ...(await auditFaults(rig))]
    if (problems.length === 0 || Date.now() >= deadlineMs || rig.signal.aborted) return problems
    await pause(POLL_MS)
  }
}

async function missingOf({ homeostat }: Rig, { incident, decisions, outcomes }: IncidentStory): Promise<string[]> {
  const checks = outcomes.flatMap(({ steps }) => steps.flatMap(step => step.checks)).length
  const wanted = {
    homeostat_incidents: 1,
    homeostat_decisions: decisions.length,
    homeostat_commands: new Set(decisions.flatMap(({ commandId }) => commandId ?? [])).size,
    homeostat_outcomes: outcomes.length,
    homeostat_checks: checks === 0 ? 0 : 1
  }
  const counts = Object.keys(wanted).map(table => `(SELECT count() FROM ${table} FINAL WHERE IncidentId = '${incident.id}') AS ${table}`)
  const evidence = `(SELECT uniqExact(AnomalyId) FROM homeostat_anomalies WHERE has((SELECT argMax(AnomalyIds, Version) FROM homeostat_incidents WHERE IncidentId = '${incident.id}'), AnomalyId)) AS anomalies`
  const [row] = await homeostat.sql<Record<string, number | string>>(`SELECT ${[...counts, evidence].join(', ')}`)
  const short = incident.id.slice(0, 8)
  const missing = Object.entries(wanted).flatMap(([table, count]) =>
    Number(row?.[table] ?? 0) >= count ? [] : [`incident ${short}: ${row?.[table] ?? 0} rows of ${count} in ${table}`]
  )
  return Number(row?.['anomalies'] ?? 0) > 0 ? missing : [...missing, `incident ${short}: none of its anomalies is in homeostat_anomalies`]
}

/** What `homeostat audit verify` would say, with the keys of the rig's own configuration. */
async function auditFaults({ folder, homeostat }: Rig): Promise<string[]> {
  const config = configSchema.parse(JSON.parse(readFileSync(join(folder, 'homeostat.yaml'), 'utf8')))
  const keys = openVerificationKeys(config, new Set())
  const { findings } = await verifyAuditStore({ sql: homeostat.sql, keys, nowMs: Date.now(), arrivalMs: 0 })
  return findings.map(({ fault, chain, seq, detail }) => `audit chain ${chain} ${seq} ${fault}: ${detail}`)
}
