// The third door with a real Collector and a real broker: the kafka exporter, by the configuration that users copy, into our topics.
// The broker is killed and intake is restarted meanwhile; a record that is not OTLP does not hold up what follows it.

import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Intake } from '../../pipeline/intake/intake.ts'
import { openKafkaClient } from '../../pipeline/log/kafka/open-client.ts'
import { otlpRoot } from '../../pipeline/otlp/descriptor.ts'
import { openLog } from '../../pipeline/roles/log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { type Config, type ConfigInput, configSchema } from '../../schemas/config.ts'
import type { Log, LogRecord } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { exampleConfig, type RunningCollector, requireCollector, startCollector } from '../support/collector.ts'
import { homeostat } from '../support/homeostat-process.ts'
import { httpCall, keptLogger, keptMeter } from '../support/intake.ts'
import { BACK_SOON, type KafkaBroker, kafkaSkipReason, startKafka } from '../support/kafka-broker.ts'
import { eventually } from '../support/log-tools.ts'
import { MESSAGES, type TestSignal } from '../support/otlp.ts'

const binary = requireCollector()
const reason = kafkaSkipReason()
const LINES_EVERY_MS = 100
const LINES = 40 // Four seconds of exporting, and the broker's restart.
const POISON_AT = 5
const RESTART_INTAKE_AT = 10
const KILL_BROKER_AT = 22
const ARRIVAL_MS_MAX = 120_000 // After the broker is back the Collector comes again within its backoff of a few seconds.
const HOST_METRICS = ['edge-7 system.cpu.time', 'edge-7 system.memory.utilization']
const POISON = 'this is not OTLP'

describe.skipIf(binary === undefined || reason !== undefined)(`a real Collector through Kafka${reason === undefined ? '' : ` (${reason})`}`, () => {
  let folder: string
  let configFile: string
  let config: Config
  let broker: KafkaBroker
  let log: Log
  let intake: Intake
  let collector: RunningCollector
  let sentMetrics: ReadonlyMap<string, number>
  const records: Record<TestSignal, LogRecord[]> = { metrics: [], spans: [], logs: [] }
  const ports = { clock: systemClock, logger: keptLogger(), meter: keptMeter() }
  const openIntake = (): Promise<Intake> => Intake.open({ config: config.intake, environment: 'test', log, ...ports })

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'homeostat-e2e-kafka-'))
    broker = await startKafka({ settings: BACK_SOON })
    const input: ConfigInput = {
      apiVersion: 'homeostat.io/v1',
      kind: 'Homeostat',
      dataDir: join(folder, 'data'),
      environment: 'test',
      log: { kind: 'kafka' },
      kafka: { brokers: broker.brokers, topics: { replication: 1, minInsyncReplicas: 1 } },
      intake: { grpc: { port: 0 }, http: { port: 0 }, fallbackEntity: 'edge-7', topics: { enabled: true } }
    }
    configFile = join(folder, 'homeostat.yaml')
    writeFileSync(configFile, JSON.stringify(input)) // JSON is YAML.
    config = configSchema.parse(input)
    expect(await homeostat(configFile, ['topics', 'apply', '--collector'])).toMatchObject({ code: 0 })
    log = await openLog(config, ports)
    intake = await openIntake()
    const lines = join(folder, 'app.log')
    writeFileSync(lines, '')
    collector = await startCollector({
      binary: binary!,
      config: exampleConfig('agent-kafka'),
      env: { KAFKA_BROKERS: broker.brokers[0]!, QUEUE_DIR: join(folder, 'queue'), LOG_FILES: lines, LOG_SERVICE: 'checkout', HOST_NAME: 'web-1' },
      overlay: OVERLAY
    })
    for (let line = 0; line < LINES; line++) {
      appendFileSync(lines, `line ${line} of checkout\n`)
      expect(await sendSpan(collector.httpPort, line)).toBe(200)
      if (line === POISON_AT) await writePoison(config, ports)
      if (line === RESTART_INTAKE_AT) await intake.close()
      if (line === RESTART_INTAKE_AT + 5) intake = await openIntake()
      if (line === KILL_BROKER_AT) await broker.kill()
      if (line === KILL_BROKER_AT + 10) await broker.restart()
      await systemClock.sleep(LINES_EVERY_MS)
    }
    await eventually('everything is in our topics', async () => (await readAll(log, records), missing(records).length === 0), ARRIVAL_MS_MAX).catch(error => {
      throw new Error(`${error.message}; missing ${missing(records).join(', ')}\n${collector.log().slice(-4_000)}`)
    })
    sentMetrics = await collector.metrics()
    await collector.stop()
    await readAll(log, records)
  }, 420_000)

  afterAll(async () => {
    await collector?.stop()
    await intake?.close()
    await log?.close()
    await broker?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('every line and every span arrived, through a restart of intake and a broker that was killed', () => {
    expect(missing(records)).toEqual([])
    const failed = [...sentMetrics].filter(([name]) => /^otelcol_exporter_(send|enqueue)_failed/.test(name)).reduce((sum, [, value]) => sum + value, 0)
    expect(failed).toBe(0)
  })

  test('records lie by entity and trace, whatever the Collector keyed them with', () => {
    expect([...new Set(records.logs.map(record => record.key))]).toEqual(['checkout@web-1'])
    for (const { key } of records.spans) expect(key).toMatch(/^[0-9a-f]{32}$/)
    const places = Map.groupBy(records.spans, record => record.key)
    for (const [trace, some] of places) expect(new Set(some.map(record => record.partition)).size, String(trace)).toBe(1)
  })

  test('host metrics came as JSON, and are filed under the fallback', () => {
    expect(metricsOf(records)).toEqual(expect.arrayContaining(HOST_METRICS))
  })

  test('the record that is not OTLP is a dead letter, found, shown and put back by the command line', async () => {
    const run = async (...command: string[]): Promise<any> => JSON.parse((await homeostat(configFile, [...command, '--json'])).stdout)
    await eventually('a dead letter', async () => (await run('dlq', 'list')).length > 0)
    const letters = await run('dlq', 'list')
    expect(letters).toMatchObject([{ reason: 'malformed_otlp', consumer: 'homeostat-intake', bytes: POISON.length, redriven: '' }])
    expect(letters[0].id).toMatch(/^otlp_logs\.dlq\/\d+$/)
    expect((await homeostat(configFile, ['dlq', 'show', letters[0].id, '--raw'])).stdout).toBe(POISON)
    expect(await run('dlq', 'redrive', '--all', '--yes')).toMatchObject({ redriven: 1, refused: [] })
    // It is as bad as before: intake gives up on it again.
    await eventually('a second dead letter', async () => (await run('dlq', 'list')).length === 2, ARRIVAL_MS_MAX)
    const [again, first] = await run('dlq', 'list')
    expect([again.redriven, first.redriven === '']).toEqual(['', false])
  }, 300_000)

  test('topics plan finds nothing to do', async () => {
    expect((await homeostat(configFile, ['topics', 'plan', '--collector'])).stdout).toMatch(/\nnothing to do\n$/)
  })
})

/** Short intervals and retries for a short run; metrics in the other encoding, traces keyed. */
const OVERLAY = `
receivers:
  file_log: { start_at: beginning, poll_interval: 50ms }
  hostmetrics: { collection_interval: 1s, scrapers: { filesystem: { include_mount_points: { mount_points: [/], match_type: strict } } } }
exporters:
  kafka:
    metrics: { encoding: otlp_json }
    partition_traces_by_id: true
    timeout: 20s
    retry_on_failure: { initial_interval: 200ms, max_interval: 1s }
    sending_queue: { batch: { flush_timeout: 200ms } }
`

function decoded(signal: TestSignal, some: readonly LogRecord[]): any[] {
  const type = otlpRoot().lookupType(MESSAGES[signal])
  return some.map(record => type.toObject(type.decode(record.value!), { longs: String }))
}

/** `<entity> <metric>`. */
function metricsOf({ metrics }: Readonly<Record<TestSignal, readonly LogRecord[]>>): string[] {
  return decoded('metrics', metrics).flatMap(({ resourceMetrics }) =>
    resourceMetrics.flatMap(({ resource, scopeMetrics }: any) => {
      const attributes = Object.fromEntries(resource.attributes.map((one: any) => [one.key, one.value.stringValue]))
      return scopeMetrics.flatMap(({ metrics }: any) => metrics.map(({ name }: any) => `${attributes['homeostat.entity']} ${name}`))
    })
  )
}

/** Lines, spans and metrics of the machine that are not in our topics. */
function missing(records: Readonly<Record<TestSignal, readonly LogRecord[]>>): string[] {
  const lines = decoded('logs', records.logs).flatMap(({ resourceLogs }) =>
    resourceLogs.flatMap(({ scopeLogs }: any) => scopeLogs.flatMap(({ logRecords }: any) => logRecords.map(({ body }: any) => body.stringValue)))
  )
  const spans = decoded('spans', records.spans).flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }: any) => scopeSpans.flatMap((scope: any) => scope.spans.map(({ name }: any) => name)))
  )
  const seen = new Set<string>([...lines, ...spans, ...metricsOf(records)])
  const sent = Array.from({ length: LINES }, (_, index) => [`line ${index} of checkout`, `span ${index}`]).flat()
  return [...sent, ...HOST_METRICS].filter(one => !seen.has(one))
}

async function readAll(log: Log, records: Record<TestSignal, LogRecord[]>): Promise<void> {
  for (const signal of ['metrics', 'spans', 'logs'] as const) {
    const topic = TOPICS[signal].name
    const all: LogRecord[] = []
    for (const { partition, start, end } of await log.offsets(topic)) {
      for (let offset = start; offset < end; ) {
        const some = await log.read({ topic, partition, offset }, 500)
        if (some.length === 0) break
        all.push(...some)
        offset = some.at(-1)!.offset + 1
      }
    }
    records[signal] = all
  }
}

/** Something into the Collectors' topic that no Collector wrote. */
async function writePoison(config: Config, { logger, meter }: { logger: ReturnType<typeof keptLogger>; meter: ReturnType<typeof keptMeter> }): Promise<void> {
  const client = await openKafkaClient(config, { secret: () => '', role: 'test', logger, meter })
  const producer = await client.openProducer()
  await producer.send([{ topic: 'otlp_logs', partition: 0, records: [{ key: null, value: Buffer.from(POISON), headers: {} }] }])
  await producer.close()
}

/** What an application with an SDK would send to the Collector beside it. */
async function sendSpan(port: number, index: number): Promise<number> {
  const atNanos = `${systemClock.nowMs()}000000`
  const id = (index + 1).toString(16)
  const spans = [
    { traceId: id.padStart(32, 'a'), spanId: id.padStart(16, 'b'), name: `span ${index}`, kind: 2, startTimeUnixNano: atNanos, endTimeUnixNano: atNanos }
  ]
  const attributes = [{ key: 'service.name', value: { stringValue: 'shop' } }]
  const body = JSON.stringify({ resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans }] }] })
  const { status } = await httpCall(`127.0.0.1:${port}`, { path: '/v1/traces', headers: { 'content-type': 'application/json' }, body })
  return status
}
