// The signal of the guarded fleet: a prober with alert rules, as a blackbox exporter with an Alertmanager is one.
//
// Each watched part is asked every 200 ms. What fails twice in a row fires, what answers twice in a row is resolved: webhooks of
// version 4 to Homeostat's own door, as any Alertmanager sends them. So an incident opens within a second, without a baseline.

import { derivedId } from '../../../../schemas/ids.ts'
import type { RigLayout } from '../rig.ts'

const BEAT_MS = 200
const TIMEOUT_MS = 500
const TURNS = 2

export interface Watcher {
  watch(member: string, parts: readonly string[]): void
  /** Alerts of the member end, and it is asked no more. */
  unwatch(member: string): Promise<void>
  /** An alarm by nobody's probe: fires, or ends. */
  alarm(alarms: readonly Alarm[], isFiring: boolean): Promise<void>
  close(): void
}

export interface Alarm {
  member: string
  part: string
  /** Of several of one service; absent: the only one. */
  instance?: string
}

interface Watched extends Alarm {
  turns: number
  isFiring: boolean
}

/** The entity of a member, as its alerts name it. */
export function entityOf(member: string, instance = `${member}-1`): string {
  return `lab/${member}@${instance}`
}

export function openWatcher({ ports, otlp, environment }: Pick<RigLayout, 'ports' | 'otlp' | 'environment'>): Watcher {
  const watched = new Map<string, Watched>()
  const startedAt = new Map<string, string>()

  async function send(alarms: readonly Alarm[], isFiring: boolean): Promise<void> {
    const now = new Date().toISOString()
    const alerts = alarms.map(({ member, part, instance }) => {
      const fingerprint = derivedId('alert', member, instance ?? '', part).slice(0, 16)
      if (isFiring) startedAt.set(fingerprint, now)
      return {
        status: isFiring ? 'firing' : 'resolved',
        labels: {
          alertname: `part_${part}`,
          severity: 'critical',
          environment,
          homeostat_entity: entityOf(member, instance),
          homeostat_kind: 'errors'
        },
        annotations: { summary: `part ${part} of ${instance ?? member} does not answer` },
        startsAt: startedAt.get(fingerprint) ?? now,
        ...(isFiring ? {} : { endsAt: now }),
        fingerprint
      }
    })
    const body = JSON.stringify({ version: '4', status: isFiring ? 'firing' : 'resolved', alerts })
    const response = await fetch(`http://${otlp.http}/v1/alerts`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    if (!response.ok) throw new Error(`/v1/alerts answered ${response.status}: ${await response.text()}`)
  }

  async function look(each: Watched): Promise<void> {
    const isOk = await fetch(`http://127.0.0.1:${ports[each.member]}/healthz?part=${each.part}`, { signal: AbortSignal.timeout(TIMEOUT_MS) }).then(
      response => response.ok,
      () => false
    )
    if (watched.get(keyOf(each)) !== each) return // Unwatched meanwhile.
    each.turns = isOk === each.isFiring ? each.turns + 1 : 0
    if (each.turns < TURNS) return
    each.turns = 0
    each.isFiring = !each.isFiring
    // While Homeostat is away the alert is sent by the next turn: what was not taken has not fired.
    await send([each], each.isFiring).catch(() => {
      each.isFiring = !each.isFiring
    })
  }

  const timer = setInterval(() => {
    for (const each of watched.values()) void look(each)
  }, BEAT_MS)

  return {
    watch(member, parts) {
      for (const part of parts) watched.set(keyOf({ member, part }), { member, part, turns: 0, isFiring: false })
    },
    async unwatch(member) {
      const own = [...watched.values()].filter(each => each.member === member)
      for (const each of own) watched.delete(keyOf(each))
      const firing = own.filter(({ isFiring }) => isFiring)
      if (firing.length > 0) await send(firing, false)
    },
    alarm: send,
    close: () => clearInterval(timer)
  }
}

const keyOf = ({ member, part }: Alarm): string => `${member}/${part}`
