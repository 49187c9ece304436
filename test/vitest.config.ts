// vitest: one configuration for every lane. Unit and contract tests share two workers, the cores of the smallest machine;
// end-to-end tests come after them, one at a time, because they judge seconds of real processes. One Kafka broker serves them all.

import { defineConfig } from 'vitest/config'

const shared = { pool: 'forks', testTimeout: 30_000, hookTimeout: 120_000, teardownTimeout: 20_000 } as const

export default defineConfig({
  test: {
    globalSetup: ['test/support/kafka-setup.ts'],
    projects: [
      { test: { ...shared, name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/e2e/**'], maxWorkers: 2, sequence: { groupOrder: 0 } } },
      { test: { ...shared, name: 'e2e', include: ['test/e2e/**/*.test.ts'], maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 1 } } }
    ]
  }
})
