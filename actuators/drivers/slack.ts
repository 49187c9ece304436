// Escalation to a chat: an incoming webhook as Slack has it, and Mattermost and Rocket.Chat after it.
//
// A chat does not deduplicate: a message whose answer was lost by a crash comes twice, with the same incident id in it.
// Texts are escaped, so that nothing that a service says can mention a channel or hide a link.

import type { Escalation, Page } from '../../schemas/ports.ts'
import { channelUrl, postPage } from './post-page.ts'

const TEXT_LENGTH_MAX = 2_000 // Slack cuts at 40,000 and folds much earlier; a person on call reads less.
const HEADLINE: Readonly<Record<Page['action'], string>> = { trigger: 'Needs you', acknowledge: 'Taken', resolve: 'Over' }
const COLOR: Readonly<Record<Page['severity'], string>> = { critical: '#b3261e', warning: '#b26a00', info: '#49637a' }
const RESOLVED_COLOR = '#2e7d32'

/** @param options.url with its credential in the path @throws AppError `config_invalid` when it is no URL */
export function slackEscalation({ url }: { url: string }): Escalation {
  const to = channelUrl(url)
  return { notify: page => postPage({ url: to }, JSON.stringify(message(page))) }
}

function message({ action, severity, summary, dedupKey, urgency, owner, details }: Page) {
  const facts = { severity, urgency, owner: owner === null ? 'nobody is named as its owner' : owner, incident: dedupKey, ...plain(details) }
  const fields = Object.entries(facts).filter(([, value]) => value !== undefined && value !== '')
  const text = `*${HEADLINE[action]}:* ${escaped(summary)}`.slice(0, TEXT_LENGTH_MAX)
  const lines = fields.map(([name, value]) => `*${escaped(name)}:* ${escaped(String(value))}`)
  const color = action === 'resolve' ? RESOLVED_COLOR : COLOR[severity]
  // `fallback` and `text` are all that the lookalikes read.
  return { text, attachments: [{ color, fallback: text, text: lines.join('\n').slice(0, TEXT_LENGTH_MAX), mrkdwn_in: ['text'] }] }
}

const SHOWN = ['environment', 'target', 'runbook', 'policy', 'attempts', 'resolution', 'by'] as const

/** The details that fit into a line each. */
function plain(details: Page['details']): Record<string, unknown> {
  return Object.fromEntries(SHOWN.flatMap(name => (['string', 'number'].includes(typeof details[name]) ? [[name, details[name]]] : [])))
}

/** Slack's control characters (docs: "Formatting text for app surfaces", escaping), and marks that would restyle the line. */
function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/[`*\r\n]/g, ' ')
}
