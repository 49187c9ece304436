// Escalation by webhook: one JSON POST a page, signed, so that the receiver can tell it from anyone else's.
//
// Header `homeostat-signature: t=<epoch s>,v1=<hex>`, where v1 = HMAC-SHA256(secret, `<t>.<body>`); a receiver refuses an
// old t. Body: {source, action, dedupKey, severity, summary, details}. Repeats come from the outbox with the same
// dedupKey; here is one try.

import { createHmac } from 'node:crypto'
import { AppError } from '../../schemas/errors.ts'
import type { Escalation } from '../../schemas/ports.ts'
import { sendHttp } from './http-client.ts'
import { redactor } from './redact.ts'

const TIMEOUT_MS = 10_000
const EXCERPT_LENGTH_MAX = 200

export interface WebhookOptions {
  url: string
  /** Resolved. Without one the page is not signed. */
  secret?: string | undefined
}

/** @throws AppError `config_invalid` when the URL is none */
export function webhookEscalation({ url, secret }: WebhookOptions): Escalation {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw new AppError('config_invalid', 'act.escalation: the URL is not an http(s) URL')
  const to = new URL(url)
  // Many channels carry their credential in the path.
  const redact = redactor([to.pathname + to.search, ...(secret === undefined ? [] : [secret])])
  return {
    async notify(page) {
      const body = JSON.stringify({ source: 'homeostat', ...page })
      const atS = Math.floor(Date.now() / 1_000)
      const signature =
        secret === undefined ? {} : { 'homeostat-signature': `t=${atS},v1=${createHmac('sha256', secret).update(`${atS}.${body}`).digest('hex')}` }
      const headers = { 'content-type': 'application/json', 'user-agent': 'homeostat', ...signature }
      const result = await sendHttp({ method: 'POST', url: to, headers, body, timeoutMs: TIMEOUT_MS })
      if (result.kind !== 'answered') throw new AppError('escalation_failed', redact(result.reason))
      if (result.status >= 200 && result.status < 300) return
      throw new AppError('escalation_failed', redact(`${to.host} answered ${result.status} ${result.body.slice(0, EXCERPT_LENGTH_MAX)}`.trim()))
    }
  }
}
