// Escalation by PagerDuty's Events API v2: trigger, acknowledge, resolve; the incident's id is the dedup key.
//
// PagerDuty opens one alert a key however often the event comes, so a repeat after a crash wakes nobody twice.

import type { Escalation, Page } from '../../schemas/ports.ts'
import { channelUrl, postPage } from './post-page.ts'

const SUMMARY_LENGTH_MAX = 1_024 // Events API v2, field `payload.summary`.
const DEDUP_KEY_LENGTH_MAX = 255
const DETAILS_LENGTH_MAX = 256 * 1_024 // An event may have 512 KB; the rest of it is small.

export interface PagerDutyOptions {
  url: string
  /** Integration key of the service, resolved. */
  routingKey: string
}

/** @throws AppError `config_invalid` when the URL is none */
export function pagerDutyEscalation({ url, routingKey }: PagerDutyOptions): Escalation {
  const to = channelUrl(url)
  return { notify: page => postPage({ url: to, secrets: [routingKey] }, JSON.stringify(event(page, routingKey))) }
}

function event({ action, dedupKey, severity, summary, urgency, owner, details }: Page, routingKey: string) {
  const head = { routing_key: routingKey, event_action: action, dedup_key: dedupKey.slice(0, DEDUP_KEY_LENGTH_MAX) }
  if (action !== 'trigger') return head // The API reads nothing else then.
  const told = { ...details, urgency, owner }
  return {
    ...head,
    client: 'Homeostat',
    payload: {
      summary: summary.slice(0, SUMMARY_LENGTH_MAX),
      source: text(details.target) ?? text(details.environment) ?? 'homeostat',
      severity,
      component: text(details.target),
      group: text(details.environment),
      class: 'incident',
      custom_details: JSON.stringify(told).length > DETAILS_LENGTH_MAX ? { incidentId: details.incidentId, omitted: 'too large' } : told
    }
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
