// The canary worker: orders of people and counts of versions in, verdicts and anomalies out. Runs in the control role: one instance owns
// the state, others stand by.
//
// State and input positions are one checkpoint, so a restart changes no verdict. Without a readable checkpoint verdicts and quarantines
// come back from the compacted canaries topic, and what was still being compared is counted anew.

import { anomalyRecord } from '../../schemas/anomaly.ts'
import { type Canary, canaryRecord } from '../../schemas/canary.ts'
import { type CanaryOrder, controlRecord } from '../../schemas/control.ts'
import { decodeRecord, encodeRecord } from '../../schemas/envelope.ts'
import type { Log, Logger, LogRecord } from '../../schemas/ports.ts'
import { readWholeTopic } from '../../schemas/read-whole-topic.ts'
import { type DecodedEvent, type RunningWorker, type StatefulPorts, statefulWorker } from '../../schemas/stateful-worker.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { versionWindowRecord } from '../../schemas/version-window.ts'
import { type CanaryEffect, type CanaryEvent, reduceCanary } from './canary.ts'
import { type CanaryBook, emptyBook, restore, snapshot, tracked } from './state.ts'

const VERSION = 2
const TICK_MS = 1_000 // Deadlines and the silence of a version are seconds at their shortest.

/** Canaries of all environments. */
export function canaryWorker(ports: StatefulPorts): RunningWorker {
  const { log, logger, meter } = ports
  return statefulWorker<CanaryBook, CanaryEvent | undefined, CanaryEffect>({
    name: 'canary',
    group: 'homeostat-canary',
    topics: [TOPICS.control.name, TOPICS.versions.name],
    version: VERSION,
    tickMs: TICK_MS,
    ...ports,
    restore,
    rebuild: async () => ({ state: await rebuild(log), positions: [] }), // An order that came to no canary yet is read.
    snapshot,
    decode,
    tick: { kind: 'tick' },
    reduce(book, event, nowMs) {
      if (event === undefined) return []
      const effects = reduceCanary(book, event, nowMs)
      for (const effect of effects) {
        if (effect.kind === 'ignored') meter.count('homeostat.canary.ignored', 1, { reason: effect.reason })
        else if (effect.kind === 'publish') tell(logger, effect.record)
      }
      return effects.filter(effect => effect.kind !== 'ignored')
    },
    async deliver(effects) {
      const canaries = effects.flatMap(effect => (effect.kind === 'publish' ? [encodeRecord(canaryRecord, effect.record)] : []))
      const anomalies = effects.flatMap(effect => (effect.kind === 'anomaly' ? [encodeRecord(anomalyRecord, effect.record)] : []))
      if (canaries.length > 0) await log.append(TOPICS.canaries.name, canaries)
      if (anomalies.length > 0) await log.append(TOPICS.anomalies.name, anomalies)
    }
  })
}

function tell(logger: Logger, { id, service, state, reason, by }: Canary): void {
  logger.info({ canary: id, service, state, reason, by }, 'a canary was looked at')
}

/** Other kinds of control records concern others. */
function decode(record: LogRecord): DecodedEvent<CanaryEvent | undefined> {
  if (record.topic === TOPICS.versions.name) {
    const decoded = decodeRecord(versionWindowRecord, record)
    return decoded.ok ? { ok: true, event: { kind: 'window', record: decoded.record } } : decoded
  }
  const decoded = decodeRecord(controlRecord, record)
  if (!decoded.ok) return decoded
  return { ok: true, event: decoded.record.kind === 'canary' ? { kind: 'order', record: decoded.record } : undefined }
}

async function rebuild(log: Log): Promise<CanaryBook> {
  const book = emptyBook()
  const orders = new Map<string, CanaryOrder>()
  await readWholeTopic(log, TOPICS.control.name, raw => {
    const decoded = decodeRecord(controlRecord, raw)
    if (decoded.ok && decoded.record.kind === 'canary') orders.set(decoded.record.id, decoded.record)
  })
  await readWholeTopic(log, TOPICS.canaries.name, raw => {
    const decoded = decodeRecord(canaryRecord, raw)
    const order = decoded.ok ? orders.get(decoded.record.id) : undefined
    if (!decoded.ok || order === undefined) return
    const entry = tracked(decoded.record, order)
    // Its anomaly closes when the version is quiet; one that is closed already is known to diagnosis.
    if (decoded.record.quarantined) entry.alarm = { kind: 'failed', sinceMs: decoded.record.startedAtMs, isOpen: true }
    book.canaries.set(decoded.record.id, entry)
  })
  return book
}
