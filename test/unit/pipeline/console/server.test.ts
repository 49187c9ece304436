// The console's server: what it shows of the loop, what it refuses, and the control records it writes.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Control, controlRecord } from '../../../../schemas/control.ts'
import { type Decision, decisionRecord } from '../../../../schemas/decision.ts'
import { decodeRecord, encodeRecord } from '../../../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../../../schemas/incident.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { openTestConsole, type TestConsole } from '../../../support/console-server.ts'
import { memoryLog } from '../../../support/memory-log.ts'

const TOKEN = 'open-sesame'

const anIncident = (overrides: Partial<Incident> = {}): Incident => ({
  id: 'a'.repeat(32),
  environment: 'lab',
  status: 'open',
  severity: 'critical',
  title: 'orders is silent',
  startedAtMs: 1_000,
  openedAtMs: 2_000,
  updatedAtMs: 2_000,
  healedAtMs: null,
  resolvedAtMs: null,
  resolution: null,
  causes: [{ entity: 'lab/orders@orders-1', service: 'lab/orders', score: 0.9, signature: 'silent', evidence: ['its callers time out'] }],
  members: [],
  membersOmitted: 0,
  attempts: 0,
  unknownEntities: [],
  version: 1,
  ...overrides
})

const aDecision = (overrides: Partial<Decision> = {}): Decision => ({
  id: 'd1',
  incidentId: 'a'.repeat(32),
  environment: 'lab',
  decidedAtMs: 3_000,
  policy: 'p',
  policyVersion: '1',
  runbook: 'restart',
  runbookVersion: '1',
  target: 'lab/orders@orders-1',
  autonomy: 'approve',
  outcome: 'ask',
  blockedBy: [],
  guards: [],
  candidates: [],
  commandId: null,
  attempt: 0,
  incidentOpenedAtMs: 2_000,
  reason: 'the policy asks for approval',
  ...overrides
})

describe('the console server', () => {
  const log = memoryLog()
  let server: TestConsole
  beforeEach(async () => {
    await log.append(TOPICS.incidents.name, [encodeRecord(incidentRecord, anIncident())])
    await log.append(TOPICS.decisions.name, [encodeRecord(decisionRecord, aDecision())])
    server = await openTestConsole(log, { tokens: [TOKEN], isReady: false })
  })
  afterEach(() => server.close())

  const ask = (path: string, options: RequestInit & { token?: string } = {}) =>
    fetch(`${server.address}${path}`, {
      ...options,
      headers: { authorization: `Bearer ${options.token ?? TOKEN}`, ...(options.headers as Record<string, string>) }
    })
  const post = (path: string, body: object, headers: Record<string, string> = { 'x-homeostat': 'test' }) =>
    ask(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } })
  const lastControl = (): Control => {
    const decoded = decodeRecord(controlRecord, log.records(TOPICS.control.name).at(-1)!)
    if (!decoded.ok) throw new Error(decoded.reason)
    return decoded.record
  }

  it('takes a statement in the body, since a long one does not fit into the address', async () => {
    const query = `SELECT '${'x'.repeat(20_000)}'`
    expect(await (await post('/api/sql', { query })).json()).toEqual([{ query }])
    expect((await post('/api/sql', {})).status).toBe(400)
    expect((await post('/api/sql', { query }, {})).status).toBe(403)
  })

  it('tells what the detectors know of an entity, and of all', async () => {
    expect(await (await ask(`/api/detectors?entity=${encodeURIComponent('lab/orders@orders-1')}`)).json()).toMatchObject({
      entities: [{ entity: 'lab/orders@orders-1' }]
    })
    expect(await (await ask('/api/detectors')).json()).toMatchObject({ from: 'process', memoryMax: 2 ** 20, series: 0 })
  })

  it('shows an incident by the beginning of its id, with its decisions and the explanation', async () => {
    const story = (await (await ask('/api/incidents/aaaa')).json()) as { incident: Incident; decisions: Decision[]; explanation: string[] }
    expect(story.incident.title).toBe('orders is silent')
    expect(story.decisions.map(({ id }) => id)).toEqual(['d1'])
    expect(story.explanation).toEqual(['because orders is silent'])
    expect((await ask('/api/incidents/bbbb')).status).toBe(404)
  })

  it('answers nobody without a token, and no foreign Host', async () => {
    expect((await ask('/api/incidents', { token: 'wrong' })).status).toBe(401)
    expect((await ask('/livez', { token: '' })).status).toBe(200)
    const { request } = await import('node:http')
    const status = await new Promise<number | undefined>((resolve, reject) =>
      request(`${server.address}/api/incidents`, { headers: { host: 'evil.example', authorization: `Bearer ${TOKEN}` } }, response =>
        resolve(response.resume().statusCode)
      )
        .on('error', reject)
        .end()
    )
    expect(status).toBe(403)
  })

  it('refuses a write that a foreign page could send', async () => {
    expect((await post('/api/kill', { on: true }, {})).status).toBe(403)
    expect(log.records(TOPICS.control.name)).toHaveLength(0)
  })

  it('writes kill switch and approval as control records that name who did it', async () => {
    expect((await post('/api/kill', { on: true, reason: 'deploy', by: 'ada' })).status).toBe(200)
    expect(lastControl()).toMatchObject({ kind: 'kill_switch', scope: 'global', on: true, by: 'ada' })
    expect((await post('/api/approvals', { decisionId: 'd1', by: 'ada' })).status).toBe(200)
    expect(lastControl()).toMatchObject({ kind: 'approval', decisionId: 'd1', approved: true, by: 'ada' })
    expect((await post('/api/approvals', { decisionId: 'nope' })).status).toBe(404)
    expect((await post('/api/kill', { scope: 'everything' })).status).toBe(400)
  })

  it('writes an acknowledgement that approves nothing', async () => {
    expect((await post('/api/acknowledgements', { incidentId: 'aaaa', by: 'ada' })).status).toBe(200)
    const id = 'a'.repeat(32)
    expect(lastControl()).toEqual({ kind: 'acknowledgement', incidentId: id, by: 'ada', atMs: expect.any(Number) })
    expect((await post('/api/acknowledgements', { incidentId: 'nope' })).status).toBe(404)
  })

  it('releases a target that it knows, or is told to; a misspelt one it does not record', async () => {
    const target = 'lab/orders@orders-1'
    expect(await (await post('/api/releases', { target, by: 'ada' })).json()).toMatchObject({ kind: 'release_target', target, by: 'ada', heldBy: [] })
    expect(lastControl()).toEqual({ kind: 'release_target', target, by: 'ada', atMs: expect.any(Number) })
    const recorded = log.records(TOPICS.control.name).length
    const refused = await post('/api/releases', { target: 'lab/ordres@orders-1', by: 'ada' })
    expect(refused.status).toBe(404)
    expect(await refused.json()).toEqual({ error: { code: 'not_found', message: expect.stringContaining(`Did you mean ${target}?`) } })
    for (const body of [{}, { target: '' }, { target: 3 }]) expect((await post('/api/releases', body)).status).toBe(400)
    expect(log.records(TOPICS.control.name)).toHaveLength(recorded)
    expect((await post('/api/releases', { target: 'lab/old@1', force: true })).status).toBe(200)
    expect(lastControl()).toMatchObject({ kind: 'release_target', target: 'lab/old@1', by: 'console' })
  })

  it('takes announcements of what others do, whole or not at all', async () => {
    const change = { kind: 'change', environment: 'lab', target: 'shop/orders', actor: 'ci', what: 'deploy', fromMs: 1, toMs: null, by: 'ada' }
    expect((await post('/api/controls', { ...change, id: 'deploy-481', atMs: 7 })).status).toBe(200)
    expect(lastControl()).toMatchObject({ ...change, id: 'deploy-481' })
    expect(lastControl()).not.toMatchObject({ atMs: 7 })
    expect((await post('/api/controls', { kind: 'group', environment: 'lab', group: 'shop/orders', size: 12 })).status).toBe(200)
    expect(lastControl()).toMatchObject({ kind: 'group', size: 12, by: 'console' })
    const refused = async (body: Record<string, unknown>): Promise<unknown[]> => {
      const response = await post('/api/controls', body)
      return [response.status, await response.json()]
    }
    expect(await refused({ ...change, kind: 'chnage' })).toEqual([
      400,
      { error: { code: 'usage', message: expect.stringMatching(/^kind: one of change, .* is expected, not "chnage"\. Did you mean change\?$/) } }
    ])
    const because = (message: string): unknown[] => [400, { error: expect.objectContaining({ message: expect.stringContaining(message) }) }]
    expect(await refused({ ...change, what: 'deplyo' })).toEqual(
      because('what: one of deploy, config, scale, manual, revert is expected, not "deplyo". Did you mean deploy?')
    )
    expect(await refused({ kind: 'group', environment: 'lab', group: 'a', size: 'many' })).toEqual(because('size: a number is expected, not "many"'))
    expect(await refused({ kind: 'group', environment: 'lab', group: 'a', siez: 3 })).toEqual(
      because('size: a number is expected, and it is missing. siez is there: did you mean size?')
    )
    expect(await refused({ kind: 'maintenance', match: 'nonsense()', fromMs: 1, toMs: 2 })).toEqual(because('match: of no sense'))
    expect((await post('/api/controls', { kind: 'kill_switch', scope: 'global', on: false })).status).toBe(400)
  })

  it('is not ready while a check fails, and alive all the same', async () => {
    expect((await ask('/readyz')).status).toBe(503)
    expect((await ask('/livez')).status).toBe(200)
    expect((await ask('/metrics')).status).toBe(200)
  })

  it('streams what happens from now on, and repeats what a reader missed', async () => {
    const read = async (headers: Record<string, string>, until: string, onOpen: () => void = () => undefined): Promise<string> => {
      const stop = new AbortController()
      const response = await ask('/api/events', { headers, signal: stop.signal })
      onOpen()
      let text = ''
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk
        if (text.includes(until)) break
      }
      stop.abort()
      return text
    }
    const opened = Promise.withResolvers<void>()
    const first = read({}, 'resolved', opened.resolve)
    await opened.promise // What came before it is not told.
    await log.append(TOPICS.incidents.name, [encodeRecord(incidentRecord, anIncident({ status: 'resolved', version: 2 }))])
    const text = await first
    expect(text).toContain('event: incident')
    const id = Number(/id: (\d+)/.exec(text)![1])
    expect(await read({ 'last-event-id': String(id - 1) }, 'resolved')).toContain(`id: ${id}`)
  })

  it('serves the page with a strict policy and its libraries from its own folder', async () => {
    const page = await ask('/')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    for (const library of ['preact.js', 'hooks.js', 'htm.js', 'uplot.js', 'uplot.css']) expect((await ask(`/lib/${library}`)).status, library).toBe(200)
    expect(await (await ask('/lib/hooks.js')).text()).not.toMatch(/from\s*["']preact["']/)
  })
})
