// One request from its body to the log, the same for both transports: decompress → protobuf → cut → append → answer.
//
// Promise: `receive` resolves only after the log has made every record durable. What fails before that fails the whole
// request, and the sender sends it again; what was appended and then not answered in time comes twice, never not at all.

import { AppError } from '../../schemas/errors.ts'
import type { Clock, Log, Meter } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { keyPartition } from '../../schemas/partition.ts'
import { type Lease, openAdmission, timeLeftMs, within } from './admission.ts'
import { ALERTS_BYTES_MAX, type AlertsOptions, anomaliesOfWebhook } from './alerts.ts'
import { openAuthorization } from './authorization.ts'
import { type Encoding, openDecompressor } from './decompress.ts'
import { protobufFromJson } from './json.ts'
import type { Signal, Split } from './slices.ts'
import { splitRequest } from './split.ts'

export interface ReceiveOptions {
  log: Log
  clock: Clock
  meter: Meter
  environment: string
  /** Resolved bearer tokens; none = everybody may send. */
  tokens: readonly string[]
  bodyBytesMax: number
  inFlightBytesMax: number
  appendTimeoutMs: number
  fallbackEntity: string | undefined
  /** Labels of alerts that make an entity; absent: alerts are not taken. */
  alertLabels?: AlertsOptions['labels'] | undefined
}

/** What a transport knows of a request whose headers it has read. */
export interface Arrival {
  signal: Signal
  transport: 'grpc' | 'http'
  encoding: Encoding
  format: 'protobuf' | 'json'
  /** The sender's address without port. */
  peer: string
  /** When the headers were read, on the monotonic clock. */
  arrivedMs: number
  /** How long the client waits in all, when it said so. */
  clientTimeoutMs?: number
}

export interface Receiver {
  readonly bodyBytesMax: number
  /** @throws AppError `unauthenticated` */
  authorize(header: string | undefined): void
  /** A place for the body's bytes; given back by `receive`, or by the transport when the body never became whole. */
  lease(): Lease
  /** @throws AppError, whose code decides the answer (answer.ts) */
  receive(arrival: Arrival, body: Uint8Array, lease: Lease): Promise<{ rejected: number; reason: string }>
  /** Alerts of one webhook body into the log. Absent: alerts are not taken. @throws AppError like `receive` */
  receiveAlerts?: ((body: Uint8Array) => Promise<void>) | undefined
  /** Resolves when no append is under way. */
  settled(): Promise<void>
}

export function openReceiver(options: ReceiveOptions): Receiver {
  const { log, clock, meter, bodyBytesMax } = options
  const admission = openAdmission(options.inFlightBytesMax)
  const decompressor = openDecompressor()
  const authorize = openAuthorization(options.tokens)
  const appends = new Set<Promise<unknown>>()

  async function append(topic: string, request: Uint8Array, arrival: Arrival): Promise<Split> {
    const partitions = log.partitions(topic)
    const split = splitRequest(arrival.signal, request, {
      fallback: { entity: options.fallbackEntity ?? arrival.peer, environment: options.environment },
      partitionOf: key => keyPartition(key, partitions)
    })
    if (split.slices.length > 0) await log.append(topic, split.slices)
    return split
  }

  /** The bytes are held until the log has settled them, whether or not anybody still waits for the answer. */
  function track(appending: Promise<Split>, lease: Lease): void {
    appends.add(appending)
    const settle = (): void => {
      appends.delete(appending)
      lease.release()
    }
    appending.then(settle, settle)
  }

  async function receive(arrival: Arrival, body: Uint8Array, lease: Lease): Promise<{ rejected: number; reason: string }> {
    const { signal, transport, clientTimeoutMs } = arrival
    let appending: Promise<Split> | undefined
    try {
      const unpacked = await decompressor.decompress(body, arrival.encoding, bodyBytesMax)
      if (unpacked !== body) lease.grow(unpacked.length)
      const request = arrival.format === 'json' ? protobufFromJson(signal, unpacked) : unpacked
      const leftMs = timeLeftMs(options.appendTimeoutMs, clientTimeoutMs, clock.monotonicMs() - arrival.arrivedMs)
      if (leftMs <= 0) throw new AppError('timeout', `the ${clientTimeoutMs} ms that the sender waits were over before the log was asked; send again`)
      appending = append(TOPICS[signal].name, request, arrival)
      track(appending, lease)
      const { items, rejected, reason } = await within(clock, leftMs, appending, 'making the request durable')
      const labels = { signal, transport }
      meter.count('homeostat.intake.items', items, labels)
      meter.count('homeostat.intake.bytes', unpacked.length, labels)
      if (rejected > 0) meter.count('homeostat.intake.rejected', rejected, labels)
      return { rejected, reason }
    } finally {
      if (appending === undefined) lease.release()
    }
  }

  async function receiveAlerts(labels: AlertsOptions['labels'], body: Uint8Array): Promise<void> {
    if (body.length > ALERTS_BYTES_MAX) throw new AppError('body_too_large', `alerts of ${body.length} bytes, at most ${ALERTS_BYTES_MAX} are taken`)
    const { records, ignored } = anomaliesOfWebhook(body, { labels, environment: options.environment, nowMs: clock.nowMs() })
    if (ignored > 0) meter.count('homeostat.intake.alerts.own', ignored)
    if (records.length === 0) return
    const appending = log.append(TOPICS.anomalies.name, records)
    appends.add(appending)
    const settle = (): void => void appends.delete(appending)
    appending.then(settle, settle)
    await within(clock, options.appendTimeoutMs, appending, 'making the alerts durable')
    meter.count('homeostat.intake.items', records.length, { signal: 'alerts', transport: 'http' })
  }

  return {
    receiveAlerts: options.alertLabels && (body => receiveAlerts(options.alertLabels!, body)),
    bodyBytesMax,
    authorize,
    lease: () => admission.lease(),
    receive,
    async settled() {
      while (appends.size > 0) await Promise.allSettled(appends)
    }
  }
}
