// The small fleet of UC5 and the case's hands on it: the deploy pipeline, the operator, and the proxy's own numbers.

import type { Canary } from '../../../../schemas/canary.ts'
import type { CanaryOrder } from '../../../../schemas/control.ts'
import { NAMESPACE } from '../../layout.ts'
import { type Effect, readEffects } from '../effects.ts'
import type { ReceivedPage } from '../pages.ts'
import { type Rig, until, untilAnswers } from '../rig.ts'
import { storiesSince } from '../gather.ts'
import { armName, BASELINE, CANARIES, type CanaryName, DEPENDENCY, PROXY, SERVICE, STABLE, targetOf, type VersionCount } from './rollout.ts'

const START_DEADLINE_MS = 30_000
const QUIET_DEADLINE_MS = 60_000
/** Shares of the customers while a canary runs. */
const WEIGHTS = { canary: 45, baseline: 45, stable: 10 }
/** Of both measures. On a shared machine the slowest twentieth says little: five times as slow would still be seen. */
const TOLERANCE = { errorDifference: 0.015, latencyRatio: 5 }
const SHOWN_DEADLINE_MS = 10_000

export interface Uc5Stage {
  rig: Rig
  /** Starts the canary's process, gives it and the baseline weight, and orders the comparison. @returns when that was, epoch ms */
  release(name: CanaryName, fields?: Partial<CanaryOrder>, weights?: typeof WEIGHTS): Promise<number>
  order(name: CanaryName, order: CanaryOrder['order'], fields?: Partial<CanaryOrder>): Promise<{ status: number; message: string }>
  /** The canary as a pipeline reads it, once it `is`. */
  canary(name: CanaryName, is: (canary: Canary) => boolean): Promise<Canary | undefined>
  /** All traffic to the canary, as a pipeline does that reads `passed`. */
  promote(name: CanaryName): Promise<void>
  weigh(version: string, weight: number): Promise<Response>
  counts(): Promise<Record<string, VersionCount>>
  reset(): Promise<void>
  rate(perMinute: number): Promise<void>
  failDependency(ratio: number): Promise<void>
  effects(sinceMs: number): Effect[]
  pages(sinceMs: number): ReceivedPage[]
  /** Whether the proxy sends it no customers. */
  isWithoutWeight(name: CanaryName): Promise<boolean>
  /** Commands that the scorecard's M7 counts as rollbacks; undefined while it has none. */
  rollbacks(): Promise<number | undefined>
  /** Waits until every incident is over. */
  untilQuiet(): Promise<void>
  /** Stable alone serves, nothing is compared, and every incident is over. */
  backToStable(): Promise<void>
}

export async function openStage(rig: Rig, perMinute: number): Promise<Uc5Stage> {
  const stage = stageOf(rig)
  for (const name of [DEPENDENCY, PROXY, armName(STABLE), armName(BASELINE)]) await rig.start(name)
  for (const version of [STABLE, BASELINE]) await untilAnswers(rig, armName(version))
  await until(rig, START_DEADLINE_MS, () =>
    stage.weigh(STABLE, 100).then(
      ({ ok }) => ok,
      () => false
    )
  )
  await stage.weigh(BASELINE, 0)
  await stage.rate(perMinute)
  return stage
}

function stageOf(rig: Rig): Uc5Stage {
  const admin = (path: string, init?: RequestInit): Promise<Response> => fetch(`http://127.0.0.1:${rig.ports['admin']}${path}`, init)

  const stage: Uc5Stage = {
    rig,
    async release(name, fields = {}, weights = WEIGHTS) {
      const version = CANARIES[name]
      await rig.start(armName(version))
      await untilAnswers(rig, armName(version))
      await stage.weigh(STABLE, weights.stable)
      await stage.weigh(BASELINE, weights.baseline)
      await stage.weigh(version, weights.canary)
      await stage.reset()
      const startedAtMs = Date.now()
      rig.say(`UC5/${name}: canary ${version} is compared with ${BASELINE}`)
      const { status, message } = await stage.order(name, 'start', fields)
      if (status !== 200) throw new Error(`the canary ${name} could not start: ${status} ${message}`)
      await until(rig, SHOWN_DEADLINE_MS, () => stage.canary(name, () => true))
      return startedAtMs
    },
    async order(name, order, fields = {}) {
      const named = { kind: 'canary', id: name, order, by: order === 'start' ? 'pipeline' : 'ann' }
      const start = { environment: rig.environment, service: `${NAMESPACE}/${SERVICE}`, canary: CANARIES[name], baseline: BASELINE, ...TOLERANCE, ...fields }
      const response = await rig.homeostat.post('/api/controls', order === 'start' ? { ...named, ...start } : named)
      return { status: response.status, message: await response.text() }
    },
    async canary(name, is) {
      const response = await fetch(`${rig.homeostat.address()}/api/canaries`)
      const canary = ((await response.json()) as Canary[]).find(({ id }) => id === name)
      return canary !== undefined && is(canary) ? canary : undefined
    },
    async promote(name) {
      await stage.weigh(CANARIES[name], 100)
      for (const version of [STABLE, BASELINE]) await stage.weigh(version, 0)
    },
    weigh: (version, weight) => admin(`/versions/${encodeURIComponent(targetOf(version))}`, { method: 'PUT', body: JSON.stringify({ args: { weight } }) }),
    counts: async () => (await (await admin('/versions')).json()) as Record<string, VersionCount>,
    reset: async () => void (await admin('/reset', { method: 'POST' })),
    rate: async perMinute => void (await admin(`/rate?perMinute=${perMinute}`, { method: 'POST' })),
    failDependency: async ratio => void (await fetch(`http://127.0.0.1:${rig.ports[DEPENDENCY]}/admin/fail?ratio=${ratio}`, { method: 'POST' })),
    effects: sinceMs => readEffects(rig.folder, sinceMs),
    pages: sinceMs => rig.pages.received().filter(({ atMs }) => atMs >= sinceMs),
    isWithoutWeight: async name => (await stage.counts())[CANARIES[name]]?.weight === 0,
    async rollbacks() {
      const counted = await until(rig, START_DEADLINE_MS, async () => {
        const rows = rig.homeostat.sql<{ rollbacks: number | null }>('SELECT value * samples AS rollbacks FROM homeostat_m07_rollback')
        const [row] = await rows.catch(() => []) // A store that is busy is asked again.
        return typeof row?.rollbacks === 'number' && row.rollbacks
      })
      return counted === undefined ? undefined : Math.round(counted)
    },
    async backToStable() {
      await stage.weigh(STABLE, 100)
      for (const version of Object.keys(await stage.counts())) if (version !== STABLE) await stage.weigh(version, 0)
      for (const { id, state } of (await (await fetch(`${rig.homeostat.address()}/api/canaries`)).json()) as Canary[]) {
        if (['running', 'paused', 'inconclusive', 'no_data'].includes(state)) await stage.order(id as CanaryName, 'release')
      }
      await stage.untilQuiet()
    },
    async untilQuiet() {
      await until(rig, QUIET_DEADLINE_MS, async () => (await storiesSince(rig, 0)).every(({ incident }) => incident.status === 'resolved'))
    }
  }
  return stage
}
