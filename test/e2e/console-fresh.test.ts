// The console's page ends with what the server has, however slow or broken a single read is.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { anomalyRecord } from '../../schemas/anomaly.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../schemas/incident.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { browserMissing, type WatchedConsole, watchConsole } from '../support/console-browser.ts'
import { openTestConsole, type TestConsole } from '../support/console-server.ts'
import { memoryLog } from '../support/memory-log.ts'
import { aMember, anAnomaly, anIncident, NOW_MS } from '../support/store-records.ts'

const noBrowser = browserMissing()
const LIST = '**/api/incidents?limit=100'
const OPEN = { healedAtMs: null, resolvedAtMs: null, resolution: null, status: 'open' } as const

describe.skipIf(noBrowser !== undefined)(`the console's page${noBrowser === undefined ? '' : ` (skipped: ${noBrowser})`}`, () => {
  const log = memoryLog()
  let server: TestConsole
  let watched: WatchedConsole
  beforeAll(async () => {
    await tell({ ...OPEN, version: 1 })
    server = await openTestConsole(log, { isReady: true })
    watched = await watchConsole(server.address)
  })
  afterAll(async () => {
    await watched?.close()
    await server?.close()
  })

  async function tell(state: Partial<Incident>): Promise<void> {
    await log.append(TOPICS.incidents.name, [encodeRecord(incidentRecord, anIncident('i1', state))])
  }
  const listed = (status: string) => watched.page.locator(`.incidents .pill.${status}`)
  const told = (status: string) => watched.page.locator(`.facts .pill.${status}`)

  it('is not taken back by an answer that was overtaken', async () => {
    const { page } = watched
    await listed('open').waitFor()
    const held = Promise.withResolvers<void>()
    let isFirst = true
    await page.route(LIST, async route => {
      const isHeld = isFirst
      isFirst = false
      const response = await route.fetch()
      if (isHeld) await held.promise
      await route.fulfill({ response }).catch(() => {}) // The page gives up a read that takes too long, and asks again.
    })
    const answered = page.waitForResponse(LIST)
    await tell({ ...OPEN, status: 'acting', version: 2 })
    await told('acting').waitFor()
    await tell({ version: 3 })
    await told('resolved').waitFor()
    held.resolve()
    await answered
    await page.evaluate(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn))))
    await listed('resolved').waitFor()
    await page.unroute(LIST)
  })

  it('asks again for what it could not read', async () => {
    const { page } = watched
    await page.route(LIST, route => route.abort(), { times: 1 })
    await tell({ ...OPEN, version: 4 })
    await told('open').waitFor()
    await listed('open').waitFor()
    expect(watched.errors).toEqual([])
  })

  it("draws no incident with another one's signal", async () => {
    const { page } = watched
    const points = Array.from({ length: 5 }, (_, index) => ({ atMs: NOW_MS - 60_000 + index * 1_000, value: index }))
    await page.route('**/api/series*', route => (route.request().url().includes('later-1') ? undefined : route.fulfill({ json: points })))
    for (const [id, entity] of Object.entries({ i2: 'shop/orders@first-1', i3: 'shop/orders@later-1' })) {
      await log.append(TOPICS.anomalies.name, [encodeRecord(anomalyRecord, anAnomaly({ id: `a-${id}`, entity }))])
      const more = { title: `${entity} is slow`, members: [{ ...aMember(`a-${id}`), entity }] }
      await log.append(TOPICS.incidents.name, [encodeRecord(incidentRecord, anIncident(id, { ...more, causes: [{ ...anIncident(id).causes[0]!, entity }] }))])
    }
    const choose = (entity: string) => page.locator('.incidents button', { hasText: entity }).click()
    await choose('first-1')
    await page.locator('.chart .uplot').waitFor()
    await choose('later-1')
    await page.locator('.story h2', { hasText: 'later-1' }).waitFor()
    await page.locator('.chart figcaption', { hasText: 'later-1' }).waitFor()
    expect(await page.locator('.chart .uplot').count()).toBe(0)
    await page.unroute('**/api/series*')
  })

  it('says of a link to an incident that is gone where older ones are', async () => {
    const page = await watched.page.context().browser()!.newPage()
    await page.goto(`${server.address}/?incident=gone`)
    await page.getByText('Looking for incident gone. The console keeps the newest 500; older ones are in ClickHouse.').waitFor()
    await page.close()
  })

  it('opens the line again that a proxy refused', async () => {
    const page = await watched.page.context().browser()!.newPage()
    await page.route('**/api/events', route => route.fulfill({ status: 503 }), { times: 1 })
    await page.goto(server.address)
    await page.getByRole('status').getByText('connection lost').waitFor()
    await page.getByRole('status').getByText('ready').waitFor()
    await page.close()
  })

  it('says when the kill switch was not heard, and what works without the console', async () => {
    const { page } = watched
    page.on('dialog', dialog => dialog.accept('STOP'))
    const alerted = page.waitForEvent('dialog', dialog => dialog.type() === 'alert')
    await page.route('**/api/kill', route => route.abort(), { times: 1 })
    await page.getByRole('button', { name: 'Kill switch' }).click()
    expect((await alerted).message()).toMatch(/^This was not heard .*: homeostat kill$/)
    await page.getByRole('button', { name: 'Kill switch' }).click()
    await page.getByRole('button', { name: 'Release kill switch' }).waitFor()
    expect(watched.errors).toEqual([])
  })
})
