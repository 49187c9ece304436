// A cache that can be made to write through (`sync`): that cures it, and makes each of its callers wait.
//
// usage: node infra/lab/cases/guards/cache.ts FOLDER
//   POST /fault?part=a&on=true   broken until it writes through;   PUT /orders/sync|async with an idempotency key

import { createServer } from 'node:http'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { serve } from '../../fleet/http.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'

const SYNC_MS = 300

const folder = process.argv.at(-1)!
const layout = readRig(folder)
endWithLab(layout)
const telemetry = openTelemetry('cache', layout)
let isBroken = false
let isSync = false

await serve(telemetry, layout.ports['cacheData']!, {
  'POST /get': () => new Promise(resolve => setTimeout(resolve, isSync ? SYNC_MS : 1, { status: 200, body: { ok: true } }))
})

// Health, faults and orders leave no telemetry, so they have a server of their own.
createServer((incoming, outgoing) => {
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://localhost')
  if (pathname === '/fault') isBroken = searchParams.get('on') === 'true'
  else if (pathname.startsWith('/orders/')) {
    const what = pathname.slice('/orders/'.length)
    witnessEffect(folder, { target: 'cache', what, key: String(incoming.headers['idempotency-key'] ?? '') })
    isSync = what === 'sync'
  }
  outgoing.writeHead(pathname === '/healthz' && isBroken && !isSync ? 503 : 200).end()
}).listen(layout.ports['cache']!, '127.0.0.1')
