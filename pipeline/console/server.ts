// The console's server: one page, its JSON API, SSE, health. Loopback by default; bearer tokens by configuration.
//
// Reads topics (live view) and ClickHouse; writes only the control topic. Every write names who did it. A browser page
// of another origin can do nothing: the Host must be ours and a write needs a header that no form can set.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Control, controlRecord, controlSchema, KILL_SCOPE } from '../../schemas/control.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Incident } from '../../schemas/incident.ts'
import { inWords, unknownName } from '../../schemas/issue-words.ts'
import type { Clock, Log, Logger, Signals } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { hostPort } from '../host-port.ts'
import type { DetectorReports } from '../roles/detectors.ts'
import { healthRoutes, type Probes } from '../self/health-routes.ts'
import { canaryOrder } from './canary-orders.ts'
import { INCIDENTS_MAX, type IncidentStory, type LiveView } from './live-view.ts'
import { openEventStreams } from './event-stream.ts'
import { releaseEffect } from './releases.ts'

/** Control records that have no route of their own: what others do, and how things stand. */
const ANNOUNCED: readonly string[] = ['change', 'maintenance', 'group', 'error_budget', 'autonomy', 'canary']
/** A request body of the API is a few fields. */
const BODY_BYTES_MAX = 64 * 1024
const SERIES_SPAN_MAX_MS = 24 * 3_600_000
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export interface ConsoleOptions {
  listen: { host: string; port: number }
  /** Bearer tokens, resolved; empty = open. */
  tokens: readonly string[]
  log: Log
  view: LiveView
  signals: Signals
  /** The answer and the decisions in words; `all` guards, or those that stood in the way. */
  explain(story: IncidentStory, options: { guards: 'telling' | 'all' }): string[]
  /** Why the match of announced maintenance cannot mean what it says; undefined when it can. */
  matchProblem(match: string): string | undefined
  /** Read-only SQL on ClickHouse. */
  sql(query: string): Promise<Record<string, unknown>[]>
  /** What the detectors know of an entity, and of all. */
  detectors: DetectorReports
  /** Health of this process, for people and for probes. */
  probes: Probes
  /** Trains now; lines of progress go to `progress`. */
  train(progress: (line: string) => void): Promise<Record<string, unknown>>
  clock: Clock
  logger: Logger
}

export interface ConsoleServer {
  address: string
  close(): Promise<void>
}

export async function openConsole(options: ConsoleOptions): Promise<ConsoleServer> {
  const app = Fastify({ logger: false, bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true })
  guard(app, options)
  app.setErrorHandler((error, _request, reply) => sendError(reply, error))
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: { code: 'not_found', message: `there is nothing at ${request.url.split('?')[0]}` } })
  )
  healthRoutes(app, options.probes)
  app.get('/api/health', () => options.probes.health())
  readRoutes(app, options)
  const streams = openEventStreams(app, options)
  writeRoutes(app, options, streams.publish)
  await pageRoutes(app)
  try {
    await app.listen({ ...options.listen }) // Fastify writes into what it is given.
  } catch (cause) {
    throw new AppError('config_invalid', `the console cannot listen on ${options.listen.host}:${options.listen.port}: set console.listen.port to a free one`, {
      cause
    })
  }
  const { port } = app.server.address() as { port: number }
  return {
    address: `http://${hostPort(options.listen.host, port)}`,
    async close() {
      streams.close()
      await app.close()
    }
  }
}

function guard(app: FastifyInstance, { tokens, listen }: ConsoleOptions): void {
  const loopback = ['127.0.0.1', '::1', 'localhost'].includes(listen.host)
  app.addHook('onRequest', async (request, reply) => {
    reply
      .header('content-security-policy', CONTENT_SECURITY_POLICY)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .header('cache-control', 'no-store')
    // A page that resolves its own name to 127.0.0.1 still sends its own Host.
    if (loopback && !/^(127\.0\.0\.1|\[::1\]|localhost)(:\d+)?$/.test(request.headers.host ?? ''))
      return refuse(reply, 403, 'the Host header names another machine')
    if (isPublic(request)) return
    if (tokens.length > 0 && !tokens.includes(bearer(request))) return refuse(reply, 401, 'send one of console.tokens as a bearer token')
    if (request.method !== 'GET' && request.headers['x-homeostat'] === undefined) return refuse(reply, 403, 'a write needs the header x-homeostat')
  })
}

function isPublic(request: FastifyRequest): boolean {
  return request.method === 'GET' && !request.url.startsWith('/api/')
}

function bearer(request: FastifyRequest): string {
  const header = request.headers.authorization ?? ''
  if (header.startsWith('Bearer ')) return header.slice(7)
  // EventSource cannot set headers, so the page's stream sends its token in the query of this one route.
  return request.url.startsWith('/api/events') ? String((request.query as Record<string, string>).token ?? '') : ''
}

function refuse(reply: FastifyReply, status: number, message: string): FastifyReply {
  return reply.code(status).send({ error: { code: status === 401 ? 'unauthenticated' : 'usage', message } })
}

const STATUS_OF: Readonly<Record<string, number>> = {
  usage: 400,
  config_invalid: 400,
  store_refused: 400,
  not_found: 404,
  canary_refused: 409,
  store_unavailable: 503,
  log_unavailable: 503,
  log_full: 503,
  timeout: 504
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  if (error instanceof AppError) return reply.code(STATUS_OF[error.code] ?? 500).send({ error: { code: error.code, message: error.message } })
  const status = (error as { statusCode?: number }).statusCode ?? 500
  return reply.code(status).send({ error: { code: status < 500 ? 'usage' : 'bug', message: error instanceof Error ? error.message : String(error) } })
}

function readRoutes(app: FastifyInstance, { view, signals, sql, clock, explain, detectors }: ConsoleOptions): void {
  app.get('/api/incidents', async request => {
    const limit = Number((request.query as Record<string, string>).limit ?? 50)
    return view.incidents(Math.min(Number.isFinite(limit) ? limit : 50, INCIDENTS_MAX))
  })
  app.get('/api/incidents/:id', async request => {
    const story = view.story(incidentOf(view, (request.params as { id: string }).id).id)!
    const guards = (request.query as { guards?: string }).guards === 'all' ? 'all' : 'telling'
    return { ...story, explanation: explain(story, { guards }) }
  })
  app.get('/api/anomalies', async () => view.anomalies(200))
  app.get('/api/topology', async () => view.edges())
  app.get('/api/models', async () => view.models())
  app.get('/api/canaries', async () => view.canaries())
  app.get('/api/controls', async () => view.controls())
  app.get('/api/scorecard', () => sql('SELECT * FROM homeostat_scorecard ORDER BY toUInt8(substring(id, 2))'))
  app.get('/api/detectors', async request => {
    const { entity } = request.query as Record<string, string | undefined>
    return entity ? detectors.explain(entity) : detectors.overview()
  })
  app.get('/api/sql', async request => {
    const { query } = request.query as { query?: string }
    if (!query) throw new AppError('usage', 'give the statement as ?query=')
    return sql(query)
  })
  // A long statement does not fit into a request's first line.
  app.post('/api/sql', async request => {
    const { query } = fields(request)
    if (typeof query !== 'string') throw new AppError('usage', 'give the statement as {"query": "…"}')
    return sql(query)
  })
  app.get('/api/series', async request => {
    const { entity, metric, fromMs, toMs, attributes } = request.query as Record<string, string>
    if (!entity || !metric) throw new AppError('usage', 'give ?entity= and ?metric=')
    const to = Number(toMs ?? clock.nowMs())
    const from = Number(fromMs ?? to - 600_000)
    if (!(from < to) || to - from > SERIES_SPAN_MAX_MS) throw new AppError('usage', 'fromMs must lie before toMs, at most a day')
    return signals.series({ entity, metric, fromMs: from, toMs: to, ...(attributes ? { attributes: parseAttributes(attributes) } : {}) })
  })
}

/** @throws AppError `not_found` unless exactly one incident's id begins so */
function incidentOf(view: LiveView, id: string): Incident {
  const matches = view.incidents(INCIDENTS_MAX).filter(incident => incident.id.startsWith(id))
  if (matches.length === 1) return matches[0]!
  throw new AppError(
    'not_found',
    matches.length === 0 ? `no incident ${id}: see \`homeostat incidents\`` : `${matches.length} incidents begin with ${id}: give more of the id`
  )
}

function parseAttributes(text: string): Record<string, string> {
  try {
    return JSON.parse(text) as Record<string, string>
  } catch (cause) {
    throw new AppError('usage', 'attributes must be a JSON object of texts', { cause })
  }
}

function writeRoutes(
  app: FastifyInstance,
  { log, view, clock, train, logger, matchProblem }: ConsoleOptions,
  publish: (kind: string, data: unknown) => void
): void {
  const append = async (record: Control): Promise<Control> => {
    await log.append(TOPICS.control.name, [encodeRecord(controlRecord, record)])
    logger.info({ control: record }, 'control record written')
    return record
  }
  app.post('/api/kill', async request => {
    const { scope = 'global', on = true, reason = '', by = 'console' } = fields(request)
    if (!KILL_SCOPE.test(String(scope))) throw new AppError('usage', 'scope is global, environment/<name> or policy/<name>')
    return append({ kind: 'kill_switch', scope: String(scope), on: on === true, reason: String(reason), by: String(by), atMs: clock.nowMs() })
  })
  app.post('/api/approvals', async request => {
    const { decisionId, approved = true, by = 'console' } = fields(request)
    const decision = view.decision(String(decisionId))
    if (!decision) throw new AppError('not_found', `no decision ${String(decisionId)}: \`homeostat explain <incident>\` ends with the one that asks`)
    if (decision.outcome !== 'ask') throw new AppError('usage', `decision ${decision.id} does not wait for an approval (it is ${decision.outcome})`)
    return append({
      kind: 'approval',
      incidentId: decision.incidentId,
      decisionId: decision.id,
      approved: approved === true,
      by: String(by),
      atMs: clock.nowMs()
    })
  })
  app.post('/api/acknowledgements', async request => {
    const { incidentId = '', by = 'console' } = fields(request)
    const incident = incidentOf(view, String(incidentId))
    return append({ kind: 'acknowledgement', incidentId: incident.id, by: String(by), atMs: clock.nowMs() })
  })
  app.post('/api/labels', async request => {
    const { anomalyId, label, note = '', by = 'console' } = fields(request)
    if (label !== 'true_positive' && label !== 'false_positive') throw new AppError('usage', 'label is true_positive or false_positive')
    return append({ kind: 'label', anomalyId: String(anomalyId), label, note: String(note), by: String(by), atMs: clock.nowMs() })
  })
  app.post('/api/releases', async request => {
    const { target, by = 'console', force = false } = fields(request)
    if (typeof target !== 'string' || target === '') throw new AppError('usage', 'give the target as {"target": "…"}')
    const atMs = clock.nowMs()
    const effect = releaseEffect(view, target, atMs, force === true)
    return { ...(await append({ kind: 'release_target', target, by: String(by), atMs })), ...effect }
  })
  app.post('/api/controls', async request => {
    const given = fields(request)
    if (!ANNOUNCED.includes(String(given.kind))) throw new AppError('usage', `kind: ${unknownName(given.kind, ANNOUNCED)}`)
    const complete = given.kind === 'canary' ? canaryOrder(view, given) : given
    const order = { id: randomUUID(), by: 'console', ...complete, atMs: clock.nowMs() }
    const parsed = controlSchema.safeParse(order)
    if (!parsed.success) throw new AppError('usage', inWords(parsed.error.issues, order))
    const wrong = parsed.data.kind === 'maintenance' ? matchProblem(parsed.data.match) : undefined
    if (wrong !== undefined) throw new AppError('usage', `match: ${wrong}`)
    return append(parsed.data)
  })
  app.post('/api/train', async () => {
    const run = randomUUID()
    return train(line => publish('training', { run, line }))
  })
}

function fields(request: FastifyRequest): Record<string, unknown> {
  return typeof request.body === 'object' && request.body !== null ? (request.body as Record<string, unknown>) : {}
}

/** The page and the three libraries it uses, from our own folder: no CDN, no build. */
async function pageRoutes(app: FastifyInstance): Promise<void> {
  await app.register(fastifyStatic, { root: join(dirname(fileURLToPath(import.meta.url)), 'web'), prefix: '/' })
  const libraries: Readonly<Record<string, [module: string, type: string]>> = {
    'preact.js': ['preact', 'text/javascript'],
    'hooks.js': ['preact/hooks', 'text/javascript'],
    'htm.js': ['htm', 'text/javascript'],
    'uplot.js': ['uplot/dist/uPlot.esm.js', 'text/javascript'],
    'uplot.css': ['uplot/dist/uPlot.min.css', 'text/css']
  }
  for (const [name, [module, type]] of Object.entries(libraries)) {
    // A browser knows no bare names; an import map would need an inline script, which the policy forbids.
    const text = readFileSync(fileURLToPath(import.meta.resolve(module)), 'utf8').replaceAll(/from\s*["']preact["']/g, 'from"./preact.js"')
    app.get(`/lib/${name}`, (_request, reply) => reply.type(type).send(text))
  }
}
