// The console in Debian's Chromium, driven by Playwright: what a person would see while a heal happens.

import { existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
const HANG_MS = 90_000 // Two seconds until it shows a page, on an idle machine.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync'
]

/** Why the console cannot be tested here, or undefined when it can. With CI=true that is an error. */
export function browserMissing(): string | undefined {
  if (existsSync(CHROMIUM)) return undefined
  const reason = `${CHROMIUM} is missing: apt-get install chromium`
  if (process.env.CI === 'true') throw new Error(reason)
  return reason
}

export interface WatchedConsole {
  page: Page
  /** Errors of the page's own code. */
  errors: string[]
  /** Waits until the first incident's status pill says so. @returns the texts that stood there so far, in order, without repeats */
  statusesUntil(status: string): Promise<string[]>
  /** Full-page pictures in light and dark; in HOMEOSTAT_SCREENSHOTS if set. @returns their files */
  pictures(name: string): Promise<string[]>
  close(): Promise<void>
}

interface Seen {
  seenStatuses: string[]
}

/** Opens the console and notes how the newest incident's status changes from now on. */
export async function watchConsole(address: string): Promise<WatchedConsole> {
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, timeout: HANG_MS })
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } })
  page.setDefaultTimeout(HANG_MS)
  const errors: string[] = []
  page.on('pageerror', error => errors.push(error.message))
  await page.addInitScript(() => {
    const seen: string[] = []
    Object.assign(window, { seenStatuses: seen })
    setInterval(() => {
      const status = document.querySelector('.incidents .pill')?.textContent?.split(' ')[0] ?? ''
      if (status !== '' && seen.at(-1) !== status) seen.push(status)
    }, 100)
  })
  await page.goto(address)
  await page.getByRole('status').getByText('ready').waitFor()
  return {
    page,
    errors,
    async statusesUntil(status) {
      await page.waitForFunction(last => (window as unknown as Seen).seenStatuses.at(-1) === last, status)
      return page.evaluate(() => (window as unknown as Seen).seenStatuses)
    },
    async pictures(name) {
      const folder = process.env.HOMEOSTAT_SCREENSHOTS ?? mkdtempSync(join(tmpdir(), 'homeostat-console-'))
      mkdirSync(folder, { recursive: true })
      const files: string[] = []
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        await page.reload()
        await page.locator('.story h2').waitFor()
        await page.locator('.lanes').waitFor()
        await page.waitForTimeout(700) // The chart is drawn after its points came.
        files.push(join(folder, `${name}-${colorScheme}.png`))
        await page.screenshot({ path: files.at(-1)!, fullPage: true })
      }
      return files
    },
    close: () => browser.close()
  }
}
