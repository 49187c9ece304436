// Escalation to Alertmanager by its API v2 (POST /api/v2/alerts): one alert an incident, ended when the incident is over.
//
// Alertmanager knows an alert by its labels, so they hold only what does not change between trigger and resolve. It ends an alert
// by itself at `endsAt`: far away while it is open, now when it is over. Sent twice it is the same alert.

import type { Escalation, Page } from '../../schemas/ports.ts'
import { channelUrl, postPage } from './post-page.ts'

/** Label that marks alerts of ours; the door for alerts refuses them, or an incident would feed itself. */
export const OWN_ALERT_LABEL = 'homeostat_incident'
const ALERT_NAME = 'HomeostatIncident'
/** An open alert whose end was never told goes away by itself, as an incident that nothing changes expires after a day. */
const OPEN_MS = 7 * 86_400_000
const ANNOTATION_LENGTH_MAX = 4_000

export interface AlertmanagerOptions {
  /** Its root, as `http://alertmanager:9093`; with the path prefix where it has one. */
  url: string
  /** Bearer token, resolved. */
  token?: string | undefined
}

/** @throws AppError `config_invalid` when the URL is none */
export function alertmanagerEscalation({ url, token }: AlertmanagerOptions): Escalation {
  const to = channelUrl(`${channelUrl(url).href.replace(/\/+$/, '')}/api/v2/alerts`)
  const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return {
    async notify(page) {
      if (page.action === 'acknowledge') return // It has no such state; a person silences there what they have taken.
      await postPage({ url: to, headers: authorization, secrets: token === undefined ? [] : [token] }, JSON.stringify([alert(page, Date.now())]))
    }
  }
}

function alert({ action, dedupKey, severity, summary, urgency, owner, details }: Page, nowMs: number) {
  const labels = { alertname: ALERT_NAME, [OWN_ALERT_LABEL]: dedupKey, severity, urgency, owner: owner ?? undefined, environment: details.environment }
  const annotations = { summary, target: details.target, policy: details.policy, runbook: details.runbook, details: JSON.stringify(details) }
  return {
    labels: texts(labels),
    annotations: texts(annotations),
    endsAt: new Date(action === 'resolve' ? nowMs : nowMs + OPEN_MS).toISOString()
  }
}

/** Alertmanager takes texts only, and an empty label is none. */
function texts(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (typeof value === 'string' && value !== '' ? [[name, value.slice(0, ANNOTATION_LENGTH_MAX)]] : []))
  )
}
