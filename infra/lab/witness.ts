// The lab's independent witness: one line for each effect that reached the fleet, written by the affected side itself.
//
// A service writes `start` as its first act, a tool writes what it restored, each with the idempotency key that its
// environment carries. The lab counts effects here, never in Homeostat's own records. Format: JSON lines, appended whole.

import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { KEY_VARIABLE } from '../../actuators/drivers/supervise.ts'

export interface WitnessEvent {
  at: number
  service: string
  /** Of the process that started, or of the tool. */
  pid: number
  event: 'start' | 'restore-config' | 'restore-cache'
  /** When the process was made, before it got to its first line: on a busy machine seconds lie between. */
  madeAtMs: number
  /** Idempotency key of the order behind it; '' when the lab itself did it. */
  key: string
}

/** Appends one line; a line is far below the size that the kernel appends in one piece. */
export function witness(folder: string, service: string, event: WitnessEvent['event']): void {
  const line: WitnessEvent = {
    at: Date.now(),
    service,
    pid: process.pid,
    event,
    madeAtMs: Math.round(performance.timeOrigin),
    key: process.env[KEY_VARIABLE] ?? ''
  }
  appendFileSync(join(folder, 'witness.jsonl'), `${JSON.stringify(line)}\n`)
}

/** Everything witnessed since `fromMs`, in order. */
export function readWitness(folder: string, fromMs = 0): WitnessEvent[] {
  let text = ''
  try {
    text = readFileSync(join(folder, 'witness.jsonl'), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as WitnessEvent)
    .filter(event => event.at >= fromMs)
}
