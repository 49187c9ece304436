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
    try {
      await until(() => log.records(TOPICS.metrics.name).length > 0)
      const [request] = log.records(TOPICS.metrics.name)
      const names = decodeMetrics(request!.value!).flatMap(({ scopes }) => scopes.flatMap(({ metrics }) => metrics.map(({ name }) => name)))
      expect(names).toEqual([...new Set(names)])
      expect(names).toEqual(expect.arrayContaining(['process.memory.usage', 'homeostat.canary.sent', ...(hostMetrics ? ['system.memory.usage'] : [])]))
    } finally {
      await exporter.close()
      await intake.close()
    }
  })
}
