// The diagnose worker on a log: news of instances come by the topology topic, and outlive the process and its checkpoint.

import { afterEach, expect, test } from 'vitest'
import { diagnoseWorker } from '../../../../detectors/diagnose/worker.ts'
import type { RunningWorker } from '../../../../schemas/stateful-worker.ts'
import { checkpointStore } from '../../../../pipeline/log/checkpoint-store.ts'
import { anomalyRecord } from '../../../../schemas/anomaly.ts'
import { decisionRecord } from '../../../../schemas/decision.ts'
import { decodeRecord, encodeRecord, type RecordType } from '../../../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../../../schemas/incident.ts'
import { outcomeRecord } from '../../../../schemas/outcome.ts'
import type { Log, Logger } from '../../../../schemas/ports.ts'
import { deadLetterTopic, TOPICS } from '../../../../schemas/topics.ts'
import { edgeRecord, type Instance, instanceRecord } from '../../../../schemas/topology.ts'
import { memoryLog } from '../../../support/memory-log.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'
import { absence, aDecision, anOutcome, CONFIG, edge, T0 } from './builders.ts'

const OLD = 'lab/orders@orders-6f7c-1'
const NEW = 'lab/orders@orders-9b2d-1'
const BORN: Instance = { environment: 'lab', entity: NEW, state: 'new', firstSeenMs: T0 + 960_000, lastSeenMs: T0 + 980_000, patienceMs: 50_000 }
const SILENT = absence(OLD, 'telemetry', { atS: 1_000, detectedAtMs: T0 + 1_050_000 })
const logger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger }

const workers: RunningWorker[] = []
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
})

function aWorld() {
  const clock = virtualClock(T0 + 1_060_000)
  const log = memoryLog({ nowMs: clock.nowMs })
  return {
    log,
    clock,
    /** The newest record of an incident. */
    last: (): Incident => {
      const decoded = decodeRecord(incidentRecord, log.records(TOPICS.incidents.name).at(-1)!)
      if (!decoded.ok) throw new Error(decoded.reason)
      return decoded.record
    },
    put: async <T>(topic: string, type: RecordType<T>, record: T): Promise<void> => {
      await log.append(topic, [encodeRecord(type, record)])
      await log.drained()
    },
    async start(): Promise<RunningWorker> {
      const worker = diagnoseWorker({ log, checkpoints: checkpointStore(log), config: CONFIG, clock, logger, meter: { count() {}, gauge() {} } })
      workers.push(worker)
      await worker.start()
      await log.drained()
      return worker
    }
  }
}

async function saveAsEarlierFormat(log: Log): Promise<void> {
  const checkpoints = checkpointStore(log)
  const { owner } = await checkpoints.claim([{ name: 'diagnose', generation: 0 }], { force: true })
  const saved = (await checkpoints.load('diagnose'))!
  await checkpoints.save('diagnose', { ...saved, version: 2 }, owner)
}

test('reads edges and news of instances from one topic', async () => {
  const { log, put, start } = aWorld()
  await start()
  await put(TOPICS.topology.name, edgeRecord, edge('lab/gateway', 'lab/orders'))
  await put(TOPICS.topology.name, instanceRecord, BORN)
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  expect(log.records(TOPICS.incidents.name)).toEqual([])
  expect(log.records(deadLetterTopic(TOPICS.topology.name))).toEqual([])
})

test.each(['with its checkpoint', 'with one of an earlier format'])('knows what is new after a restart %s', async how => {
  const { log, put, start } = aWorld()
  const first = await start()
  await put(TOPICS.topology.name, instanceRecord, BORN)
  await first.close()
  if (how === 'with one of an earlier format') await saveAsEarlierFormat(log)
  await start()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  expect(log.records(TOPICS.incidents.name)).toEqual([])
})

test('a state that is rebuilt awaits the outcomes of commands that still run, and no others', async () => {
  const { log, put, start, clock, last } = aWorld()
  const first = await start()
  await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
  const act = (number: number) => ({ id: `decision-${number}`, commandId: `command-${number}`, attempt: number, outcomeByMs: clock.nowMs() + 600_000 })
  const heal = (number: number) => ({ ...act(number), id: `outcome-${number}`, healedAtMs: clock.nowMs(), recordedAtMs: clock.nowMs() })
  for (const number of [1, 2, 3]) await put(TOPICS.decisions.name, decisionRecord, aDecision(last(), act(number)))
  await put(TOPICS.outcomes.name, outcomeRecord, anOutcome(last(), heal(1)))
  await first.close()
  await saveAsEarlierFormat(log)
  await start()
  await put(TOPICS.outcomes.name, outcomeRecord, anOutcome(last(), heal(2)))
  await put(TOPICS.anomalies.name, anomalyRecord, { ...SILENT, status: 'close', observedAtMs: clock.nowMs() })
  await clock.advance(200_000)
  expect(last()).toMatchObject({ status: 'acting', healedAtMs: expect.any(Number) as number })
  await put(TOPICS.outcomes.name, outcomeRecord, anOutcome(last(), heal(3)))
  expect(last()).toMatchObject({ status: 'resolved', resolution: 'remediated' })
})
