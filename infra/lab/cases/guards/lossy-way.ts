// The way between fleet and intake, on which a share of the exports is dropped, delayed, duplicated or overtaken. Seeded.
//
// The sender hears 200 in every case: what is lost here was never acknowledged by Homeostat.

import { createServer } from 'node:http'
import type { Seeded } from '../../seeded.ts'

const DELAY_MS = 3_000 // Longer than the lateness that detection allows: late for good.

export interface LossyWay {
  /** Share of exports that meet a fault, 0..1, and one sender of which nothing arrives. */
  set(faultRatio: number, silenced?: string): void
  /** By what happened to them. */
  counts(): Readonly<Record<Fate, number>>
  close(): Promise<void>
}

const FATES = ['passed', 'dropped', 'delayed', 'duplicated', 'overtaken', 'silenced'] as const
type Fate = (typeof FATES)[number]

/** Listens on `port` of loopback and hands on to `intake` (host:port). */
export async function openLossyWay(port: number, intake: string, random: Seeded): Promise<LossyWay> {
  const counts = Object.fromEntries(FATES.map(fate => [fate, 0])) as Record<Fate, number>
  let faultRatio = 0
  let silenced: string | undefined
  /** Waits until the next export has gone before it. */
  let held: (() => void) | undefined

  function handOn(path: string, body: string): void {
    fetch(`http://${intake}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body }).catch(() => undefined)
  }

  function fateOf(body: string): Fate {
    if (silenced !== undefined && body.includes(`"${silenced}"`)) return 'silenced'
    return random.next() < faultRatio ? random.pick(['dropped', 'delayed', 'duplicated', 'overtaken'] as const) : 'passed'
  }

  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    outgoing.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    const body = Buffer.concat(chunks).toString('utf8')
    const path = incoming.url ?? '/'
    const fate = fateOf(body)
    counts[fate]++
    if (fate === 'dropped' || fate === 'silenced') return
    if (fate === 'delayed') return void setTimeout(handOn, DELAY_MS, path, body)
    const overtaken = held
    held = fate === 'overtaken' ? () => handOn(path, body) : undefined
    if (fate !== 'overtaken') handOn(path, body)
    if (fate === 'duplicated') handOn(path, body)
    overtaken?.()
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return {
    set(ratio, name) {
      faultRatio = ratio
      silenced = name
    },
    counts: () => counts,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
