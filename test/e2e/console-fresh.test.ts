// The console's page ends with what the server has, however slow or broken a single read is.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeRecord } from '../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../schemas/incident.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { browserMissing, type WatchedConsole, watchConsole } from '../support/console-browser.ts'
import { openTestConsole, type TestConsole } from '../support/console-server.ts'
import { memoryLog } from '../support/memory-log.ts'
import { anIncident } from '../support/store-records.ts'

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
