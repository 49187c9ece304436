// A worker: takes jobs from the queue, one at a time, with two steady helpers. On demand it goes rogue, or runs an honest batch.
//
// usage: node infra/lab/cases/uc6/worker.ts NAME FOLDER
//   POST /rogue?leakBytesPerS=N&forksPerS=N   leaks memory and forks helpers without end, in memory only: a restart clears it; zeros end it
//   POST /batch?children=8&ms=6000            forks so many, which end by themselves
// The helpers are of three kinds: children, children with a session of their own, and those whose parent has ended at once.
// Limits keep the machine well, CHILDREN_MAX and LEAK_BYTES_MAX of its environment; what is beyond them is refused and noted.
// Every helper ends with the lab (tail --pid).

import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { KEY_VARIABLE } from '../../../../actuators/drivers/supervise.ts'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'
import { holdFile, type LimitEvent, limitFile, processesOf } from './layout.ts'

const JOB_MS = 50
const IDLE_MS = 50
const STEP_MS = 100
const STEADY_HELPERS = 2
const CHILDREN_MAX = Number(process.env.CHILDREN_MAX)
const LEAK_BYTES_MAX = Number(process.env.LEAK_BYTES_MAX)

const [name, folder] = process.argv.slice(-2) as [string, string]
const layout = readRig(folder)
endWithLab(layout)
witnessEffect(folder, { target: name, what: 'start', key: process.env[KEY_VARIABLE] ?? '' })
const hold = holdFile(folder, name)
writeFileSync(hold, '')
const HELPER = ['/usr/bin/tail', '-f', `--pid=${layout.labPid}`, hold]
const KINDS = [() => start(HELPER, false), () => start(HELPER, true), () => start(['/usr/bin/setsid', '-f', ...HELPER], false)]
const leaked: Buffer[] = []
let leakedBytes = 0
let forked = 0
let isEnding = false

function start(argv: readonly string[], detached: boolean): ChildProcess {
  return spawn(argv[0]!, argv.slice(1), { detached, stdio: 'ignore' }).on('error', () => undefined)
}

function noteLimit(what: string): void {
  const line: LimitEvent = { atMs: Date.now(), worker: name, what }
  appendFileSync(limitFile(folder), `${JSON.stringify(line)}\n`)
}

function fork(): void {
  if (processesOf(folder, name).helpers.length >= CHILDREN_MAX) noteLimit('children')
  else KINDS[forked++ % KINDS.length]!()
}

function leak(bytes: number): void {
  if (leakedBytes + bytes > LEAK_BYTES_MAX) noteLimit('memory')
  else {
    leaked.push(Buffer.alloc(bytes, 1)) // Written to, or the kernel would not give it.
    leakedBytes += bytes
  }
}

let timer: NodeJS.Timeout | undefined
function goRogue(leakBytesPerS: number, forksPerS: number): void {
  clearInterval(timer)
  if (forksPerS === 0) return
  let due = 0
  timer = setInterval(() => {
    leak(Math.round((leakBytesPerS * STEP_MS) / 1_000))
    for (due += (forksPerS * STEP_MS) / 1_000; due >= 1; due--) fork()
  }, STEP_MS)
}

function runBatch(children: number, ms: number): void {
  for (let child = 0; child < children; child++) {
    const helper = start(HELPER, false)
    setTimeout(() => helper.kill(), ms)
  }
}

/** @returns the answer's body, undefined when it was none of 200 or did not come */
async function ask<Answer>(path: string): Promise<Answer | undefined> {
  const response = await fetch(`http://127.0.0.1:${layout.ports.queue}${path}`, { method: 'POST' }).catch(() => undefined)
  const text = await response?.text().catch(() => undefined)
  return response?.status === 200 && text !== undefined ? (JSON.parse(text) as Answer) : undefined
}

async function work(): Promise<void> {
  while (!isEnding) {
    const taken = await ask<{ job: number }>(`/take?worker=${name}`)
    await pause(taken === undefined ? IDLE_MS : JOB_MS)
    if (taken !== undefined) await ask(`/done?worker=${name}&job=${taken.job}`)
  }
  process.exit(0)
}

// The job in hand is finished, no other is begun; helpers are not its concern: that is what is wrong with it.
process.once('SIGTERM', () => {
  clearInterval(timer)
  isEnding = true
})
for (let helper = 0; helper < STEADY_HELPERS; helper++) start(HELPER, false)
createServer((incoming, outgoing) => {
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://localhost')
  const number = (key: string): number => Number(searchParams.get(key))
  if (pathname === '/rogue') goRogue(number('leakBytesPerS'), number('forksPerS'))
  if (pathname === '/batch') runBatch(number('children'), number('ms'))
  outgoing.writeHead(200).end()
}).listen(layout.ports[name]!, '127.0.0.1')
void work()
