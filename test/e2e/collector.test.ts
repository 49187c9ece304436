// A real Collector exports into a real intake, by the configurations that users copy.
//
// HOMEOSTAT_COLLECTOR_SECONDS: how long it exports (default 6; 120 for the long run).

import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Intake } from '../../pipeline/intake/intake.ts'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { otlpRoot } from '../../pipeline/otlp/descriptor.ts'
import { systemClock } from '../../pipeline/system.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Log, LogRecord } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { exampleConfig, type RunningCollector, requireCollector, startCollector, validateConfig } from '../support/collector.ts'
import { httpCall, intakeConfig, keptLogger, keptMeter } from '../support/intake.ts'
import { MESSAGES } from '../support/otlp.ts'

const seconds = Number(process.env['HOMEOSTAT_COLLECTOR_SECONDS'] ?? 6)
const binary = requireCollector()
const LINES_EVERY_MS = 200
const ARRIVAL_MS_MAX = 60_000 // Retries back off to a few seconds in a short run.
const REFUSE_FROM_LINE = 5
const REFUSALS = 3

const NAMES = ['edge-7 system.cpu.time', 'edge-7 system.memory.utilization', 'edge-7 system.network.io', 'shop requests']

describe.skipIf(binary === undefined).each(['agent-grpc', 'agent-http'] as const)('a real Collector with %s.yaml', example => {
  let folder: string
  let log: Log
  let intake: Intake
  let collector: RunningCollector
  let linesWritten = 0
  let metrics: ReadonlyMap<string, number>
  const records = { metrics: [] as LogRecord[], logs: [] as LogRecord[] }
  const logger = keptLogger()
  const meter = keptMeter()
  const refusals = (): number => meter.total('homeostat.intake.refused', { code: 'log_unavailable' })

  beforeAll(
    async () => {
      folder = mkdtempSync(join(tmpdir(), 'homeostat-e2e-'))
      const file = join(folder, 'app.log')
      writeFileSync(file, '')
      log = await EmbeddedLog.open({ dir: join(folder, 'log'), clock: systemClock, logger, meter, bytesMax: 2 ** 30, groupCommitMs: 2 })
      let refused = false
      const refusing: Log = {
        append: (topic, input) => (refused ? Promise.reject(new AppError('log_unavailable', 'the log is away for a moment')) : log.append(topic, input)),
        subscribe: options => log.subscribe(options),
        read: (from, recordsMax) => log.read(from, recordsMax),
        offsets: topic => log.offsets(topic),
        partitions: topic => log.partitions(topic),
        groups: () => log.groups(),
        close: () => log.close()
      }
      const config = intakeConfig({ tokens: ['e2e-token'], fallbackEntity: 'edge-7' })
      intake = await Intake.open({ config, environment: 'test', log: refusing, clock: systemClock, logger, meter })
      const { grpc, http } = intake.addresses
      const env = {
        HOMEOSTAT_GRPC: grpc,
        HOMEOSTAT_HTTP: `http://${http}`,
        HOMEOSTAT_TOKEN: 'e2e-token',
        LOG_FILES: file,
        LOG_SERVICE: 'checkout',
        HOST_NAME: 'web-1'
      }
      // Hosts differ in disks and mounts; a scraper's complaint about one of them is not an exporter's failure.
      // Hosts differ in disks and mounts, whose scrapers may complain; lines written before the file was found count too.
      const filesystem = 'filesystem: { include_mount_points: { mount_points: [/], match_type: strict } }'
      const overlay = `receivers: { file_log: { start_at: beginning }, hostmetrics: { collection_interval: 1s, scrapers: { ${filesystem} } } }`
      collector = await startCollector({ binary: binary!, config: exampleConfig(example), env, overlay })
      // The log refuses some appends: the Collector has to keep its data and come again.
      const endMs = Date.now() + seconds * 1_000
      while (Date.now() < endMs || refusals() < REFUSALS) {
        refused = linesWritten >= REFUSE_FROM_LINE && refusals() < REFUSALS
        appendFileSync(file, `line ${linesWritten++} of checkout\n`)
        const sent = await sendApplicationMetrics(collector.httpPort)
        expect(sent).toBe(200)
        await new Promise(resolve => setTimeout(resolve, LINES_EVERY_MS))
      }
      refused = false
      await until(async () => (await readAll(), new Set(lines()).size >= linesWritten && NAMES.every(name => names().has(name)))) // Else the tests below say what is missing.
      // A line is in the log a moment before its sender has read the answer and counted it.
      await until(async () => {
        metrics = await collector.metrics()
        const sent = [...metrics].filter(([name]) => name.startsWith('otelcol_exporter_sent_log_records'))
        return sent.reduce((sum, [, value]) => sum + value, 0) >= linesWritten
      })
      await collector.stop()
    },
    (seconds + 300) * 1_000
  )

  afterAll(async () => {
    await collector?.stop()
    await intake?.close()
    await log?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function readAll(): Promise<void> {
    for (const signal of ['metrics', 'logs'] as const) {
      const topic = TOPICS[signal].name
      records[signal] = []
      for (let partition = 0; partition < log.partitions(topic); partition++) {
        for (let offset = 0; ; ) {
          const some = await log.read({ topic, partition, offset }, 100)
          if (some.length === 0) break
          records[signal].push(...some)
          offset = some.at(-1)!.offset + 1
        }
      }
    }
  }
  const decoded = (signal: 'metrics' | 'logs'): any[] => {
    const type = otlpRoot().lookupType(MESSAGES[signal])
    return records[signal].map(record => type.toObject(type.decode(record.value!), { longs: String }))
  }
  const lines = (): string[] =>
    decoded('logs')
      .flatMap(request => request.resourceLogs)
      .flatMap(resource => resource.scopeLogs.flatMap((scope: any) => scope.logRecords.map((record: any) => record.body.stringValue)))

  /** `<entity> <metric>`. */
  const names = (): Set<string> => {
    const found = new Set<string>()
    for (const { resource, scopeMetrics } of decoded('metrics').flatMap(request => request.resourceMetrics)) {
      const attributes = Object.fromEntries(resource.attributes.map((a: any) => [a.key, a.value.stringValue]))
      const entity = attributes['service.name'] ?? attributes['homeostat.entity']
      for (const { metrics } of scopeMetrics) for (const { name } of metrics) found.add(`${entity} ${name}`)
    }
    return found
  }

  test('the configuration is valid as it stands', () => {
    expect(() => validateConfig(binary!, exampleConfig(example))).not.toThrow()
  })

  test('its log knows no failure', () => {
    const complaints = collector
      .log()
      .split('\n')
      .filter(line => /\terror\t|Dropping data|rejected|Permanent/i.test(line))
    expect(complaints).toEqual([])
  })

  test('its own metrics count what was sent and nothing that failed', () => {
    const sum = (pattern: RegExp): number => [...metrics].filter(([name]) => pattern.test(name)).reduce((total, [, value]) => total + value, 0)
    expect(sum(/^otelcol_exporter_sent_metric_points/)).toBeGreaterThan(20)
    expect(sum(/^otelcol_exporter_sent_log_records/)).toBeGreaterThanOrEqual(linesWritten)
    expect(sum(/^otelcol_exporter_(send|enqueue)_failed/)).toBe(0)
    expect(sum(/^otelcol_receiver_(refused|failed)/)).toBe(0)
  })

  test('the refusals it met were retryable, and every line arrived all the same', () => {
    expect(refusals()).toBeGreaterThanOrEqual(REFUSALS)
    // A busy machine may also let a sender's time run out; it is told to send again.
    expect(meter.total('homeostat.intake.refused')).toBe(refusals() + meter.total('homeostat.intake.refused', { code: 'timeout' }))
    const seen = new Set(lines())
    for (let i = 0; i < linesWritten; i++) expect(seen.has(`line ${i} of checkout`), `line ${i}`).toBe(true)
  })

  test('records decode: host metrics under the fallback, application metrics and lines under their service', () => {
    expect([...names()]).toEqual(expect.arrayContaining(NAMES))
    expect([...names()].filter(name => name.startsWith('undefined'))).toEqual([])
    expect([...new Set(records.logs.map(record => record.key))]).toEqual(['checkout@web-1'])
    expect(records.metrics.some(record => record.key === 'edge-7')).toBe(true)
  })
})

/** What an application with an SDK would send to the Collector beside it. */
async function sendApplicationMetrics(port: number): Promise<number> {
  const atNanos = `${systemClock.nowMs()}000000`
  const dataPoints = [{ timeUnixNano: atNanos, asInt: '1' }]
  const body = JSON.stringify({
    resourceMetrics: [
      {
        resource: {
          attributes: [
            { key: 'service.name', value: { stringValue: 'shop' } },
            { key: 'host.name', value: { stringValue: hostname() } }
          ]
        },
        scopeMetrics: [{ metrics: [{ name: 'requests', sum: { dataPoints, aggregationTemporality: 1, isMonotonic: true } }] }]
      }
    ]
  })
  const { status } = await httpCall(`127.0.0.1:${port}`, { headers: { 'content-type': 'application/json' }, body })
  return status
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + ARRIVAL_MS_MAX
  while (!(await condition()) && systemClock.monotonicMs() < endMs) await systemClock.sleep(50)
}
