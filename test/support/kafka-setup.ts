// vitest's global set-up: one Kafka broker for the whole run, started when the first test asks for it, stopped at the end.
//
// Test files run in worker processes; this runs in vitest's own. A worker asks over HTTP on loopback (shared-kafka.ts).

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { type KafkaBroker, startKafka } from './kafka-broker.ts'

/** What a worker is told about the broker: the fields of KafkaBroker that are data. */
export type SharedKafka = Pick<KafkaBroker, 'brokers' | 'port' | 'proxied' | 'pid'>

declare module 'vitest' {
  interface ProvidedContext {
    /** Port of the door where a worker asks for the broker. */
    kafkaDoor: number
  }
}

/** Opens the door; the returned function stops the broker if one was started. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let broker: Promise<KafkaBroker> | undefined
  const server = createServer((_request, response) => {
    broker ??= startKafka().catch(() => startKafka()) // Once more: ports and memory are the machine's.
    broker.then(
      ({ brokers, port, proxied, pid }) => response.end(JSON.stringify({ brokers, port, proxied, pid } satisfies SharedKafka)),
      error => response.writeHead(500).end(String(error))
    )
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  project.provide('kafkaDoor', (server.address() as AddressInfo).port)
  return async () => {
    server.closeAllConnections()
    server.close()
    await (await broker?.catch(() => undefined))?.stop()
  }
}
