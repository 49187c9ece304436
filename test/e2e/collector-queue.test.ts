// The gateway's queue on disk: what it took while Homeostat was away survives kill -9 of the Collector, and arrives when both are back.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freePorts } from '../../infra/lab/ports.ts'
import { otlpRoot } from '../../pipeline/otlp/descriptor.ts'
import { exampleConfig, type RunningCollector, requireCollector, startCollector } from '../support/collector.ts'
import { httpCall } from '../support/intake.ts'
import { MESSAGES } from '../support/otlp.ts'

const binary = requireCollector()
const REQUESTS = 50
const ARRIVAL_MS_MAX = 120_000 // The retry of an export that met a closed door comes after a second or a few, at most after 30.
// One attempt at most is under way when the process dies, and it comes again: nothing is ever sent less than once.
const OVERLAY = 'exporters: { otlp_http: { compression: none, sending_queue: { batch: { flush_timeout: 200ms, min_size: 1 } } } }'

describe.skipIf(binary === undefined)('gateway-http.yaml', () => {
  let folder: string
  let collector: RunningCollector | undefined
  let homeostat: Server | undefined

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'homeostat-queue-'))
  })
  afterEach(async () => {
    await collector?.stop()
    await new Promise(resolve => (homeostat === undefined ? resolve(undefined) : homeostat.close(resolve)))
    rmSync(folder, { recursive: true, force: true })
  })

  test('loses nothing that it took when it is killed while Homeostat is away', async () => {
    const seen = new Set<string>()
    const door = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      for (const name of namesIn(Buffer.concat(chunks))) seen.add(name)
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
    })
    const [port] = await freePorts(1) // Until the door opens there, connections are refused.
    const start = (): Promise<RunningCollector> =>
      startCollector({
        binary: binary!,
        config: exampleConfig('gateway-http'),
        env: { HOMEOSTAT_HTTP: `http://127.0.0.1:${port}`, QUEUE_DIR: join(folder, 'queue') },
        overlay: OVERLAY
      })

    collector = await start()
    for (let i = 0; i < REQUESTS; i++) expect(await send(collector.httpPort, `metric.${i}`)).toBe(200)
    await collector.kill()
    collector = await start()
    homeostat = door
    await new Promise<void>(resolve => door.listen(port, '127.0.0.1', () => resolve()))
    const missing = (): string[] => Array.from({ length: REQUESTS }, (_, i) => `metric.${i}`).filter(name => !seen.has(name))
    await expect.poll(missing, { timeout: ARRIVAL_MS_MAX }).toEqual([])
  }, 300_000)
})

async function send(port: number, name: string): Promise<number> {
  const dataPoints = [{ timeUnixNano: `${Date.now()}000000`, asInt: '1' }]
  const body = JSON.stringify({ resourceMetrics: [{ resource: {}, scopeMetrics: [{ metrics: [{ name, gauge: { dataPoints } }] }] }] })
  const { status } = await httpCall(`127.0.0.1:${port}`, { headers: { 'content-type': 'application/json' }, body })
  return status
}

function namesIn(body: Buffer): string[] {
  const type = otlpRoot().lookupType(MESSAGES.metrics)
  const { resourceMetrics } = type.toObject(type.decode(body)) as { resourceMetrics: { scopeMetrics: { metrics: { name: string }[] }[] }[] }
  return resourceMetrics.flatMap(resource => resource.scopeMetrics.flatMap(scope => scope.metrics.map(({ name }) => name)))
}
