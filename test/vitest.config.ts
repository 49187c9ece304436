// vitest: one configuration for every lane. First unit and contract tests, then those of processes end to end: three workers on the two
// cores of the smallest machine, for a third of them wait for a broker, a disk or a child at any time. Then the two fleets on a single
// Homeostat side by side; what they leave of the cores goes to tests that only compute, on virtual time, at the lowest priority (at a
// priority of their own the fleets missed deadlines on a busier machine). Then, one at a time, what needs the whole machine or boots a
// system. One Kafka broker serves them all.

import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What the workers and the processes that they start have compiled once: a child of the drivers' contract takes half of the CPU. */
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '..', 'node_modules', '.cache', 'compiled')

const FLEETS = ['test/e2e/lab.test.ts', 'test/e2e/crash.test.ts']
const ALONE = ['test/e2e/lab-distributed.test.ts', 'test/e2e/systemd*.test.ts']
/** They only compute, for ten seconds and more each, and no clock of the machine is in them. */
const COMPUTING = [
  'test/unit/pipeline/cli/tune.test.ts',
  'test/unit/models/train.test.ts',
  'test/unit/detectors/healthy*.test.ts',
  'test/unit/detectors/handover.test.ts'
]
/** Of pure code, which keeps no state between calls: a process of its own for each file would spend half of their time on loading the same modules. */
const DOMAIN = ['test/unit/actuators/{decide,escalate,execute,verify}/**/*.test.ts', 'test/unit/{detectors,models}/**/*.test.ts']
/** Of a minute and more: their lanes begin with them, so that none is left alone at its end. */
const LONG = [...FLEETS, 'test/sim/sim.test.ts', 'test/contract/kafka-log.test.ts', 'test/contract/drivers.test.ts', 'test/contract/store-handover.test.ts']
/**
 * They only end what hangs: a machine whose cores and disk are another's for seconds misses whatever is nearer. A test waits for a
 * condition (`eventually`, `expect.poll`), and what is to be fast is measured in ratios or on a clock of the test's own.
 */
const shared = {
  pool: 'forks',
  testTimeout: 120_000,
  hookTimeout: 240_000,
  teardownTimeout: 60_000,
  expect: { poll: { timeout: 60_000 } }
} as const

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => LONG.some(file => moduleId.endsWith(file))
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter(file => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    globalSetup: ['test/support/kafka-setup.ts'],
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          ...shared,
          name: 'domain',
          include: DOMAIN,
          exclude: COMPUTING,
          isolate: false,
          maxWorkers: 3,
          sequence: { groupOrder: 0 }
        }
      },
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', ...DOMAIN, ...COMPUTING],
          maxWorkers: 3,
          sequence: { groupOrder: 0 }
        }
      },
      { test: { ...shared, name: 'e2e', include: ['test/e2e/**/*.test.ts'], exclude: [...FLEETS, ...ALONE], maxWorkers: 3, sequence: { groupOrder: 1 } } },
      { test: { ...shared, name: 'fleets', include: FLEETS, maxWorkers: 3, sequence: { groupOrder: 2 } } },
      {
        test: {
          ...shared,
          name: 'computing',
          include: COMPUTING,
          setupFiles: ['test/support/lowest-priority.ts'],
          maxWorkers: 3,
          sequence: { groupOrder: 2 }
        }
      },
      { test: { ...shared, name: 'alone', include: ALONE, maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 3 } } }
    ]
  }
})
