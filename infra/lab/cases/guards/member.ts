// A member of the guarded fleet: a small HTTP service whose parts can be broken, by memory (a restart cures it) or for good.
//
// usage: node infra/lab/cases/guards/member.ts NAME FOLDER
//   GET  /healthz[?part=a]                        503 while the part, or any part, is broken
//   POST /fault?part=a&on=true[&sticky=true]      the fault injector; sticky survives a restart
//   PUT  /orders/<what>                           an actuator's order, with its idempotency key: repair, set, scale
// `set` writes the setting that its argument names: the part `setting` is broken unless it is `good`.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { KEY_VARIABLE } from '../../../../actuators/drivers/supervise.ts'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'

const [name, folder] = process.argv.slice(-2) as [string, string]
const layout = readRig(folder)
endWithLab(layout)
// When the process was made, not when it got to its first line.
witnessEffect(folder, { target: name, what: 'start', key: process.env[KEY_VARIABLE] ?? '', detail: String(Math.round(performance.timeOrigin)) })

// A restart begins with the end of the old process: that is when the actuator has begun.
process.once('SIGTERM', () => {
  witnessEffect(folder, { target: name, what: 'stop', key: '' })
  process.exit(0)
})

const stickyFile = join(folder, `${name}.broken.json`)
const sticky = new Set<string>(existsSync(stickyFile) ? (JSON.parse(readFileSync(stickyFile, 'utf8')) as string[]) : [])
const broken = new Set<string>()
const keys = new Set<string>()
let setting = 'good'

function isBroken(part: string | null): boolean {
  const parts = new Set([...sticky, ...broken, ...(setting === 'good' ? [] : ['setting'])])
  return part === null ? parts.size > 0 : parts.has(part)
}

function setFault(part: string, on: boolean, isSticky: boolean): void {
  const set = isSticky ? sticky : broken
  if (on) set.add(part)
  else for (const each of [sticky, broken]) each.delete(part)
  writeFileSync(stickyFile, JSON.stringify([...sticky]))
}

/** An order takes effect once a key; without a key somebody else than Homeostat sent it. */
function takeOrder(what: string, key: string, args: Readonly<Record<string, unknown>>): void {
  if (key !== '' && keys.has(key)) return
  keys.add(key)
  witnessEffect(folder, { target: name, what, key, detail: JSON.stringify(args) })
  if (what === 'set') setting = String(args['value'])
  if (what === 'repair') for (const part of sticky) setFault(part, false, true)
}

async function bodyOf(incoming: IncomingMessage): Promise<{ args?: Record<string, unknown> }> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString('utf8')) as { args?: Record<string, unknown> })
}

createServer(async (incoming, outgoing) => {
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://localhost')
  const answer = (status: number): void => void outgoing.writeHead(status).end()
  if (pathname === '/healthz') return answer(isBroken(searchParams.get('part')) ? 503 : 200)
  if (pathname === '/fault') {
    setFault(searchParams.get('part') ?? 'a', searchParams.get('on') === 'true', searchParams.get('sticky') === 'true')
    return answer(200)
  }
  if (incoming.method !== 'PUT' || !pathname.startsWith('/orders/')) return answer(404)
  takeOrder(pathname.slice('/orders/'.length), String(incoming.headers['idempotency-key'] ?? ''), (await bodyOf(incoming)).args ?? {})
  answer(200)
}).listen(layout.ports[name]!, '127.0.0.1')
