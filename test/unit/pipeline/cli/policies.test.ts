// `homeostat policies …` as it is typed: what is printed, what goes to programs, and the exit code.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { initFiles } from '../../../../pipeline/cli/init.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { registerPolicies } from '../../../../pipeline/cli/policies.ts'
import { loadConfig } from '../../../../pipeline/config/load.ts'
import { configuredPolicyFiles, lintFacts, lintPolicies, testPolicies } from '../../../../pipeline/roles/policies.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'
import { anIncident, policyYaml, runbookYaml, T0 } from '../../actuators/decide/builders.ts'

const CASES = (outcome: string): string =>
  `apiVersion: homeostat.io/v1\nkind: PolicyTest\nmetadata: {name: cases}\nspec:\n  cases:\n    - name: silence is answered\n      given: {incident: {entity: shop/orders@orders-1, signature: silent}}\n      expect: {outcome: ${outcome}}\n`
const METRIC_STEP = `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: {name: restart}\nspec:\n  risk: low\n  signatures: [silent, errors]\n  steps:\n    - {name: act, action: {driver: process, verb: restart}, verify: {checks: [{name: m, type: metric, metric: queue.dept, window: 30s, expect: value < 1}]}}\n`

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-policies-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
  process.exitCode = undefined
})

function write(files: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

/** Runs `policies …args`; `rows` answers statements of ClickHouse, or is why it cannot be asked. */
async function run(args: readonly string[], rows: ((statement: string) => object[]) | AppError = new AppError('not_found', 'no Homeostat runs here')) {
  const printed = { text: '', result: undefined as any, said: [] as string[], statements: [] as string[], exitCode: 0 }
  const output: Output = {
    table: () => undefined,
    result: (value, text) => {
      printed.result = JSON.parse(JSON.stringify(value))
      printed.text = text
    },
    say: line => void printed.said.push(line)
  }
  const config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', environment: 'lab', decide: { policiesDir: folder } })
  const program = new Command().exitOverride()
  registerPolicies(program, {
    loaded: () => ({ config, file: undefined, overrides: new Map<string, string>() }),
    output: () => output,
    openHistory: async () => {
      if (rows instanceof AppError) throw rows
      const sql = async <Row>(statement: string): Promise<Row[]> => {
        printed.statements.push(statement)
        return rows(statement) as Row[]
      }
      return { sql, close: async () => undefined }
    },
    clock: virtualClock(T0 + 3_600_000),
    stderr: { isTTY: false, write: () => true } as unknown as NodeJS.WriteStream
  })
  await program.parseAsync(['policies', ...args], { from: 'user' })
  printed.exitCode = Number(process.exitCode ?? 0)
  return printed
}

describe('lint', () => {
  test('without errors it ends well, and says what it did not look at', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': METRIC_STEP })
    const { text, result, said, exitCode } = await run(['lint'])
    expect(exitCode).toBe(0)
    expect(text).toContain('no errors, no warnings: 1 policy, 1 runbook in 2 files')
    expect(said).toEqual([
      'no configuration file: drivers, channels and hosts are not checked',
      'whether checks ever saw data was not looked at: no Homeostat runs here'
    ])
    expect(result).toMatchObject({ errors: 0, warnings: 0, history: 'no Homeostat runs here', findings: [] })
  })

  test('an error ends with 1, and has place, rule and remedy', async () => {
    write({ 'web.yaml': policyYaml('', 'orders', 'cause.service == "a" && cause.service == "b"'), 'restart.yaml': runbookYaml() })
    const { text, result, exitCode } = await run(['lint', '--offline'])
    expect(exitCode).toBe(1)
    expect(text).toContain(`${join(folder, 'web.yaml')}:5:10  error  selects-nothing\n  spec.match: holds for none`)
    expect(result.findings).toMatchObject([{ severity: 'error', rule: 'selects-nothing', line: 5, column: 10 }])
  })

  test('a check that never saw data is an error where ClickHouse can be asked', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': METRIC_STEP })
    const { result, exitCode } = await run(['lint'], statement => (statement.includes('DISTINCT') ? [{ name: 'queue.depth' }] : [{ samples: 0, most: 0 }]))
    expect(exitCode).toBe(1)
    expect(result).toMatchObject({ history: 'asked', findings: [{ rule: 'never-saw-data', hint: 'Did you mean queue.depth?' }] })
  })

  test('named paths are read instead of the configured folders; what is not there is told', async () => {
    write({ 'web.yaml': policyYaml(), 'elsewhere/all.yaml': `${policyYaml('', 'other')}---\n${runbookYaml()}` })
    expect((await run(['lint', '--offline', join(folder, 'elsewhere')])).result).toMatchObject({ policies: 1, runbooks: 1, files: 1 })
    await expect(run(['lint', join(folder, 'nowhere')])).rejects.toThrow('there is no file or folder')
    await expect(run(['lint', write({ 'empty/x.txt': '' }) && join(folder, 'empty')])).rejects.toThrow('no .yaml or .yml file')
  })
})

describe('test', () => {
  test('cases that pass end well', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml(), 'web.test.yaml': CASES('would_act') })
    const { text, result, exitCode } = await run(['test'])
    expect(exitCode).toBe(0)
    expect(text).toBe('✓ cases: silence is answered\n\n1 case passed, 0 failed')
    expect(result).toMatchObject({ passed: 1, failed: 0, untested: [] })
  })

  test('a case that differs ends with 1 and shows what was expected, what was decided, and why', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml(), 'web.test.yaml': CASES('act') })
    const { text, exitCode } = await run(['test'])
    expect(exitCode).toBe(1)
    expect(text).toContain('outcome  expected act  was would_act')
    expect(text).toContain('- autonomy: orders is at level observe')
  })

  test('cases alone are decided by the configured policies; without a case there is nothing to test', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml() })
    await expect(run(['test'])).rejects.toMatchObject({ code: 'not_found' })
    const cases = mkdtempSync(join(tmpdir(), 'homeostat-cases-'))
    writeFileSync(join(cases, 'web.test.yaml'), CASES('would_act'))
    try {
      expect((await run(['test', cases])).result).toMatchObject({ passed: 1 })
    } finally {
      rmSync(cases, { recursive: true })
    }
  })
})

describe('explain', () => {
  test('tells a policy in words, with the lines of what was written', async () => {
    write({ 'web.yaml': policyYaml('confirmFor: 30s'), 'restart.yaml': runbookYaml() })
    const { text } = await run(['explain', 'orders'])
    expect(text).toMatch(/confirmFor +30 s +line 7 +How long an incident is watched/)
    expect(text).toMatch(/cooldown\.initial +60 s +default +After the first attempt/)
    expect(Math.max(...text.split('\n').map(line => line.length))).toBeLessThanOrEqual(100)
  })

  test('an unknown name has the one that was meant', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml() })
    await expect(run(['explain', 'oders'])).rejects.toMatchObject({ code: 'not_found', message: 'there is no policy oders. Did you mean orders?' })
  })
})

describe('simulate', () => {
  const incident = anIncident()
  const rows = (statement: string): object[] => {
    if (!statement.includes('homeostat_incidents')) return []
    const { causes, members, ...columns } = incident
    return [{ ...columns, resolution: '', causes: JSON.stringify(causes), members: JSON.stringify(members), atNs: '0', recordId: 'incident-1-1' }]
  }

  test('shows what other policies decide otherwise, and says what nobody can know', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml() })
    const other = mkdtempSync(join(tmpdir(), 'homeostat-other-'))
    writeFileSync(join(other, 'all.yaml'), `${policyYaml('autonomy: auto')}---\n${runbookYaml()}`)
    try {
      const { text, result } = await run(['simulate', '--from', '2h', '--policies', other], rows)
      expect(text).toContain('1 incident, 0 decided alike, 1 differently')
      expect(text).toMatch(/- 12:00:00 {2}would_act/)
      expect(text).toMatch(/\+ 12:00:00 {2}act/)
      expect(text).toContain('never happened: nobody can know')
      expect(result.current.decisions).toHaveLength(1)
      expect(result.other.acts.assumed).toBeGreaterThan(0)
      const again = await run(['simulate', '--from', '2h', '--policies', other], rows)
      expect(JSON.stringify(again.result)).toBe(JSON.stringify(result))
    } finally {
      rmSync(other, { recursive: true })
    }
  })

  test('without other policies what was decided then is compared with what would be now', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml() })
    const { text, result } = await run(['simulate', '--from', '2h'], rows)
    expect(text).toMatch(/decision +then +now/)
    expect(result.recorded).toEqual([])
  })

  test('a window without incidents, and one that ends before it begins, are told', async () => {
    write({ 'web.yaml': policyYaml(), 'restart.yaml': runbookYaml() })
    await expect(run(['simulate', '--from', '2h'], () => [])).rejects.toMatchObject({ code: 'not_found' })
    await expect(run(['simulate', '--from', '1h', '--to', '2h'], rows)).rejects.toMatchObject({ code: 'usage' })
  })
})

test('what `homeostat init` writes has no findings, and its cases pass', async () => {
  initFiles(folder, false)
  const { config } = loadConfig('homeostat.yaml', folder, {})
  const files = configuredPolicyFiles(config.decide)
  expect(lintPolicies(files, lintFacts(config, true)).findings).toEqual([])
  const { results } = testPolicies(files, () => [])
  expect(results.map(({ differences }) => differences)).toEqual([[], [], []])
})
