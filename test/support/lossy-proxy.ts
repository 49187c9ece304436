// A TCP proxy between a Kafka client and the shared broker that loses what a network loses: answers, connections, the way itself.
//
// It stands before the broker's second listener (`broker.proxied`), so clients that come through it are told its address and stay
// with it. One at a time a broker.

import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { SharedKafka } from './kafka-setup.ts'

export interface LossyProxy {
  /** What a client is given. */
  brokers: string[]
  /** Requests reach the broker, answers do not come back; after `ms` every connection is cut. */
  swallow(ms: number): Promise<void>
  /** As `swallow`, then nobody can connect for `outageMs`. */
  outage(swallowMs: number, outageMs: number): Promise<void>
  /** Connections that were cut so far. */
  cuts(): number
  close(): Promise<void>
}

export async function lossyProxy({ proxied }: Pick<SharedKafka, 'proxied'>): Promise<LossyProxy> {
  const clients = new Set<Socket>()
  let isSwallowing = false
  let isDown = false
  let cuts = 0
  const server = createServer(client => {
    if (isDown) return void client.destroy()
    const broker = connect(proxied.port, '127.0.0.1')
    clients.add(client)
    client.pipe(broker)
    broker.on('data', chunk => {
      if (!isSwallowing && !client.write(chunk)) broker.pause()
    })
    client.on('drain', () => broker.resume())
    for (const socket of [client, broker]) socket.on('error', () => {})
    client.on('close', () => {
      clients.delete(client)
      broker.destroySoon() // What the client has sent still reaches the broker.
    })
    broker.on('close', () => client.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(proxied.advertisedPort, '127.0.0.1', resolve)
  })
  const cut = (): void => {
    cuts += clients.size
    for (const client of clients) client.destroy()
  }
  const swallow = async (ms: number): Promise<void> => {
    isSwallowing = true
    await delay(ms)
    cut()
    isSwallowing = false
  }
  return {
    brokers: [`127.0.0.1:${proxied.advertisedPort}`],
    swallow,
    async outage(swallowMs, outageMs) {
      isSwallowing = true
      await delay(swallowMs)
      isDown = true
      cut()
      isSwallowing = false
      await delay(outageMs)
      isDown = false
    },
    cuts: () => cuts,
    async close() {
      for (const client of clients) client.destroy()
      await new Promise(resolve => server.close(resolve))
    }
  }
}
