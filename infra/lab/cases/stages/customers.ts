// The customers of all instances: ten times a second each opens a session, uses one that is open, and closes those that it needs no more.
//
// usage: node customers.ts FOLDER
//   PUT /demand   a Demand as JSON: from now on they do so
//   GET /served   Served by instance, of the last WINDOW_MS: the lab's own eyes on who fails

import { createServer } from 'node:http'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { seeded } from '../../seeded.ts'
import { readRig } from '../rig.ts'
import { CALM, CUSTOMERS, type Demand, type Served, SERVICE } from './layout.ts'

const BEAT_MS = 100
const TIMEOUT_MS = 1_000
const WINDOW_MS = 500
const OPEN_CALM = 8 // Sessions of an instance while customers close them.
const OPEN_MAX = 300 // While they do not: 19 MiB an instance. Nobody new comes then, so that a run cannot fill the machine.
const NEAR = 4 // Usually one of the latest sessions is used.
const FAR = 200

const layout = readRig()
endWithLab(layout)
const random = seeded(layout.seed).fork(CUSTOMERS)
let demand: Demand = CALM

interface Customers {
  member: string
  /** Process that they talked to last; a restarted one knows nobody, and everybody logs in anew. */
  boot: number | null
  open: number[]
  recent: { atMs: number; isFailed: boolean }[]
}

const all = Object.keys(layout.ports)
  .filter(name => name.startsWith(`${SERVICE}-`))
  .map((member): Customers => ({ member, boot: null, open: [], recent: [] }))

async function beat(customers: Customers): Promise<void> {
  const { member, open } = customers
  const reach = Math.min(open.length, demand.returns.includes(member) ? FAR : NEAR)
  const touch = reach === 0 ? null : open[open.length - random.integer(1, reach)]!
  const close = demand.leaves ? [] : open.splice(0, Math.max(0, open.length - OPEN_CALM))
  const body = JSON.stringify({ open: open.length < OPEN_MAX, touch, close })
  let isFailed = true
  try {
    const url = `http://127.0.0.1:${layout.ports[member]}/work`
    const response = await fetch(url, { method: 'POST', body, signal: AbortSignal.timeout(TIMEOUT_MS) })
    const { boot, opened } = (await response.json()) as { boot: number; opened: number | null }
    const isAnother = customers.boot !== null && boot !== customers.boot
    isFailed = !response.ok && !isAnother
    if (isAnother) open.length = 0
    customers.boot = boot
    if (opened !== null) open.push(opened)
  } catch {
    // Nobody answers: a failure.
  }
  const nowMs = Date.now()
  customers.recent = [...customers.recent.filter(({ atMs }) => atMs > nowMs - WINDOW_MS), { atMs: nowMs, isFailed }]
}

setInterval(() => {
  for (const customers of all) void beat(customers)
}, BEAT_MS)

function served(): Record<string, Served> {
  return Object.fromEntries(all.map(({ member, recent }) => [member, { requests: recent.length, failed: recent.filter(({ isFailed }) => isFailed).length }]))
}

createServer(async (incoming, outgoing) => {
  if (incoming.method === 'PUT') {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    demand = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Demand
  }
  outgoing.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(served()))
}).listen(layout.ports[CUSTOMERS]!, '127.0.0.1')
