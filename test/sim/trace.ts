// What happened in a world, in order: hashed as it comes, the last events kept to be shown.

import { createHash } from 'node:crypto'

/** When every world begins. */
export const START_MS = Date.UTC(2026, 0, 5, 12)
const SHOWN_MAX = 50

export class Trace {
  readonly #hash = createHash('sha256')
  readonly #last: string[] = []
  readonly #onEvent: ((line: string) => unknown) | undefined

  /** @param onEvent sees every event */
  constructor(onEvent?: (line: string) => unknown) {
    this.#onEvent = onEvent
  }

  add(atMs: number, what: string): void {
    const line = `${((atMs - START_MS) / 1_000).toFixed(3)} ${what}`
    this.#hash.update(`${line}\n`)
    this.#last.push(line)
    if (this.#last.length > SHOWN_MAX) this.#last.shift()
    this.#onEvent?.(line)
  }

  /** The last events, oldest first. */
  last(): readonly string[] {
    return this.#last
  }

  /** SHA-256 over all events, hex. Ends the trace. */
  digest(): string {
    return this.#hash.digest('hex')
  }
}
