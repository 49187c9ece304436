// proxy: shares requests among the versions of checkout by weight, and is the independent witness of every change of a weight.
//
// usage: node infra/lab/cases/uc5/proxy.ts FOLDER
//   POST /checkout                    a customer's request, sent to the version whose turn it is by weight
//   PUT  /versions/<target>           {args: {weight, quarantined?}}: 200; 409 for a weight above 0 of a quarantined version
//   GET  /versions                    weights and counts of each version
//   POST /reset                       counts begin anew
//   GET  /quarantine                  200 when no quarantined version has a weight, else 500
//   POST /rate?perMinute=N            customers come so often; they are played here, in an open loop
// A weight that an actuator set is witnessed with its idempotency key; the case's own hand sends none.

import { createServer, type IncomingMessage } from 'node:http'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { httpClient, serve } from '../../fleet/http.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { seeded } from '../../seeded.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'
import { armName, PROXY, SAMPLES_MIN, SERVICE, targetOf, type VersionCount, versionOf } from './rollout.ts'

const ARM_TIMEOUT_MS = 1_500
const JITTER = 0.3 // Of the interval between two customers.
const IN_FLIGHT_MAX = 200

const rig = readRig()
endWithLab(rig)
const telemetry = openTelemetry(PROXY, rig)
const random = seeded(rig.seed).fork(PROXY)
const counts = new Map<string, VersionCount>()
const arms = new Map<string, ReturnType<typeof httpClient>>()
const quarantined = new Set<string>()
const credit = new Map<string, number>()
let intervalMs = Number.POSITIVE_INFINITY
let inFlight = 0

await serve(telemetry, rig.ports[PROXY]!, {
  'POST /checkout': async () => {
    const version = inTurn()
    if (version === undefined) return { status: 503, body: { error: 'no version has a weight' } }
    const { status } = await armOf(version)('/checkout')
    const count = counts.get(version)!
    count.requests++
    if (status !== 200) count.errors++
    if (count.requests === SAMPLES_MIN) count.reachedAtMs = Date.now()
    return { status: status === 200 ? 200 : 502, body: { version } }
  }
})

/** Smooth weighted round-robin, as nginx has it: shares hold over few requests, too. */
function inTurn(): string | undefined {
  const weighted = [...counts].filter(([, { weight }]) => weight > 0)
  const total = weighted.reduce((sum, [, { weight }]) => sum + weight, 0)
  let next: string | undefined
  for (const [version, { weight }] of weighted) {
    credit.set(version, (credit.get(version) ?? 0) + weight)
    if (next === undefined || credit.get(version)! > credit.get(next)!) next = version
  }
  if (next !== undefined) credit.set(next, credit.get(next)! - total)
  return next
}

function armOf(version: string): ReturnType<typeof httpClient> {
  let arm = arms.get(version)
  if (arm === undefined) {
    arm = httpClient(telemetry, SERVICE, rig.ports[armName(version)]!, ARM_TIMEOUT_MS)
    arms.set(version, arm)
  }
  return arm
}

/** Customers, whether they are answered or not; they send no telemetry, as customers do not. */
function customer(): void {
  if (inFlight < IN_FLIGHT_MAX && Number.isFinite(intervalMs)) {
    inFlight++
    void fetch(`http://127.0.0.1:${rig.ports[PROXY]}/checkout`, { method: 'POST' })
      .then(response => response.arrayBuffer())
      .catch(() => undefined)
      .finally(() => inFlight--)
  }
  const waitMs = Number.isFinite(intervalMs) ? intervalMs * (1 + JITTER * (2 * random.next() - 1)) : 100
  setTimeout(customer, waitMs)
}
customer()

createServer(async (incoming, outgoing) => {
  const { status, body } = await administer(incoming)
  outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}).listen(rig.ports['admin'], '127.0.0.1')

async function administer(incoming: IncomingMessage): Promise<{ status: number; body: unknown }> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const url = new URL(incoming.url ?? '/', 'http://localhost')
  const [, what, target] = url.pathname.split('/').map(decodeURIComponent)
  if (incoming.method === 'PUT' && what === 'versions' && target !== undefined) {
    const { args } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { args: { weight: number; quarantined?: boolean } }
    return weigh(versionOf(target), args, String(incoming.headers['idempotency-key'] ?? ''))
  }
  if (incoming.method === 'POST' && what === 'reset') {
    for (const count of counts.values()) Object.assign(count, { requests: 0, errors: 0, reachedAtMs: null })
    return { status: 200, body: {} }
  }
  if (incoming.method === 'POST' && what === 'rate') {
    intervalMs = 60_000 / Number(url.searchParams.get('perMinute'))
    return { status: 200, body: { intervalMs } }
  }
  if (what === 'quarantine') return { status: [...quarantined].every(version => counts.get(version)?.weight === 0) ? 200 : 500, body: [...quarantined] }
  return { status: 200, body: Object.fromEntries(counts) }
}

function weigh(
  version: string,
  { weight, quarantined: isQuarantined }: { weight: number; quarantined?: boolean },
  key: string
): { status: number; body: unknown } {
  if (weight > 0 && quarantined.has(version)) return { status: 409, body: { error: `${version} is quarantined` } }
  if (isQuarantined) quarantined.add(version)
  const count = counts.get(version) ?? { weight: 0, requests: 0, errors: 0, reachedAtMs: null }
  counts.set(version, { ...count, weight })
  witnessEffect(rig.folder, { target: targetOf(version), what: `weight ${weight}`, key })
  return { status: 200, body: { version, weight } }
}
