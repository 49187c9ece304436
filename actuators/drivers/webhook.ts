// Escalation by webhook: one JSON POST a page, signed, so that the receiver can tell it from anyone else's.
//
// Header `homeostat-signature: t=<epoch s>,v1=<hex>`, where v1 = HMAC-SHA256(secret, `<t>.<body>`); a receiver refuses an
// old t. Body: {source, action, dedupKey, severity, summary, urgency, owner, details}. Header `idempotency-key`: the same in
// every repeat of one delivery, so a receiver that remembers it shows each once, whatever crashed.

import { createHmac } from 'node:crypto'
import type { Escalation } from '../../schemas/ports.ts'
import { channelUrl, postPage } from './post-page.ts'

export interface WebhookOptions {
  url: string
  /** Resolved. Without one the page is not signed. */
  secret?: string | undefined
}

/** @throws AppError `config_invalid` when the URL is none */
export function webhookEscalation({ url, secret }: WebhookOptions): Escalation {
  const to = channelUrl(url)
  return {
    async notify({ idempotencyKey, ...page }) {
      const body = JSON.stringify({ source: 'homeostat', ...page })
      const headers: Record<string, string> = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }
      if (secret !== undefined) {
        const atS = Math.floor(Date.now() / 1_000)
        headers['homeostat-signature'] = `t=${atS},v1=${createHmac('sha256', secret).update(`${atS}.${body}`).digest('hex')}`
      }
      await postPage({ url: to, headers, secrets: secret === undefined ? [] : [secret] }, body)
    }
  }
}
