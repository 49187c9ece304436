// The job queue: makes jobs, gives them to workers on a lease, takes each result once; its log says what really became of them.
//
// usage: node infra/lab/cases/uc6/queue.ts FOLDER
//   POST /take?worker=NAME            200 {job}, or 204: nothing to do, or the worker's intake is paused
//   POST /done?worker=NAME&job=ID     200 taken; 409: the lease is over or the job is done, and the result is thrown away
//   POST /orders/<what>/<entity>      an actuator's order with its idempotency key: pause, resume, note
//   GET  /orders/<key>                200 when the order was taken, else 404
//   GET  /intake                      200 while every worker may take jobs, 423 while one is paused
//   POST /close                       no more jobs are made
// FOLDER/jobs.jsonl: made, taken, returned, done, late. A job is lost when it was made and never done.

import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'
import { type JobEvent, nameOf } from './layout.ts'

const JOB_INTERVAL_MS = 125
/** A worker that is silent for so long has lost its job to another. */
const LEASE_MS = 2_000
const RETURN_POLL_MS = 100
const NOTE_LENGTH_MAX = 500

const layout = readRig()
endWithLab(layout)
const waiting: number[] = []
const leased = new Map<number, { worker: string; untilMs: number }>()
const paused = new Set<string>()
const keys = new Set<string>()
let made = 0
let isClosed = false

function log(event: JobEvent['event'], job: number, worker = ''): void {
  const line: JobEvent = { atMs: Date.now(), event, job, worker }
  appendFileSync(join(layout.folder, 'jobs.jsonl'), `${JSON.stringify(line)}\n`)
}

setInterval(() => {
  if (isClosed) return
  waiting.push(++made)
  log('made', made)
}, JOB_INTERVAL_MS)

setInterval(() => {
  for (const [job, { worker, untilMs }] of leased) {
    if (untilMs > Date.now()) continue
    leased.delete(job)
    waiting.unshift(job)
    log('returned', job, worker)
  }
}, RETURN_POLL_MS)

function take(worker: string): number | undefined {
  const job = paused.has(worker) ? undefined : waiting.shift()
  if (job === undefined) return undefined
  leased.set(job, { worker, untilMs: Date.now() + LEASE_MS })
  log('taken', job, worker)
  return job
}

function done(worker: string, job: number): boolean {
  const isHolder = leased.get(job)?.worker === worker
  if (isHolder) leased.delete(job)
  log(isHolder ? 'done' : 'late', job, worker)
  return isHolder
}

/** Once a key; one without a key is not from an actuator, and not taken. */
function takeOrder(what: string, entity: string, key: string, args: Readonly<Record<string, unknown>>): boolean {
  if (key === '') return false
  if (keys.has(key)) return true
  keys.add(key)
  const worker = nameOf(entity)
  if (what === 'pause') paused.add(worker)
  if (what === 'resume') paused.delete(worker)
  witnessEffect(layout.folder, { target: worker, what, key, detail: JSON.stringify(args).slice(0, NOTE_LENGTH_MAX) })
  return true
}

createServer(async (incoming, outgoing) => {
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://localhost')
  const [, route, ...rest] = pathname.split('/').map(decodeURIComponent)
  const worker = searchParams.get('worker') ?? ''
  const answer = (status: number, body: object = {}): void => void outgoing.writeHead(status).end(status === 204 ? '' : JSON.stringify(body))
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  switch (`${incoming.method} /${route}`) {
    case 'GET /healthz':
      return answer(200, { waiting: waiting.length, leased: leased.size })
    case 'POST /take': {
      const job = take(worker)
      return job === undefined ? answer(204) : answer(200, { job })
    }
    case 'POST /done':
      return answer(done(worker, Number(searchParams.get('job'))) ? 200 : 409)
    case 'POST /orders': {
      const { args = {} } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { args?: Record<string, unknown> }
      return answer(takeOrder(rest[0]!, rest[1]!, String(incoming.headers['idempotency-key'] ?? ''), args) ? 200 : 400)
    }
    case 'GET /orders':
      return answer(keys.has(rest[0]!) ? 200 : 404)
    case 'GET /intake':
      return answer(paused.size > 0 ? 423 : 200, { paused: [...paused] })
    case 'POST /close':
      isClosed = true
      return answer(200)
    default:
      return answer(404)
  }
}).listen(layout.ports.queue!, '127.0.0.1')
