// vitest: one configuration for every lane. Two workers, the cores of the smallest machine; first unit and contract tests, then those
// of single processes end to end, then the labs, one at a time, because they judge seconds. One Kafka broker serves them all.

import { defineConfig } from 'vitest/config'

const LABS = 'test/e2e/lab*.test.ts'
const shared = { pool: 'forks', testTimeout: 30_000, hookTimeout: 120_000, teardownTimeout: 20_000 } as const

export default defineConfig({
  test: {
    globalSetup: ['test/support/kafka-setup.ts'],
    projects: [
      { test: { ...shared, name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/e2e/**'], maxWorkers: 2, sequence: { groupOrder: 0 } } },
      { test: { ...shared, name: 'e2e', include: ['test/e2e/**/*.test.ts'], exclude: [LABS], maxWorkers: 2, sequence: { groupOrder: 1 } } },
      { test: { ...shared, name: 'lab', include: [LABS], maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 2 } } }
    ]
  }
})
