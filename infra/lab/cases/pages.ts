// Receives the pages of a case: a webhook on loopback that answers 200 and keeps what it was told.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from '../../../schemas/page.ts'

export type ReceivedPage = Page & { atMs: number }

export interface PageReceiver {
  url: string
  /** In the order of their arrival, repeats of one delivery left out. */
  received(): readonly ReceivedPage[]
  close(): Promise<void>
}

export async function openPages(): Promise<PageReceiver> {
  const received = new Map<string, ReceivedPage>()
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const page = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Page
    const delivery = incoming.headers['idempotency-key'] ?? `${received.size}`
    if (!received.has(String(delivery))) received.set(String(delivery), { ...page, atMs: Date.now() })
    outgoing.writeHead(200).end()
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/pages`,
    received: () => [...received.values()],
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

/** What calls somebody: one incident pages once, however often it is told anew. */
export function pagedIncidents(pages: readonly ReceivedPage[]): string[] {
  return [...new Set(pages.filter(({ action, urgency }) => action === 'trigger' && urgency !== 'ticket').map(({ dedupKey }) => dedupKey))]
}
