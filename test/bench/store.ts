// bench store: records of the log -> rows -> ClickHouse over HTTP by the store role, against the bare client with the same rows ready made.
//
// The engine answers in a process of its own, as a server would. Ours decodes OTLP, keeps its journal, inserts under tokens and commits
// offsets; the bare client inserts row objects that somebody else has made, in as many inserts as ours needed, one after another.
// Both fill tables of the same schema; before measuring, what lies in them is compared, row for row by hash. Goal: 0.8 times the client's rate.

import { createClient } from '@clickhouse/client'
import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { logRecordRows } from '../../pipeline/store/rows/log-record-rows.ts'
import { storeWorker } from '../../pipeline/store/store-worker.ts'
import { systemClock } from '../../pipeline/system.ts'
import { configSchema } from '../../schemas/config.ts'
import type { Log, LogRecord, Store, SubscribeOptions } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type ClickHouseProcess, startClickHouse } from '../support/clickhouse-process.ts'
import { storeConfig } from '../support/store-tools.ts'
import { type BenchCase, type BenchOptions, type BenchResult, figure, interleave, loopCase, medianRatio, printTable, say } from './harness.ts'
import { otlpLoad } from './otlp-load.ts'
import { deaf, quiet } from '../support/quiet.ts'

const GOAL_VS_CLIENT = 0.8
const SERVICES = ['checkout', 'basket', 'login', 'search']
const POINTS_PER_RECORD = 500 // A Collector's batch of 8,192 points cut by resource, or an SDK's export.
const METRICS_PER_RECORD = 50
const RECORDS_PER_TURN = 60
const ROWS_PER_BATCH = configSchema.shape.store.parse(undefined).batchRowsMax
const RECORDS_PER_READ = 5
const INTERVAL_MS = 20 // The last rows of a turn do not wait a second.
const PARTITIONS = TOPICS.metrics.partitions
const COUNTED_TABLE = 'otel_metrics_sum' // Each flush has rows of every kind.
const SLICE_MS = 1_000
const WARM_UP_MS = 4_000
const OURS = 'ours'
const PEER = 'peer'

export async function storeBench({ rounds }: BenchOptions): Promise<BenchResult> {
  const server = await startClickHouse()
  const stores: ClickHouseStore[] = []
  try {
    for (const database of [OURS, PEER]) {
      stores.push(await ClickHouseStore.open({ config: storeConfig({ url: server.url, database }), dataDir: '', clock: systemClock, logger: quiet }))
    }
    const requests = SERVICES.map((service, index) => {
      const pointCount = POINTS_PER_RECORD / METRICS_PER_RECORD
      return otlpLoad({ seed: 7 + index, metricCount: METRICS_PER_RECORD, pointCount, service, timeMs: Math.floor(Date.now() / 1_000) * 1_000 }).request
    })
    const ours = await openOurs(stores[0]!, requests)
    await ours.turn()
    const peer = openPeer(server, requests, ours.inserts())
    await peer.turn()
    await compare(stores[0]!)
    const results = await interleave([ours.measure, peer.measure], { rounds, sliceMs: SLICE_MS, warmUpMs: WARM_UP_MS })
    const [us, client] = results
    printTable(`store: ${RECORDS_PER_TURN} records of ${POINTS_PER_RECORD} points a turn, inserts of ${ROWS_PER_BATCH} rows and more`, 'row', results)
    const vsClient = figure(medianRatio(us!, client!))
    say(`\nvs the bare client ${vsClient}x (goal ${GOAL_VS_CLIENT}x)`)
    await ours.close()
    await peer.close()
    return {
      rowsPerS: Math.round(us!.medianPerS),
      vsClient,
      clientRowsPerS: Math.round(client!.medianPerS),
      cpuMicros: figure(us!.cpuMicros),
      clientCpuMicros: figure(client!.cpuMicros),
      rounds
    }
  } finally {
    for (const store of stores) await store.close()
    await server.stop()
  }
}

interface Contender {
  measure: BenchCase
  /** Stores the records of one turn. @returns rows */
  turn(): Promise<number>
  close(): Promise<void>
}

/** The store role: a turn is over when all of its offsets are committed. */
async function openOurs(store: ClickHouseStore, requests: readonly Uint8Array[]): Promise<Contender & { inserts(): number }> {
  const feed = openFeed(requests)
  const writer = store.asWriter()
  let inserts = 0
  const counted: Store = {
    ...writer,
    insert(table, rows, options) {
      if (table === COUNTED_TABLE) inserts++
      return writer.insert(table, rows, options)
    }
  }
  const config = { batchRowsMax: ROWS_PER_BATCH, batchInterval: INTERVAL_MS }
  const worker = storeWorker({ log: feed.log, store: counted, config, clock: systemClock, logger: quiet, meter: deaf, environments: ['bench'] })
  await worker.start()
  const turn = async (): Promise<number> => {
    await feed.pass(RECORDS_PER_TURN)
    return RECORDS_PER_TURN * POINTS_PER_RECORD
  }
  return { measure: loopCase('the store role: OTLP -> rows -> ClickHouse', turn), turn, close: () => worker.close(), inserts: () => inserts }
}

/** The same rows, made once, by the client as it is, in as many inserts a table and turn. */
function openPeer(server: ClickHouseProcess, requests: readonly Uint8Array[], insertsPerTurn: number): Contender {
  const client = createClient({ url: server.url, database: PEER, clickhouse_settings: { wait_end_of_query: 1 } })
  let inserts = 0
  const tables = new Map<string, object[]>()
  for (let index = 0; index < RECORDS_PER_TURN; index++) {
    const made = logRecordRows(recordOf(requests, index, index), 'bench')
    if (made.ok)
      for (const [table, list] of Map.groupBy(made.rows, each => each.table)) tables.set(table, [...(tables.get(table) ?? []), ...list.map(each => each.row)])
  }
  const turn = async (): Promise<number> => {
    for (const [table, rows] of tables) {
      const size = Math.ceil(rows.length / insertsPerTurn)
      for (let from = 0; from < rows.length; from += size) {
        // Its turns repeat the same rows; without tokens ClickHouse would take them for repetitions of one insert.
        const clickhouse_settings = { insert_deduplication_token: `peer-${++inserts}` } as never
        await client.insert({ table, values: rows.slice(from, from + size), format: 'JSONEachRow', clickhouse_settings })
      }
    }
    return RECORDS_PER_TURN * POINTS_PER_RECORD
  }
  return { measure: loopCase('@clickhouse/client, ready rows', turn), turn, close: () => client.close() }
}

interface Feed {
  log: Log
  /** Delivers `count` records and resolves when all of them are committed. */
  pass(count: number): Promise<void>
}

/** A log that makes its records as they are read, keeps none and knows what was committed: the benchmark measures the store alone. */
function openFeed(requests: readonly Uint8Array[]): Feed {
  const delivered = new Array<number>(PARTITIONS).fill(0)
  let options: SubscribeOptions | undefined
  let committed = 0
  let passed = 0
  let reached: () => void = () => {}
  const commits = new Map<number, number>()
  const log: Log = {
    async subscribe(subscribed) {
      options = subscribed
      await subscribed.onAssigned?.(delivered.map((_, partition) => ({ topic: TOPICS.metrics.name, partition, generation: 1 })))
      return {
        async commit(positions) {
          for (const { partition, offset } of positions) commits.set(partition, Math.max(offset, commits.get(partition) ?? 0))
          committed = [...commits.values()].reduce((sum, offset) => sum + offset, 0)
          if (committed === passed) reached()
          return true
        },
        lag: async () => passed - committed,
        finished: new Promise<void>(() => {}),
        close: async () => {}
      }
    },
    append: async () => [],
    read: async () => [],
    offsets: async () => delivered.map((end, partition) => ({ partition, start: 0, end })),
    partitions: () => PARTITIONS,
    groups: async () => [],
    close: async () => {}
  }
  return {
    log,
    async pass(count) {
      const all = new Promise<void>(resolve => {
        reached = resolve
      })
      passed += count
      for (let index = 0; index < count; index += RECORDS_PER_READ) {
        const partition = (index / RECORDS_PER_READ) % PARTITIONS
        const first = delivered[partition]!
        const records = Array.from({ length: Math.min(RECORDS_PER_READ, count - index) }, (_, n) => recordOf(requests, index + n, first + n, partition))
        delivered[partition] = first + records.length
        await options!.onBatch({ topic: TOPICS.metrics.name, partition, generation: 1, records, endOffset: delivered[partition]! })
      }
      await all
    }
  }
}

function recordOf(requests: readonly Uint8Array[], index: number, offset: number, partition = 0): LogRecord {
  return { topic: TOPICS.metrics.name, partition, offset, key: null, value: requests[index % requests.length]!, headers: {}, appendedAtMs: 0 }
}

/** After one turn of each: the tables' rows by count and by hash. */
async function compare(store: ClickHouseStore): Promise<void> {
  const tables = ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary'].map(kind => `otel_metrics_${kind}`)
  const sum = (database: string, table: string): string =>
    `SELECT '${table}' AS name, count() AS rows, toString(sum(cityHash64(*))) AS hash FROM ${database}.${table}`
  const sums = (database: string): Promise<unknown[]> =>
    store.query(`SELECT * FROM (${tables.map(table => sum(database, table)).join(' UNION ALL ')}) ORDER BY name`)
  const [left, right] = [await sums(OURS), await sums(PEER)]
  if (JSON.stringify(left) !== JSON.stringify(right)) throw new Error(`the stored rows differ: ${JSON.stringify(left)} and ${JSON.stringify(right)}`)
  say(`stored alike: ${JSON.stringify(left)}`)
}
