// 24: an incident that stays blocked calls people in time, and who was called hears its end. Told from the log and from the pages that
// arrived; what control counts is not looked at.

import type { Decision } from '../../schemas/decision.ts'
import type { Page } from '../../schemas/ports.ts'
import type { Facts } from './facts.ts'
import type { SimPolicy } from './policies.ts'
import type { SimProcess } from './process.ts'

const RULE = '24 called in time'
/** Time under these does not count: people hold it back, or a storm is told. */
const HELD: readonly string[] = ['kill_switch', 'maintenance_window', 'deploy_window', 'ownership', 'storm']

export interface CallWitnessOptions {
  facts: Facts
  policy: SimPolicy
  fail: (invariant: string, detail: string) => void
  /** What control may take from a moment that is due to the record of it. */
  slackMs: number
}

export class CallWitness {
  readonly #options: CallWitnessOptions
  /** Incident → its last decision, and world time of the last word about it. */
  readonly #waiting = new Map<string, { last: Decision | undefined; newsAtMs: number; isCalled: boolean }>()

  constructor(options: CallWitnessOptions) {
    this.#options = options
  }

  /** Anything about an incident that is new: a conservative beginning of the time that counts. */
  onNews(incidentId: string, nowMs: number, decision?: Decision, isCalled = false): void {
    const known = this.#waiting.get(incidentId)
    const last = decision ?? known?.last
    const called = decision !== undefined && (decision.calledPeople === true || decision.outcome === 'ask' || decision.outcome === 'escalate')
    this.#waiting.set(incidentId, { last, newsAtMs: nowMs, isCalled: isCalled || called || known?.isCalled === true })
  }

  /** @param controls all processes of control that there should be */
  look(controls: readonly (SimProcess | undefined)[], nowMs: number): void {
    const { facts, policy, fail, slackMs } = this.#options
    const boundMs = policy.blockedForMs + slackMs
    for (const [id, { last, newsAtMs, isCalled }] of this.#waiting) {
      if (isCalled || last === undefined || nowMs - newsAtMs <= boundMs) continue
      if (last.outcome !== 'blocked' && last.outcome !== 'would_act') continue
      const incident = facts.incidents.get(id)!
      const isTelling = incident.members.some(({ closedAtMs, severity }) => closedAtMs === null && severity !== 'info')
      // What was healed is awaited to go; when it does not, the incident says that it was not.
      if (incident.status === 'resolved' || incident.healedAtMs !== null || !isTelling || last.blockedBy.some(guard => HELD.includes(guard))) continue
      const haveRun = controls.every(process => process?.isAlive && process.startedAtMs <= newsAtMs && process.runningSinceMs(newsAtMs) > boundMs)
      if (haveRun) fail(RULE, `incident ${id} is blocked by ${last.blockedBy.join(', ')} for ${Math.round(nowMs - newsAtMs)} ms, and nobody was called`)
    }
  }

  /** What people who were called for what stayed blocked have not heard; empty when all is well. */
  missing(pages: readonly Page[]): string[] {
    const { facts } = this.#options
    return [...facts.decisions.values()].flatMap(({ calledPeople, outcome, incidentId }) => {
      if (!calledPeople || outcome !== 'blocked') return []
      const actions = pages.filter(({ dedupKey }) => dedupKey === incidentId).map(({ action }) => action)
      return actions.includes('trigger') && !actions.includes('resolve') ? [`${RULE}: the end of incident ${incidentId} was not told`] : []
    })
  }
}
