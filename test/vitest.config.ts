// vitest: one configuration for every lane. Two workers, the cores of the smallest machine; first unit and contract tests, then those
// of processes end to end, then, one at a time, those that judge seconds or boot a system. One Kafka broker serves them all.

import { defineConfig } from 'vitest/config'

const ALONE = ['test/e2e/lab*.test.ts', 'test/e2e/systemd*.test.ts']
const shared = { pool: 'forks', testTimeout: 30_000, hookTimeout: 120_000, teardownTimeout: 20_000 } as const

export default defineConfig({
  test: {
    globalSetup: ['test/support/kafka-setup.ts'],
    projects: [
      { test: { ...shared, name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/e2e/**'], maxWorkers: 2, sequence: { groupOrder: 0 } } },
      { test: { ...shared, name: 'e2e', include: ['test/e2e/**/*.test.ts'], exclude: ALONE, maxWorkers: 2, sequence: { groupOrder: 1 } } },
      { test: { ...shared, name: 'alone', include: ALONE, maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 2 } } }
    ]
  }
})
