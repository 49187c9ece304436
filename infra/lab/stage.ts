// What a run stands on, whatever stands behind it: the fleets and the Homeostat that watches them.
//
// The lab, its judge and the crash test know this alone; one process (homeostat.ts) and a cluster of roles (cluster.ts) are two of it.

import type { IncidentStory } from '../../pipeline/console/live-view.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { PageReceiver } from './cases/pages.ts'
import type { LabLayout } from './layout.ts'

const REQUEST_TIMEOUT_MS = 30_000 // It ends a request that hangs; who asks is no judge of the console's speed.
const PROBE_TIMEOUT_MS = 5_000 // Asked again by whoever waits.

/** Homeostat as any user reaches it. */
export interface Homeostat {
  /** Console address. */
  address(): string
  /** Starts it and waits until it is ready. @returns ms that took @throws Error with the end of its log */
  start(): Promise<number>
  /** kill -9 of every process of it, gone when it resolves. */
  kill(): Promise<void>
  incidents(): Promise<Incident[]>
  story(id: string): Promise<IncidentStory>
  sql<Row = Record<string, unknown>>(query: string): Promise<Row[]>
  /** A write of the console's API. @returns its answer, whatever it is */
  post(path: string, body: object): Promise<Response>
}

export interface StageProcess {
  /** Alone in the run: `detect-1`. */
  name: string
  /** The role that it has: `detect`, `broker`, `all`, … */
  role: string
  /** Undefined while it does not run. */
  pid: number | undefined
}

export interface Stage {
  /** Everything of the run is in it. */
  folder: string
  homeostat: Homeostat
  fleets: readonly LabLayout[]
  /** What people were told, where a channel to them was configured. */
  pages?: PageReceiver
  processes(): StageProcess[]
  /** What does not hold of the processes themselves, in sentences; asked while the fleets are healthy. */
  failures(): Promise<string[]>
  /** Ends every process of the run; the folder goes too unless it is kept. */
  end(keep: boolean): Promise<void>
}

/** The same Homeostat, its incidents those of one environment. */
export function ofEnvironment(homeostat: Homeostat, environment: string): Homeostat {
  return { ...homeostat, incidents: async () => (await homeostat.incidents()).filter(incident => incident.environment === environment) }
}

/** The questions to the console. `whyNot` says what became of the process that does not answer. */
export function consoleClient(address: () => string, whyNot: () => string): Pick<Homeostat, 'incidents' | 'story' | 'sql' | 'post'> {
  /** With a body it is a POST. */
  async function ask<Result>(path: string, body?: object): Promise<Result> {
    const response = await (body === undefined ? send(path) : post(path, body)).catch(cause => {
      throw new Error(`Homeostat does not answer at ${path.split('?')[0]}${whyNot()}`, { cause })
    })
    if (!response.ok) throw new Error(`${path.split('?')[0]} answered ${response.status}: ${(await response.text()).slice(0, 300)}`)
    return (await response.json()) as Result
  }
  const send = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${address()}${path}`, { ...init, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })
  const post = (path: string, body: object): Promise<Response> =>
    send(path, { method: 'POST', headers: { 'content-type': 'application/json', 'x-homeostat': '1' }, body: JSON.stringify(body) })
  return {
    incidents: () => ask<Incident[]>('/api/incidents?limit=100'),
    story: id => ask<IncidentStory>(`/api/incidents/${id}`),
    // The audit of a long chain asks with more than a request's first line holds.
    sql: query => ask('/api/sql', { query }),
    post
  }
}

/** Why the process whose probes are at `address` is not ready, in its own words; undefined when it is. */
export async function whyNotReady(address: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${address}/readyz`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
    const text = await response.text()
    if (response.status === 200) return undefined
    const { checks } = JSON.parse(text) as { checks: { name: string; ok: boolean; detail: string }[] }
    return checks.flatMap(({ name, ok, detail }) => (ok ? [] : [`${name}: ${detail}`])).join(', ') || `status ${response.status}`
  } catch (error) {
    return `no answer (${(error as Error).message})`
  }
}
