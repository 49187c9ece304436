// The loop closes across processes: a real broker, ClickHouse over HTTP, every role a process of its own, one real fault healed.

import { afterAll, expect, it } from 'vitest'
import { type LabView, runLab } from '../../infra/lab/lab.ts'
import { kafkaSkipReason } from '../support/kafka-broker.ts'

const SEED = 1
const HEALTHY_MS = 3_000
/** Broker, nine processes, 50 s of warm-up, one fault of 15 to 25 s: 90 s on two free cores. */
const TIMEOUT_MS = 600_000

const lines: string[] = []
const view: LabView = {
  phase: name => void lines.push(`── ${name}`),
  line: text => void lines.push(text),
  watch: () => undefined,
  report: () => undefined,
  close: () => undefined
}
const noBroker = kafkaSkipReason()
if (noBroker !== undefined) process.stderr.write(`skipped: the lab on a cluster: ${noBroker}\n`)
const ended = new AbortController()
afterAll(() => ended.abort())

it.skipIf(noBroker !== undefined)(
  `a cluster of roles heals a fault in the right environment${noBroker === undefined ? '' : ` (skipped: ${noBroker})`}`,
  { timeout: TIMEOUT_MS },
  async () => {
    const report = await runLab({ seed: SEED, healthyMs: HEALTHY_MS, cases: ['hang'], distributed: true, keep: false, view, signal: ended.signal })
    const told = lines.join('\n')
    expect(report.failures, told).toEqual([])
    expect(report.healthy.actions, told).toBe(0)
    expect(
      report.cases.flatMap(({ case: name, failures }) => failures.map(failure => `${name}: ${failure}`)),
      told
    ).toEqual([])
    expect(report.cases.map(({ verdict, wrongActions }) => ({ verdict, wrongActions }))).toEqual([{ verdict: 'healed', wrongActions: 0 }])
    const roles = report.processes.map(({ role, pid }) => `${role}${pid === undefined ? ' down' : ''}`).sort()
    expect(roles).toEqual(['act', 'act', 'broker', 'clickhouse', 'console', 'control', 'control', 'detect', 'detect', 'intake', 'store'])
    expect(new Set(report.processes.map(({ pid }) => pid)).size).toBe(roles.length)
    expect(report.pass).toBe(true)
  }
)
