// What became of the records of one request while it is read. One object a reader, cleared for each request.

import type { ReadResult } from '../../schemas/otlp.ts'

export interface Records extends ReadResult {
  /** Why no record of the current resource can be used, '' when they can. */
  unusable: string
}

export function makeRecords(): Records {
  return { accepted: 0, rejected: 0, reason: '', unusable: '' }
}

/** Counts one record that cannot be used and keeps the first reason. */
export function reject(records: Records, reason: string): void {
  records.rejected++
  if (records.reason === '') records.reason = reason
}
