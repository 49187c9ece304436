// The one Kafka broker that the test files of a vitest run share. Whoever kills or pauses brokers starts another with startKafka.
//
// It is never emptied: a test takes topic and group names of its own (`homeostat.commands.<own environment>.v1` where they must be ours).

import { inject } from 'vitest'
import type { SharedKafka } from './kafka-setup.ts'

/**
 * The broker, started with the first call of the run: 3 s on an idle machine, 20 on a busy one. So ask in beforeAll, whose time is longer.
 * @throws Error with the broker's words when it could not be started
 */
export async function sharedKafka(): Promise<SharedKafka> {
  const response = await fetch(`http://127.0.0.1:${inject('kafkaDoor')}/`)
  const body = await response.text()
  if (!response.ok) throw new Error(body)
  return JSON.parse(body) as SharedKafka
}
