import { afterEach, describe, expect, it } from 'vitest'
import { canaryWorker } from '../../../../detectors/canary/worker.ts'
import type { RunningWorker } from '../../../../schemas/stateful-worker.ts'
import { checkpointStore } from '../../../../pipeline/log/checkpoint-store.ts'
import { memoryMeter } from '../../../../pipeline/self/meter.ts'
import { anomalyRecord } from '../../../../schemas/anomaly.ts'
import { canaryRecord } from '../../../../schemas/canary.ts'
import { type Control, controlRecord } from '../../../../schemas/control.ts'
import { decodeRecord, encodeRecord } from '../../../../schemas/envelope.ts'
import type { Logger } from '../../../../schemas/ports.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { versionWindowRecord } from '../../../../schemas/version-window.ts'
import { anOrder, aWindow, T0 } from '../../../support/canary-run.ts'
import { memoryLog } from '../../../support/memory-log.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => SILENT }
const GOOD = Array.from({ length: 50 }, (_, index) => 0.01 + index / 10_000)
const workers: RunningWorker[] = []
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
})

function world() {
  const clock = virtualClock(T0)
  const log = memoryLog({ nowMs: () => clock.nowMs() })
  let checkpoints = checkpointStore(log)
  const decode = <T>(topic: string, type: Parameters<typeof decodeRecord<T>>[0]): T[] =>
    log.records(topic).map(record => {
      const decoded = decodeRecord(type, record)
      if (!decoded.ok) throw new Error(decoded.reason)
      return decoded.record
    })
  return {
    clock,
    log,
    async start(): Promise<RunningWorker> {
      const worker = canaryWorker({ log, checkpoints, clock, logger: SILENT, meter: memoryMeter() })
      workers.push(worker)
      await worker.start()
      return worker
    },
    loseCheckpoints(): void {
      checkpoints = checkpointStore(memoryLog({ nowMs: () => clock.nowMs() }))
    },
    say: (record: Control) => log.append(TOPICS.control.name, [encodeRecord(controlRecord, record)]),
    /** Both arms, 50 requests a second each, the canary with `errors`. */
    async serve(from: number, to: number, errors: number): Promise<void> {
      for (let second = from; second < to; second++) {
        const windows = [aWindow({ second, durations: GOOD, errors }), aWindow({ second, version: '1.0.0', durations: GOOD })]
        await log.append(
          TOPICS.versions.name,
          windows.map(window => encodeRecord(versionWindowRecord, window))
        )
        await clock.advance(1_000)
        await log.drained()
      }
    },
    canaries: () => decode(TOPICS.canaries.name, canaryRecord),
    anomalies: () => decode(TOPICS.anomalies.name, anomalyRecord)
  }
}

describe('the canary worker', () => {
  it('publishes a failed canary as its record and one anomaly', async () => {
    const { start, say, serve, canaries, anomalies } = world()
    await start()
    await say(anOrder())
    await serve(0, 15, 8)
    expect(canaries().at(-1)).toMatchObject({ id: 'c1', state: 'failed', quarantined: true })
    expect(anomalies()).toMatchObject([{ status: 'open', entity: 'shop/orders@2.0.0' }])
  })

  it('restarted halfway it comes to the same verdict after the same requests, told once', async () => {
    const undisturbed = world()
    await undisturbed.start()
    await undisturbed.say(anOrder())
    await undisturbed.serve(0, 15, 4)
    const disturbed = world()
    await disturbed.say(anOrder())
    for (const [from, to] of [
      [0, 3],
      [3, 7],
      [7, 15]
    ] as const) {
      const worker = await disturbed.start()
      await disturbed.serve(from, to, 4)
      await worker.close()
    }
    const verdict = undisturbed.canaries().find(({ state }) => state === 'failed')!
    expect(verdict.canary.requests).toBeGreaterThanOrEqual(200)
    expect(disturbed.canaries().find(({ state }) => state === 'failed')).toMatchObject({ reason: verdict.reason, canary: verdict.canary })
    expect(disturbed.anomalies().filter(({ status }) => status === 'open').length).toBe(1)
  })

  it('without a checkpoint a quarantine still stands, and what was compared is counted anew', async () => {
    const { start, say, serve, loseCheckpoints, canaries, clock, log } = world()
    const worker = await start()
    await say(anOrder())
    await serve(0, 15, 8)
    await say(anOrder({ id: 'other', service: 'shop/payments', atMs: T0 + 15_000 }))
    await clock.advance(1_000)
    await worker.close()
    loseCheckpoints()
    await start()
    await say(anOrder({ id: 'c2', atMs: T0 + 20_000 }))
    await clock.advance(1_000)
    await log.drained()
    expect(canaries().at(-1)).toMatchObject({ id: 'c2', state: 'refused' })
    await say(anOrder({ id: 'other', service: 'shop/payments', order: 'pause', atMs: T0 + 21_000 }))
    await clock.advance(1_000)
    await log.drained()
    expect(canaries().at(-1)).toMatchObject({ id: 'other', state: 'paused' })
  })

  it('reads over control records that are not about canaries', async () => {
    const { start, say, log, canaries, clock } = world()
    await start()
    await say({ kind: 'release_target', target: 'shop/orders', by: 'ann', atMs: T0 })
    await clock.advance(1_000)
    await log.drained()
    expect(canaries()).toEqual([])
    expect(log.records(`${TOPICS.control.name}.dlq`)).toEqual([])
  })
})
