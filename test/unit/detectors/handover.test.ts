// Partitions move between detect workers in every way that a cluster knows, and nothing that is found changes.

import { beforeAll, describe, expect, it } from 'vitest'
import { TOPICS } from '../../../schemas/topics.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { seededRandom } from '../../support/virtual-clock.ts'
import { aFleet, anomaliesOf, derivedOf, type Fleet, turns } from './fleet.ts'
import { aRig, metricsSecond, type Rig, span } from './worker-rig.ts'

const CONFIG = { window: '1s', lateness: '1s', warmupPoints: 30, absenceMin: '5s', checkpointInterval: '10s' }
const SECONDS = 130
/** Then nothing happens to the fleet any more: what is under way comes to its end, while senders go on. */
const QUIET_FROM_S = 100
const SESSION_S = 6 // A killed member's partitions lie idle for so long.
const SEEDS = 12

/** Two services: a leak, failing requests on four partitions, and one that falls silent and comes back. */
async function traffic(rig: Rig, second: number): Promise<void> {
  if (second < 70 || second >= 90) await metricsSecond(rig, second, { leakFrom: 75 })
  else await metricsSecond(rig, second, { leakFrom: 75, silentFrom: 70 })
  for (let request = 0; request < 8; request++) {
    const id = (second * 10 + request + 1).toString(16)
    const startMs = rig.clock.nowMs() + request * 20
    const slice = span('orders', { kind: 2, startMs, durationMs: 5 + (request % 3), id, error: second >= 60 && second < 80 })
    await rig.log.append(TOPICS.spans.name, [{ key: id, partition: request % 4, value: encodeOtlp('spans', { resourceSpans: [slice] }) }])
  }
}

async function undisturbed(): Promise<{ anomalies: unknown[]; derived: string[] }> {
  const rig = aRig()
  const fleet = aFleet(rig, CONFIG)
  await fleet.join()
  for (let second = 0; second < SECONDS; second++) {
    await traffic(rig, second)
    await rig.clock.advance(1_000)
    await turns()
  }
  await fleet.close()
  return { anomalies: anomaliesOf(rig), derived: derivedOf(rig) }
}

interface Due {
  second: number
  run: () => Promise<unknown>
}

/** Draws what happens to the fleet in a second, and what follows from it later. */
async function disturb(fleet: Fleet, second: number, random: { next(): number }, due: Due[]): Promise<void> {
  if (due.length > 0 || random.next() > 0.2) return // One trouble at a time: a group that is never whole owes no progress.
  const victim = Math.floor(random.next() * fleet.members.length)
  const kind = random.next()
  if (kind < 0.3 && fleet.members.length < 3) await fleet.join()
  else if (kind < 0.5 && fleet.members.length > 1) await fleet.leave(victim)
  else if (kind < 0.75) {
    fleet.kill(victim)
    due.push({
      second: second + SESSION_S,
      async run() {
        await fleet.expire(victim)
        if (fleet.members.length === 0) await fleet.join()
      }
    })
  } else {
    fleet.stop(victim)
    due.push({
      second: second + SESSION_S,
      async run() {
        const back = await fleet.expire(victim)
        if (fleet.members.length === 0) await fleet.join()
        due.push({ second: second + SESSION_S + Math.floor(random.next() * 8), run: back })
      }
    })
  }
}

async function disturbed(seed: number): Promise<Rig> {
  const random = seededRandom(seed)
  const rig = aRig()
  const fleet = aFleet(rig, CONFIG)
  const due: Due[] = []
  await fleet.join()
  await fleet.join()
  for (let second = 0; second < SECONDS; second++) {
    await traffic(rig, second)
    if (second < QUIET_FROM_S) await disturb(fleet, second, random, due)
    await rig.clock.advance(1_000)
    await turns()
    for (const one of due.splice(0)) {
      if (one.second > second) due.push(one)
      else await one.run()
    }
  }
  await fleet.close()
  return rig
}

let calm: Awaited<ReturnType<typeof undisturbed>>
beforeAll(async () => {
  calm = await undisturbed()
})

describe('detect workers that take over from each other', () => {
  it.each(Array.from({ length: SEEDS }, (_, index) => index + 1))('find the same as one that nothing happens to, schedule %i', async seed => {
    expect(calm.anomalies.length).toBeGreaterThanOrEqual(4)
    const rig = await disturbed(seed)
    expect(derivedOf(rig)).toEqual(calm.derived)
    expect(anomaliesOf(rig)).toEqual(calm.anomalies)
  })
})
