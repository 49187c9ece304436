// bench ingest: OTLP/HTTP in -> durable embedded log -> answer, against the reader alone on the same bytes in the same run.
//
// The sender is a process of its own with keep-alive connections and several requests in flight; the intake, its log and the
// reader live here. Before measuring, what lies in the log is compared with what was sent. Goal: 0.35 times the reader's rate.
// Then end to end: the same fleet over time, from the first byte sent until the detect worker, on its thread, has scored all of it.

import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import { Intake } from '../../pipeline/intake/intake.ts'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { openReader } from '../../pipeline/otlp/reader.ts'
import { systemClock } from '../../pipeline/system.ts'
import { configSchema } from '../../schemas/config.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type BenchCase, type BenchOptions, type BenchResult, figure, interleave, loopCase, median, medianRatio, printTable, say } from './harness.ts'
import { otlpLoad } from './otlp-load.ts'
import { deaf, quiet } from '../support/quiet.ts'

const GOAL_VS_READER = 0.35
const SERVICES = ['checkout', 'basket', 'login', 'search'] // One request a service in turn, as their SDKs would send.
const CONNECTIONS = 10 // Requests in flight: the consumers of a Collector's default queue.
const LOG_BYTES_MAX = 4 * 2 ** 30
const LOG_KEPT_BYTES = 2 ** 29 // Retention works beside the appends, as it does in a log that is full of telemetry.
const WARM_UP_MS = 2_000 // V8 and the log's files; with less the first rounds measure the interpreter.
const SLICE_MS = 500
const E2E_RUNS = 4 // The first makes the series and is not counted.
const E2E_STEPS = 6 // Exports of each service in a run.
const E2E_STEP_MS = 10_000
const E2E_POLL_MS = 5
const E2E_PATIENCE_MS = 120_000

export async function ingestBench({ rounds }: BenchOptions): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-bench-'))
  const loads = SERVICES.map((service, index) => otlpLoad({ seed: 7 + index, metricCount: 100, pointCount: 100, service }))
  const log = await EmbeddedLog.open({
    dir: join(folder, 'log'),
    clock: systemClock,
    logger: quiet,
    meter: deaf,
    bytesMax: LOG_BYTES_MAX,
    groupCommitMs: 2,
    retention: { [TOPICS.metrics.name]: { retentionBytes: LOG_KEPT_BYTES } }
  })
  const intake = await openIntake(log)
  const senders: Sender[] = []
  try {
    const requests = loads.map(load => load.request)
    const identity = await startSender(folder, 'identity', requests, intake, { connections: CONNECTIONS })
    senders.push(identity)
    const gzip = await startSender(
      folder,
      'gzip',
      requests.map(request => gzipSync(request)),
      intake,
      { headers: 'Content-Encoding: gzip\r\n', connections: CONNECTIONS }
    )
    senders.push(gzip)
    await compare(identity, gzip, log, requests)
    const points = loads[0]!.pointCount
    const cases = [ingestCase('OTLP/HTTP in -> durable log -> answer', identity, points), readerCase(requests), ingestCase('the same, gzip', gzip, points)]
    const results = await interleave(cases, { rounds, sliceMs: SLICE_MS, warmUpMs: WARM_UP_MS })
    printTable(`ingest: requests of ${points} points, ${requests[0]!.length} bytes, ${CONNECTIONS} in flight`, 'point', results)
    const [plain, reader, zipped] = results
    const vsReader = figure(medianRatio(plain!, reader!))
    const vsReaderGzip = figure(medianRatio(zipped!, reader!))
    // On a machine that others use as well, CPU time says more than the wall: ours counts every thread of the process.
    const vsReaderCpu = figure(reader!.cpuMicros / plain!.cpuMicros)
    const rssMb = Math.round(process.memoryUsage.rss() / 2 ** 20)
    say(`\nvs reader alone ${vsReader}x (goal ${GOAL_VS_READER}x), gzip ${vsReaderGzip}x, by CPU time of all threads ${vsReaderCpu}x; ${rssMb} MB resident`)
    const ingest = { ingestPointsPerS: Math.round(plain!.medianPerS), readerPointsPerS: Math.round(reader!.medianPerS), vsReaderGzip }
    return { vsReader, e2ePointsPerS: await endToEnd(join(folder, 'e2e')), rssMb, vsReaderCpu, ...ingest, rounds }
  } finally {
    for (const sender of senders) sender.stop()
    await intake.close()
    await log.close()
    rmSync(folder, { recursive: true })
  }
}

/** Points a second from the first byte sent until all are scored: the median of the runs after the first. */
async function endToEnd(folder: string): Promise<number> {
  const dir = join(folder, 'log')
  mkdirSync(folder)
  const log = await EmbeddedLog.open({ dir, clock: systemClock, logger: quiet, meter: deaf, bytesMax: LOG_BYTES_MAX, groupCommitMs: 2 })
  const intake = await openIntake(log)
  const detector = new Worker(new URL('./peers/detect-thread.ts', import.meta.url), { workerData: { dir, bytesMax: LOG_BYTES_MAX } })
  const answer = (): Promise<Record<string, number>> => new Promise(resolve => detector.once('message', resolve))
  const ready = answer()
  const rates: number[] = []
  const beginMs = systemClock.nowMs() - E2E_RUNS * E2E_STEPS * E2E_STEP_MS
  await ready
  let points = 0
  let counts: Record<string, number> = {}
  for (let run = 0; run < E2E_RUNS; run++) {
    const loads = Array.from({ length: E2E_STEPS * SERVICES.length }, (_, index) => {
      const step = run * E2E_STEPS + Math.floor(index / SERVICES.length)
      const service = SERVICES[index % SERVICES.length]!
      return otlpLoad({ seed: 7, metricCount: 100, pointCount: 100, service, timeMs: beginMs + step * E2E_STEP_MS })
    })
    const sender = await startSender(
      folder,
      `run-${run}`,
      loads.map(load => load.request),
      intake,
      { connections: SERVICES.length }
    )
    const sending = loads.reduce((sum, load) => sum + load.pointCount, 0)
    const begun = performance.now()
    const { sent } = await sender.sendFor(E2E_PATIENCE_MS, loads.length)
    if (sent !== loads.length) throw new Error(`${sent} of ${loads.length} requests were taken`)
    points += sending
    while ((counts['points'] ?? 0) < points) {
      if (performance.now() - begun > E2E_PATIENCE_MS) throw new Error(`${counts['points']} of ${points} points were scored`)
      await systemClock.sleep(E2E_POLL_MS)
      const told = answer()
      detector.postMessage('stats')
      counts = await told
    }
    sender.stop()
    if (run > 0) rates.push((sending / (performance.now() - begun)) * 1_000)
  }
  const ended = new Promise(resolve => detector.once('exit', resolve))
  detector.postMessage('close')
  await ended
  await intake.close()
  await log.close()
  const rate = Math.round(median(rates))
  say(`end to end, in -> scored: ${rate.toLocaleString('en')} points/s (${points} points; ${JSON.stringify(counts)})`)
  return rate
}

function openIntake(log: EmbeddedLog): Promise<Intake> {
  const { intake: config } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  const free = { host: '127.0.0.1', port: 0 }
  return Intake.open({ config: { ...config, grpc: free, http: free }, environment: 'bench', log, clock: systemClock, logger: quiet, meter: deaf })
}

function readerCase(requests: readonly Uint8Array[]): BenchCase {
  const reader = openReader({ fallback: { entity: 'bench', environment: 'bench' }, seed: 7 })
  let next = 0
  // Read on every point, so that nothing of the reader's work can be left out as unused.
  const sink = {
    sum: 0,
    point(view: { value: number }) {
      sink.sum += view.value
    }
  }
  return loopCase('reader alone (with series key)', () => reader.readMetrics(requests[next++ % requests.length]!, sink).accepted)
}

interface Sender {
  sendFor(durationMs: number, requestsMax?: number): Promise<{ sent: number; refused: number; wallMs: number }>
  stop(): void
}

async function startSender(
  folder: string,
  name: string,
  bodies: readonly Uint8Array[],
  intake: Intake,
  options: { headers?: string; connections: number }
): Promise<Sender> {
  const files = bodies.map((body, index) => {
    const file = join(folder, `${name}-${index}.bin`)
    writeFileSync(file, body)
    return file
  })
  const child = fork(new URL('./peers/otlp-sender.ts', import.meta.url), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const port = Number(intake.addresses.http.split(':')[1])
  await ask(child, { port, files, headers: options.headers ?? '', connections: options.connections })
  return {
    sendFor: (durationMs, requestsMax = Number.MAX_SAFE_INTEGER) => ask(child, { durationMs, requestsMax }),
    stop: () => void child.kill()
  }
}

function ask<Answer>(child: ChildProcess, message: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the sender ended with ${code}`))
    child.once('exit', onExit)
    child.once('message', answer => {
      child.off('exit', onExit)
      resolve(answer as Answer)
    })
    child.send(message)
  })
}

function ingestCase(name: string, sender: Sender, points: number): BenchCase {
  return {
    name,
    async measure(durationMs) {
      const cpu = process.cpuUsage()
      const { sent, refused, wallMs } = await sender.sendFor(durationMs)
      if (refused > 0) throw new Error(`${name}: ${refused} requests were refused, so the rate would not be one of taken requests`)
      const { user, system } = process.cpuUsage(cpu)
      return { items: sent * points, wallMs, cpuMs: (user + system) / 1_000 }
    }
  }
}

/** What was answered 200 lies in the log, byte for byte. @throws when not */
async function compare(identity: Sender, gzip: Sender, log: EmbeddedLog, requests: readonly Uint8Array[]): Promise<void> {
  for (const sender of [identity, gzip]) {
    const { sent } = await sender.sendFor(60_000, requests.length)
    if (sent !== requests.length) throw new Error(`${sent} of ${requests.length} requests were taken`)
  }
  const topic = TOPICS.metrics.name
  const stored: Buffer[] = []
  for (let partition = 0; partition < log.partitions(topic); partition++) {
    for (let offset = 0; ; offset++) {
      const [record] = await log.read({ topic, partition, offset }, 1)
      if (record === undefined) break
      stored.push(Buffer.from(record.value!))
    }
  }
  for (const request of requests) {
    const copies = stored.filter(value => value.equals(request)).length
    if (copies !== 2) throw new Error(`a request that was taken twice lies ${copies} times in the log`)
  }
  say(`input: ${requests.length} requests, plain and gzip; each lies in the log as it was sent: yes`)
}
