// An instance of the session service: keeps what customers open in memory until they close it, or, with SESSIONS_MAX, the latest so many.
//
// usage: node server.ts NAME FOLDER
//   POST /work   { open: true, touch: id, close: [ids] } → { boot, opened, lost }; lost: the touched session is not known (any more)
//   GET /healthz 503 while it keeps more than HELD_BYTES_MAX

import { createServer, type IncomingMessage } from 'node:http'
import { KEY_VARIABLE } from '../../../../actuators/drivers/supervise.ts'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'
import { HELD_BYTES_MAX, SERVICE, SESSION_BYTES, SESSIONS_MAX } from './layout.ts'

const [name, folder] = process.argv.slice(-2) as [string, string]
const layout = readRig(folder)
endWithLab(layout)
const max = Number(process.env[SESSIONS_MAX] ?? Number.POSITIVE_INFINITY)
const origin = { madeAtMs: Math.round(performance.timeOrigin), pid: process.pid }
witnessEffect(folder, {
  target: name,
  what: Number.isFinite(max) ? 'start bounded' : 'start',
  key: process.env[KEY_VARIABLE] ?? '',
  detail: JSON.stringify(origin)
})
// A restart begins with the end of the old process.
process.once('SIGTERM', () => {
  witnessEffect(folder, { target: name, what: 'stop', key: '', detail: JSON.stringify(origin) })
  process.exit(0)
})

interface Work {
  open?: boolean
  touch?: number | null
  close?: readonly number[]
}

const telemetry = openTelemetry(SERVICE, layout, { 'service.instance.id': name })
const sessions = new Map<number, Buffer>()
let opened = 0
/** Since the last export. */
let touched = 0
let lost = 0
const heldBytes = (): number => sessions.size * SESSION_BYTES

telemetry.meter
  .createObservableGauge('session.memory', { unit: 'By', description: 'What open sessions keep.' })
  .addCallback(result => result.observe(heldBytes()))
telemetry.meter.createObservableGauge('session.lost.ratio', { unit: '1', description: 'Share of requests whose session is not known.' }).addCallback(result => {
  result.observe(touched === 0 ? 0 : lost / touched)
  touched = 0
  lost = 0
})

function work({ open = false, touch = null, close = [] }: Work): { boot: number; opened: number | null; lost: boolean } {
  for (const id of close) sessions.delete(id)
  const isLost = touch !== null && !sessions.has(touch)
  if (touch !== null) touched++
  if (isLost) lost++
  if (open) {
    sessions.set(++opened, Buffer.alloc(SESSION_BYTES, opened))
    if (sessions.size > max) sessions.delete(sessions.keys().next().value!)
  }
  return { boot: process.pid, opened: open ? opened : null, lost: isLost }
}

async function bodyOf(incoming: IncomingMessage): Promise<Work> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Work
}

createServer(async (incoming, outgoing) => {
  if (incoming.url === '/healthz') return outgoing.writeHead(heldBytes() > HELD_BYTES_MAX ? 503 : 200).end()
  if (incoming.url !== '/work') return outgoing.writeHead(404).end()
  const answer = work(await bodyOf(incoming))
  outgoing.writeHead(answer.lost ? 410 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}).listen(layout.ports[name]!, '127.0.0.1')
