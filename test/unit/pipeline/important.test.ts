// Which metrics detection looks at first: those that the user names, and those that a verdict is made of.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { importantMetrics } from '../../../pipeline/roles/important.ts'
import { configSchema } from '../../../schemas/config.ts'

const folder = mkdtempSync(join(tmpdir(), 'homeostat-important-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('metrics of checks, wherever they stand; broken and missing files are for the control role to tell', () => {
  mkdirSync(join(folder, 'deep'))
  writeFileSync(
    join(folder, 'deep/restart.yaml'),
    'kind: Runbook\nsteps:\n  - verify:\n      checks:\n        - { type: metric, metric: app.orders-per.min, window: 10s }\n---\nmetric: queue.depth\n'
  )
  writeFileSync(join(folder, 'broken.yaml'), 'metric: [never\n')
  const config = configSchema.parse({
    ...{ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', detect: { important: ['^mine'] } },
    decide: { runbooksDir: folder, policiesDir: join(folder, 'missing') }
  })
  const patterns = importantMetrics(config).map(pattern => new RegExp(pattern))
  expect(patterns).toHaveLength(3)
  for (const metric of ['app.orders-per.min', 'queue.depth', 'mine.own']) expect(patterns.some(pattern => pattern.test(metric))).toBe(true)
  for (const metric of ['appXorders-per.min', 'queue.depths', 'never']) expect(patterns.some(pattern => pattern.test(metric))).toBe(false)
})
