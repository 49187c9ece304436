// The loop closes: real processes, real telemetry, two real faults healed and proven. The short version of `npm run lab`.

import { afterAll, describe, expect, it } from 'vitest'
import { type LabReport, type LabView, runLab } from '../../infra/lab/lab.ts'
import { browserMissing, type WatchedConsole, watchConsole } from '../support/console-browser.ts'

const SEED = 3
const HEALTHY_MS = 10_000
/** Start, 50 s of warm-up, the healthy time, two faults of 15 to 40 s. */
const TIMEOUT_MS = 900_000

const lines: string[] = []
const view: LabView = {
  phase: name => void lines.push(`── ${name}`),
  line: text => void lines.push(text),
  watch: ({ homeostat }) => {
    if (noBrowser === undefined) watched = watchConsole(homeostat.address())
  },
  // The lab goes on at once: what the page shows of a case is looked at while the next one runs.
  report: ({ case: name }) => {
    looked = Promise.all([looked, lookAtConsole(name)])
  },
  close: () => undefined
}
const noBrowser = browserMissing()
if (noBrowser !== undefined) process.stderr.write(`skipped: the console in a browser: ${noBrowser}\n`)
let watched: Promise<WatchedConsole> | undefined
let looked: Promise<unknown> = Promise.resolve()
const seen: { story: string; statuses: string[]; verdicts: string[]; tiles: number; errors: string[] }[] = []

async function lookAtConsole(name: string): Promise<void> {
  const browser = await watched
  if (!browser || seen.length > 0) return
  const { page, errors } = browser
  await page.locator('.story .pill.healed').first().waitFor()
  const statuses = await browser.statusesUntil('resolved')
  // Each part of the page reads by itself.
  await page.locator('.story', { hasText: /healthy again after/ }).waitFor()
  await page.locator('.scorecard .tile').nth(9).waitFor()
  seen.push({
    story: (await page.locator('.story').textContent()) ?? '',
    statuses,
    verdicts: await page.locator('.story h3 .pill').allTextContents(),
    tiles: await page.locator('.scorecard .tile').count(),
    errors
  })
  await browser.pictures(name)
}

const ended = new AbortController()
afterAll(async () => {
  ended.abort()
  await (await watched)?.close()
})

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

  it.skipIf(noBrowser !== undefined)(`was seen healing live in the console${noBrowser === undefined ? '' : ` (skipped: ${noBrowser})`}`, async () => {
    await looked
    const [first] = seen
    expect(first?.errors).toEqual([])
    expect(first?.statuses.length, `the page followed the incident without a reload: ${first?.statuses}`).toBeGreaterThan(1)
    expect(first?.verdicts).toContain('healed')
    expect(first?.story).toMatch(/healthy again after/)
    expect(first?.tiles).toBe(10)
  })
})
