// What Homeostat sends of itself, taken by its own intake.

import { expect, test } from 'vitest'
import { decodeMetrics } from '../../../../pipeline/otlp/decode.ts'
import { metricExporter } from '../../../../pipeline/self/metric-exporter.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { openTestIntake, until } from '../../../support/intake.ts'

for (const hostMetrics of [false, true]) {
  test(`${hostMetrics ? 'of itself and its machine' : 'of itself alone'}, no metric comes from two places`, async () => {
    const { intake, log } = await openTestIntake()
    const identity = { environment: 'lab', version: '0', instance: 'here', roles: [], hostMetrics }
    const exporter = metricExporter(identity, { endpoint: `http://${intake.addresses.grpc}`, intervalMs: 200, headers: {} })
    const exports = (): string[][] => log.records(TOPICS.metrics.name).map(({ value }) => namesIn(value!))
    try {
      // The machine's figures are read beside the exports: the first may be without them.
      await until(() => exports().some(names => names.includes(hostMetrics ? 'system.memory.usage' : 'homeostat.canary.sent')))
      for (const names of exports()) {
        expect(names).toContain('process.memory.usage')
        expect(names).toEqual([...new Set(names)])
      }
    } finally {
      await exporter.close()
      await intake.close()
    }
  })
}

const namesIn = (request: Uint8Array): string[] =>
  decodeMetrics(request).flatMap(({ scopes }) => scopes.flatMap(({ metrics }) => metrics.map(({ name }) => name)))
