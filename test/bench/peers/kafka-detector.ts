// A detect worker in a process of its own on a Kafka topic, for `bench kafka`. Runs one measurement an order, keeps its code warm.
//
// Order { group, format, tier }: joins, says `assigned`, waits for `go`, scores until the process' share is done, says what it took.

import { detectWorker } from '../../../detectors/worker.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { openLog } from '../../../pipeline/roles/log.ts'
import { systemClock } from '../../../pipeline/system.ts'
import type { Config } from '../../../schemas/config.ts'
import type { CheckpointStore, Log, TopicPartition } from '../../../schemas/ports.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { INPUTS, openJsonReader } from '../json-points.ts'
import { deaf, quiet } from '../../support/quiet.ts'

export interface DetectorOrder {
  group: string
  format: 'otlp' | 'json'
  /** rich: the shipped memory, so every series has both tiers; base: so little that nearly all have the base tier alone. */
  tier: 'rich' | 'base'
}
export type DetectorAnswer =
  | { kind: 'ready' }
  | { kind: 'assigned'; partitions: number }
  | { kind: 'counts'; points: number; scored: number; series: number; cpuMs: number }

/** Half of it holds the 8,000 series of this benchmark (512 bytes each), a quarter some 280 of the rich tier. */
const BASE_TIER_BYTES = 9_000_000

const noCheckpoints: CheckpointStore = {
  claim: async () => ({ owner: '', refused: [] }),
  owns: async () => true,
  save: async () => {},
  load: async () => undefined
}
const config = JSON.parse(process.argv[2]!) as Config
const log = await openLog(config, { clock: systemClock, logger: quiet, meter: deaf })
let current: DetectorOrder | undefined
let worker: ReturnType<typeof detectWorker> | undefined
let begun = process.cpuUsage()
let gate = Promise.withResolvers<void>()
const say = (answer: DetectorAnswer): void => void process.send!(answer)

/** The log with the bench's group and one input topic, a gate before the first batch, and outputs that go nowhere. */
function gated(order: DetectorOrder): Log {
  const { group, format } = order
  const from = INPUTS[format]
  let owned = 0
  const told = (change: number): void => {
    owned += change
    // A worker that closes may still be given what another one leaves.
    if (current === order) say({ kind: 'assigned', partitions: owned })
  }
  const asMetrics = (at: TopicPartition): TopicPartition => ({ topic: TOPICS.metrics.name, partition: at.partition })
  return {
    append: async () => [],
    read: (from, recordsMax) => log.read(from, recordsMax),
    offsets: topic => log.offsets(topic),
    partitions: topic => log.partitions(topic),
    groups: () => log.groups(),
    close: async () => {},
    subscribe: options =>
      log.subscribe({
        ...options,
        group,
        topics: [from],
        async onAssigned(partitions) {
          await options.onAssigned?.(partitions.map(asMetrics))
          told(partitions.length)
          return []
        },
        async onRevoked(partitions) {
          await options.onRevoked?.(partitions.map(asMetrics))
          told(-partitions.length)
        },
        async onBatch(batch) {
          await gate.promise
          return options.onBatch({ ...batch, ...asMetrics(batch) })
        }
      })
  }
}

process.on('message', async (message: DetectorOrder | 'go' | 'counts' | 'end') => {
  if (message === 'go') {
    begun = process.cpuUsage()
    gate.resolve()
  } else if (message === 'counts') {
    const { counts, series } = worker!.stats()
    const { user, system } = process.cpuUsage(begun)
    say({ kind: 'counts', points: counts['points'] ?? 0, scored: counts['scored'] ?? 0, series, cpuMs: (user + system) / 1_000 })
  } else if (message === 'end') {
    current = undefined
    await worker?.close()
    gate = Promise.withResolvers()
    say({ kind: 'ready' })
  } else {
    current = message
    worker = detectWorker({
      log: gated(message),
      checkpoints: noCheckpoints,
      openReader: message.format === 'otlp' ? openReader : openJsonReader,
      encodeDerived,
      config: message.tier === 'rich' ? config.detect : { ...config.detect, memoryMax: BASE_TIER_BYTES },
      environment: 'bench',
      clock: systemClock,
      logger: quiet,
      meter: deaf
    })
    await worker.start()
  }
})
process.on('disconnect', () => process.exit(0))
say({ kind: 'ready' })
