// One try to hand a page to a channel: a JSON POST whose failures never tell a secret.
//
// Repeats are the caller's (escalate/sender.ts, execute/outbox.ts), with the same dedup key and idempotency key.

import { AppError } from '../../schemas/errors.ts'
import { sendHttp } from './http-client.ts'
import { redactor } from './redact.ts'

const TIMEOUT_MS = 10_000
const EXCERPT_LENGTH_MAX = 200

export interface PageTarget {
  url: URL
  headers?: Readonly<Record<string, string>>
  /** What must appear in no message, beside the URL's path and query. */
  secrets?: readonly string[]
}

/** The URL of a channel. @throws AppError `config_invalid` when it is no http(s) URL; the message does not repeat it */
export function channelUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new AppError('config_invalid', 'act.escalation: the URL of a channel is not an http(s) URL')
  return url
}

/** Resolves when the channel answered 2xx. @throws AppError `escalation_failed` */
export async function postPage({ url, headers = {}, secrets = [] }: PageTarget, body: string): Promise<void> {
  // Many channels carry their credential in the path.
  const redact = redactor([url.pathname + url.search, url.pathname, ...secrets])
  const result = await sendHttp({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', 'user-agent': 'homeostat', ...headers },
    body,
    timeoutMs: TIMEOUT_MS
  })
  if (result.kind !== 'answered') throw new AppError('escalation_failed', redact(result.reason))
  if (result.status >= 200 && result.status < 300) return
  throw new AppError('escalation_failed', redact(`${url.host} answered ${result.status} ${result.body.slice(0, EXCERPT_LENGTH_MAX)}`.trim()))
}
