// vitest: one configuration for every lane. First unit and contract tests, then those of processes end to end: three workers on the two
// cores of the smallest machine, for a third of them wait for a broker, a disk or a child at any time. Then the two fleets on a single
// Homeostat side by side (each leaves most of a core free), then, one at a time, what needs the whole machine or boots a system. One
// Kafka broker serves them all.

import { defineConfig } from 'vitest/config'

const FLEETS = ['test/e2e/lab.test.ts', 'test/e2e/crash.test.ts']
const ALONE = ['test/e2e/lab-distributed.test.ts', 'test/e2e/systemd*.test.ts']
const shared = { pool: 'forks', testTimeout: 30_000, hookTimeout: 120_000, teardownTimeout: 20_000 } as const

export default defineConfig({
  test: {
    globalSetup: ['test/support/kafka-setup.ts'],
    projects: [
      { test: { ...shared, name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/e2e/**'], maxWorkers: 3, sequence: { groupOrder: 0 } } },
      { test: { ...shared, name: 'e2e', include: ['test/e2e/**/*.test.ts'], exclude: [...FLEETS, ...ALONE], maxWorkers: 3, sequence: { groupOrder: 1 } } },
      { test: { ...shared, name: 'fleets', include: FLEETS, maxWorkers: 2, sequence: { groupOrder: 2 } } },
      { test: { ...shared, name: 'alone', include: ALONE, maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 3 } } }
    ]
  }
})
