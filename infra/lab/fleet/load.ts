// load: the customers. A steady stream of checkouts through the gateway; it sends no telemetry, as customers do not.
//
// usage: node infra/lab/fleet/load.ts FOLDER. Open loop: a slow fleet does not slow the customers down.

import { Agent, request } from 'node:http'
import { COUNTRIES, readLayout } from '../layout.ts'
import { seeded } from '../seeded.ts'
import { endWithLab } from './end-with-lab.ts'

const INTERVAL_MS = 40 // 25 checkouts a second.
const JITTER = 0.3 // Of the interval: arrivals are uneven, their number a second hardly is.
const TIMEOUT_MS = 2_500
const IN_FLIGHT_MAX = 100 // A hung fleet holds 25 requests a second for 2.5 s.

const folder = process.argv[2]
if (!folder) throw new Error('usage: node infra/lab/fleet/load.ts FOLDER')
const layout = readLayout(folder)
const { ports, seed } = layout
endWithLab(layout)
const random = seeded(seed).fork('load')
const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT_MAX })
let inFlight = 0
let next = performance.now()

function checkout(): void {
  if (inFlight >= IN_FLIGHT_MAX) return
  inFlight++
  const outgoing = request({ host: '127.0.0.1', port: ports.gateway, path: `/checkout?country=${random.pick(COUNTRIES)}`, method: 'POST', agent })
  outgoing.setTimeout(TIMEOUT_MS, () => outgoing.destroy())
  outgoing.once('response', response => response.resume())
  outgoing.on('error', () => undefined) // A failed checkout is what the lab is about.
  outgoing.once('close', () => inFlight--)
  outgoing.end()
}

function tick(): void {
  checkout()
  next += INTERVAL_MS * (1 + JITTER * (2 * random.next() - 1))
  setTimeout(tick, Math.max(0, next - performance.now()))
}
tick()
