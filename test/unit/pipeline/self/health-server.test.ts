// The health server of a process without a console: status codes for probes, counters for a scraper.

import { afterEach, describe, expect, it } from 'vitest'
import type { HealthCheck, Probes } from '../../../../pipeline/self/health-routes.ts'
import { type HealthServer, openHealthServer } from '../../../../pipeline/self/health-server.ts'
import { prometheusText } from '../../../../pipeline/self/prometheus-text.ts'
import { aHealth } from '../../../support/health.ts'

const failed: HealthCheck = { name: 'detect role', ok: false, detail: 'not heard for 61 s' }
const somewhere = { host: '127.0.0.1', port: 0 }

let server: HealthServer | undefined
afterEach(() => server?.close())

async function ask(path: string, probes: Partial<Probes> = {}): Promise<{ status: number; type: string; text: string }> {
  server = await openHealthServer({
    section: 'health',
    listen: somewhere,
    probes: { health: async () => aHealth(), live: async () => ({ ok: true, checks: [] }), readings: () => [], ...probes }
  })
  const response = await fetch(`${server.address}${path}`)
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() }
}

describe('the health server', () => {
  it('answers 200 to a live and ready process', async () => {
    for (const path of ['/livez', '/readyz', '/startupz']) {
      expect((await ask(path)).status, path).toBe(200)
      await server?.close()
    }
  })

  it('stays ready with something to mend, and says what about, not what is in it', async () => {
    const warnings = { policies: 'web.yaml:7:13: spec.autonomy: …' }
    const { status, text } = await ask('/readyz', { health: async () => aHealth({ warnings }) })
    expect(status).toBe(200)
    expect(JSON.parse(text)).toEqual({ ready: true, checks: [], warnings: ['policies'] })
  })

  it('answers 503 with the checks that fail', async () => {
    const live = await ask('/livez', { live: async () => ({ ok: false, checks: [failed] }) })
    expect(live.status).toBe(503)
    expect(JSON.parse(live.text)).toEqual({ ok: false, checks: [failed] })
    await server?.close()
    const ready = await ask('/readyz', { health: async () => aHealth({ ready: false, checks: [failed] }) })
    expect(ready.status).toBe(503)
    expect(JSON.parse(ready.text)).toEqual({ ready: false, checks: [failed], warnings: [] })
  })

  it('gives the readings to a scraper', async () => {
    const { type, text } = await ask('/metrics', { readings: () => [{ name: 'homeostat.seen', kind: 'counter', attributes: {}, value: 3 }] })
    expect(type).toContain('text/plain; version=0.0.4')
    expect(text).toBe('# TYPE homeostat_seen_total counter\nhomeostat_seen_total 3\n')
  })

  it('says what is here instead of a console', async () => {
    const { status, text } = await ask('/api/incidents')
    expect(status).toBe(404)
    expect(text).toContain('no console')
  })

  it('names the key to change when its port is taken', async () => {
    await ask('/livez')
    const port = Number(new URL(server!.address).port)
    await expect(openHealthServer({ section: 'health', listen: { host: '127.0.0.1', port }, probes: {} as Probes })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('health.listen.port')
    })
  })
})

describe('readings as text', () => {
  it('have one type line a name, labels, and escaped values', () => {
    const text = prometheusText([
      { name: 'homeostat.rows', kind: 'counter', attributes: { table: 'a' }, value: 1 },
      { name: 'homeostat.lag-records', kind: 'gauge', attributes: { 'topic.name': 'say "x"\\\n' }, value: 2.5 },
      { name: 'homeostat.rows', kind: 'counter', attributes: { table: 'b' }, value: 4 }
    ])
    expect(text).toBe(
      [
        '# TYPE homeostat_rows_total counter',
        'homeostat_rows_total{table="a"} 1',
        'homeostat_rows_total{table="b"} 4',
        '# TYPE homeostat_lag_records gauge',
        String.raw`homeostat_lag_records{topic_name="say \"x\"\\\n"} 2.5`,
        ''
      ].join('\n')
    )
  })
})
