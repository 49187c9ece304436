// Dead letters: a record that a consumer cannot use goes to `<topic>.dlq` as it was, with the reason in its headers.
//
// Written before the consumer's offset is committed, so a crash in between may write it twice and never loses it:
// `dlq.source.*` names the original, which makes repeats recognisable. Put back by `originalRecord`, for the consumer that gave up:
// the other groups have had the record already, or have a dead letter of their own, and the delivery loop passes it by.

import type { LogRecord, LogRecordInput } from '../../schemas/ports.ts'
import { RECORD_BYTES_MAX } from './append-check.ts'

const MESSAGE_CHARACTERS_MAX = 1_000 // A message is for people; a parser's dump of the whole input is not.
const CUT_BYTES = 2 ** 20 // Of a larger one: enough to see what it was.
const PREFIX = 'dlq.'
const FOR = 'homeostat.for' // Header of a record that was put back: the one group that it is for.

export interface DeadLetterContext {
  reason: string
  message: string
  /** Consumer group that gave up. */
  consumer: string
  /** Deliveries of the record to the consumer, this one included. */
  attempts: number
  /** First delivery, epoch ms. */
  firstSeenAtMs: number
}

/** The record for `<topic>.dlq`: same key, bytes and headers, plus `dlq.*`. Of a value over 64 MiB only the beginning. */
export function deadLetterRecord(record: LogRecord, context: DeadLetterContext): LogRecordInput {
  const sizeBytes = record.value?.length ?? 0
  const isCut = sizeBytes > RECORD_BYTES_MAX // Others may write larger ones into their topics: it could not be written whole, and would stand in the way for ever.
  return {
    key: record.key,
    value: isCut ? record.value!.subarray(0, CUT_BYTES) : record.value,
    partition: 0,
    headers: {
      ...record.headers,
      ...(isCut ? { 'dlq.cut': String(sizeBytes) } : {}),
      'dlq.reason': context.reason,
      'dlq.class': 'permanent', // Passing troubles are repeated and never end here.
      'dlq.message': context.message.slice(0, MESSAGE_CHARACTERS_MAX),
      'dlq.source.topic': record.topic,
      'dlq.source.partition': String(record.partition),
      'dlq.source.offset': String(record.offset),
      'dlq.attempts': String(context.attempts),
      'dlq.first_seen': new Date(context.firstSeenAtMs).toISOString(),
      'dlq.consumer': context.consumer
    }
  }
}

/**
 * The record as it was before it died, to append it again: for the consumer that gave up, and no other.
 * @returns undefined when the record is no dead letter; `cutBytes`: what it once had, when only its beginning was kept
 */
export function originalRecord(
  deadLetter: Pick<LogRecord, 'key' | 'value' | 'headers'>
): { topic: string; record: LogRecordInput; cutBytes?: number } | undefined {
  const topic = deadLetter.headers['dlq.source.topic']
  const partition = Number(deadLetter.headers['dlq.source.partition'])
  if (topic === undefined || !Number.isInteger(partition)) return undefined
  const headers = Object.fromEntries(Object.entries(deadLetter.headers).filter(([name]) => !name.startsWith(PREFIX)))
  const consumer = deadLetter.headers['dlq.consumer']
  if (consumer !== undefined) headers[FOR] = consumer
  const cut = deadLetter.headers['dlq.cut']
  return { topic, record: { key: deadLetter.key, value: deadLetter.value, headers, partition }, ...(cut === undefined ? {} : { cutBytes: Number(cut) }) }
}

/** False only for a record that was put back for another consumer group. */
export function isMeantFor(record: Pick<LogRecord, 'headers'>, group: string): boolean {
  const only = record.headers[FOR]
  return only === undefined || only === group
}
