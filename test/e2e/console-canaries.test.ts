// Canaries in the console, seen in a browser: how each stands, how far apart its arms are, and the orders that people give.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { canaryRecord } from '../../schemas/canary.ts'
import { type CanaryOrder, controlRecord } from '../../schemas/control.ts'
import { decodeRecord, encodeRecord } from '../../schemas/envelope.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { anOrder, playCanary, type Traffic } from '../support/canary-run.ts'
import { browserMissing, type WatchedConsole, watchConsole } from '../support/console-browser.ts'
import { openTestConsole, type TestConsole } from '../support/console-server.ts'
import { memoryLog } from '../support/memory-log.ts'

const noBrowser = browserMissing()
const MANY: Traffic = { requestsPerWindow: 50, windows: 200, errorRatio: { canary: 0.01, baseline: 0.01 } }

describe.skipIf(noBrowser !== undefined)(`canaries in the console${noBrowser === undefined ? '' : ` (skipped: ${noBrowser})`}`, () => {
  const log = memoryLog()
  let server: TestConsole
  let watched: WatchedConsole
  beforeAll(async () => {
    await tell('shop/orders', MANY)
    await tell('shop/payments', { ...MANY, errorRatio: { canary: 0.12, baseline: 0.01 } })
    await tell('shop/search', { ...MANY, windows: 8, slower: 1.5 })
    await tell('shop/gateway', { ...MANY, windows: 2 })
    server = await openTestConsole(log, { isReady: true })
    watched = await watchConsole(server.address)
  })
  afterAll(async () => {
    await watched?.close()
    await server?.close()
  })

  async function tell(service: string, traffic: Traffic): Promise<void> {
    const named = { id: service, service }
    await log.append(TOPICS.canaries.name, [encodeRecord(canaryRecord, { ...playCanary(1, traffic).record, ...named })])
    await log.append(TOPICS.control.name, [encodeRecord(controlRecord, anOrder(named))])
  }
  const of = (service: string) => watched.page.locator('.canaries details', { hasText: service })
  const labels = (service: string): Promise<(string | null)[]> =>
    of(service)
      .locator('svg')
      .evaluateAll(pictures => pictures.map(picture => picture.getAttribute('aria-label')))

  it('each is shown with its state, its versions and why', async () => {
    await of('shop/payments').locator('summary').waitFor()
    for (const [service, state] of Object.entries({ orders: 'passed', payments: 'failed', search: 'running', gateway: 'running' })) {
      expect(await of(`shop/${service}`).locator('summary .pill').first().textContent(), service).toBe(state)
    }
    expect(await of('shop/payments').locator('summary').textContent()).toMatch(/2\.0\.0 against 1\.0\.0 .*quarantined/)
    expect(await of('shop/payments').locator('p').first().textContent()).toContain('13.0 % of 200 requests fail, 1.0 % of 200 in the baseline')
    expect(watched.errors).toEqual([])
  })

  it('a picture has the difference, its bounds and what is tolerated, in words too', async () => {
    const [errors, latency] = await labels('shop/payments')
    expect(errors).toMatch(/^errors: \+1\d\.\d points \(\+\d\.\d to \+2\d\.\d\), \+2\.0 tolerated$/)
    expect(latency).toMatch(/^95th percentile: 0\.9\d times \(0\.\d\d to 1\.\d\d\), 1\.50 tolerated$/)
    expect(await of('shop/payments').locator('svg').first().locator('g').getAttribute('class')).toBe('bad')
    expect(await of('shop/gateway').locator('figcaption').first().textContent()).toBe('errors not looked at yet')
  })

  it('a person pauses one', async () => {
    const answered = watched.page.waitForResponse(response => response.request().method() === 'POST')
    await of('shop/search').getByRole('button', { name: 'Pause' }).click()
    await answered
    expect(newestOrder()).toMatchObject({ kind: 'canary', id: 'shop/search', order: 'pause', by: 'console' })
  })

  function newestOrder(): CanaryOrder {
    const decoded = decodeRecord(controlRecord, log.records(TOPICS.control.name).at(-1)!)
    if (!decoded.ok) throw new Error(decoded.reason)
    return decoded.record as CanaryOrder
  }
})
