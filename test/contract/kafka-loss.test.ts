// What the Kafka log acknowledged is in the log, where it said, although answers, connections and the brokers go away meanwhile.
//
// A proxy swallows the broker's answers and then cuts all connections, ten times; then it is away for seconds. Four writers go on as
// senders do: who is refused sends again. Lost records fail the test; repeated ones must each come from a refused append, and are stated.
// A reader comes through the same proxy and misses nothing.
// HOMEOSTAT_LOSS_FAULTS=200 makes it longer.

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KafkaLog } from '../../pipeline/log/kafka/kafka-log.ts'
import { kafkajsClient } from '../../pipeline/log/kafka/kafkajs-client.ts'
import { platformaticClient } from '../../pipeline/log/kafka/platformatic-client.ts'
import { systemClock } from '../../pipeline/system.ts'
import { AppError } from '../../schemas/errors.ts'
import type { LogRecord } from '../../schemas/ports.ts'
import { commandsTopic } from '../../schemas/topics.ts'
import { kafkaSkipReason } from '../support/kafka-broker.ts'
import type { SharedKafka } from '../support/kafka-setup.ts'
import { aName, aTopic, fetchAll, kafkaOptions } from '../support/kafka-tools.ts'
import { bytes, eventually, textOf } from '../support/log-tools.ts'
import { type LossyProxy, lossyProxy } from '../support/lossy-proxy.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import type { MakeClient } from './kafka-client.ts'

const FAULTS = Number(process.env['HOMEOSTAT_LOSS_FAULTS'] ?? 10)
const SWALLOW_MS = 150
const CALM_MS = 350 // Clients reconnect within 100 ms and are well under way again.
const OUTAGE_MS = 2_500
const UNDER_WAY = 200 // Records acknowledged before a fault begins, and again after the last one is over.
const SESSION_MS = 6_000 // Who is cut off is a member again, or is forgotten, within seconds.
const WRITERS = 4
const PER_APPEND = 5
const PARTITIONS = 3
const CLIENTS: Readonly<Record<string, MakeClient>> = { kafkajs: kafkajsClient, platformatic: platformaticClient }

const reason = kafkaSkipReason()
let kafka: SharedKafka
let proxy: LossyProxy

describe.skipIf(reason !== undefined)(`what Kafka acknowledged stays${reason === undefined ? '' : ` (${reason})`}`, () => {
  beforeAll(async () => {
    kafka = await sharedKafka()
    proxy = await lossyProxy(kafka)
  })
  afterAll(() => proxy?.close())

  const faults: Readonly<Record<string, () => Promise<void>>> = {
    [`${FAULTS} times lost answers and cut connections`]: async () => {
      for (let count = 0; count < FAULTS; count++) {
        await proxy.swallow(SWALLOW_MS)
        await delay(CALM_MS)
      }
    },
    'lost answers and brokers that are away for seconds': () => proxy.outage(SWALLOW_MS, OUTAGE_MS)
  }
  for (const [name, make] of Object.entries(CLIENTS)) {
    for (const [what, fault] of Object.entries(faults)) {
      test(
        `${name}: ${what}`,
        async () => {
          const { acknowledged, refused, written, recoveredMs } = await writeThrough(make, fault)
          const places = Map.groupBy(written, textOf)
          const lost = [...acknowledged].filter(([text, place]) => !places.get(text)?.some(record => placeOf(record) === place))
          const repeated = written.length - places.size
          console.info(
            `${name}, ${what}: ${acknowledged.size} acknowledged, ${lost.length} lost, ${repeated} twice, ${refused} appends refused, under way again after ${recoveredMs} ms`
          )
          expect(lost).toEqual([])
          expect(repeated).toBeLessThanOrEqual(refused * PER_APPEND)
          expect(inOrder(written)).toBe(true)
        },
        240_000 + FAULTS * 1_000
      )
    }
  }
})

interface Writing {
  /** Text of each acknowledged record to the place it was acknowledged at. */
  acknowledged: Map<string | null, string>
  refused: number
  /** All that lies in the topic in the end, partition by partition. */
  written: LogRecord[]
  /** From the end of the last fault until the writers are under way again. */
  recoveredMs: number
}

/**
 * Appends and reads through the proxy while `fault` goes on, and a little after; then looks at the log without the proxy.
 * @throws Error when the writers do not get under way again, or the reader misses a record
 */
async function writeThrough(make: MakeClient, fault: () => Promise<void>): Promise<Writing> {
  const direct = make(kafkaOptions(kafka.brokers))
  const topic = commandsTopic(aName('loss'))
  const admin = await direct.openAdmin()
  await admin.create([aTopic(topic, { partitions: PARTITIONS })])
  const options = kafkaOptions(proxy.brokers, { instance: aName('instance'), sessionTimeoutMs: SESSION_MS })
  const log = await KafkaLog.open({ ...options, client: make(options), topics: [topic], groupCommitMs: 2, clock: systemClock })
  const read = new Set<string>()
  const subscription = await log.subscribe({
    group: aName('group'),
    topics: [topic],
    from: 'earliest',
    async onBatch({ records }) {
      for (const record of records) read.add(placeOf(record))
      return { kind: 'done' }
    }
  })
  const acknowledged: Writing['acknowledged'] = new Map()
  let refused = 0
  let isOver = false
  const writer = async (name: number): Promise<void> => {
    for (let count = 0; !isOver; count++) {
      const texts = Array.from({ length: PER_APPEND }, (_, index) => `${name}:${count}:${index}`)
      for (;;) {
        try {
          const places = await log.append(
            topic,
            texts.map(text => ({ key: `writer ${name}`, value: bytes(text) }))
          )
          for (const [index, place] of places.entries()) acknowledged.set(texts[index]!, placeOf(place))
          break
        } catch (error) {
          if (!(error instanceof AppError && error.retriable)) throw error
          refused++
          await delay(50)
        }
      }
    }
  }
  const underWay = (from: number) => eventually('the writers are under way', () => acknowledged.size >= from + UNDER_WAY)
  const writers = Promise.all(Array.from({ length: WRITERS }, (_, name) => writer(name)))
  await Promise.race([writers, underWay(0).then(fault)])
  const endedMs = performance.now()
  await Promise.race([writers, underWay(acknowledged.size)])
  const recoveredMs = Math.round(performance.now() - endedMs)
  isOver = true
  await writers
  const fetcher = await direct.openFetcher()
  const written: LogRecord[] = []
  for (let partition = 0; partition < PARTITIONS; partition++) written.push(...(await fetchAll(fetcher, topic, partition)).records)
  await eventually('the reader has caught up', () => written.every(record => read.has(placeOf(record))))
  await subscription.close()
  await Promise.all([log.close(), fetcher.close(), admin.close()])
  return { acknowledged, refused, written, recoveredMs }
}

const placeOf = ({ partition, offset }: { partition: number; offset: number }): string => `${partition}@${offset}`

/** Whether each writer's records first appear in the order in which it wrote them. */
function inOrder(written: readonly LogRecord[]): boolean {
  const newest = new Map<string, number>()
  const seen = new Set<string>()
  return written.every(record => {
    const text = textOf(record)!
    if (seen.has(text)) return true
    seen.add(text)
    const [writer, count, index] = text.split(':').map(Number)
    const order = count! * PER_APPEND + index!
    const follows = order === (newest.get(`${writer}`) ?? -1) + 1
    newest.set(`${writer}`, order)
    return follows
  })
}
