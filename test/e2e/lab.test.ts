// The loop closes: real processes, real telemetry, two real faults healed and proven. The short version of `npm run lab`.

import { afterAll, describe, expect, it } from 'vitest'
import { type LabReport, type LabView, runLab } from '../../infra/lab/lab.ts'

const SEED = 3
const HEALTHY_MS = 10_000
/** Start, 50 s of warm-up, the healthy time, two faults of 15 to 40 s. */
const TIMEOUT_MS = 360_000

const lines: string[] = []
const view: LabView = {
  phase: name => void lines.push(`── ${name}`),
  line: text => void lines.push(text),
  watch: () => undefined,
  report: () => undefined,
  close: () => undefined
}
const ended = new AbortController()
afterAll(() => ended.abort())

describe('the lab', () => {
  it(
    'finds a hang and an error burst, acts on the guilty process alone, and ClickHouse agrees with the injector',
    async () => {
      const report: LabReport = await runLab({ seed: SEED, healthyMs: HEALTHY_MS, cases: ['hang', 'error_burst'], keep: false, view, signal: ended.signal })
      const told = lines.join('\n')
      expect(report.healthy.actions, told).toBe(0)
      expect(
        report.cases.flatMap(({ case: name, failures }) => failures.map(failure => `${name}: ${failure}`)),
        told
      ).toEqual([])
      expect(report.cases.map(({ verdict }) => verdict)).toEqual(['healed', 'healed'])
      expect(report.pass).toBe(true)
    },
    TIMEOUT_MS
  )
})
