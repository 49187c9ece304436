// The short version of `npm run test:crash`: three kills of the whole Homeostat while it heals real faults.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const KILLS = 3
/** 50 s of warm-up, three kills, and the time until everything is stored. */
const TIMEOUT_MS = 900_000

it(`kill -9 at ${KILLS} instants loses nothing acknowledged and does nothing twice`, { timeout: TIMEOUT_MS }, async () => {
  const main = join(import.meta.dirname, '..', 'crash', 'main.ts')
  const run = promisify(execFile)
  // A run whose promises do not hold exits with 1 and still prints what it found.
  const { stdout, stderr } = await run(process.execPath, ['--disable-warning=ExperimentalWarning', main, '--kills', String(KILLS), '--seed', '5'], {
    maxBuffer: 2 ** 24
  }).catch((failure: { stdout: string; stderr: string }) => failure)
  const findings = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>
  expect(findings, stderr).toMatchObject({
    pass: true,
    kills: KILLS,
    lost: 0,
    storedTwice: 0,
    effectsTwice: 0,
    commandsWithoutOutcome: 0,
    commandsWithTwoOutcomes: 0
  })
  expect(findings.acknowledged).toBeGreaterThan(0)
})
