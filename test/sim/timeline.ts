// Virtual time of one simulated world: a binary heap of events by (time, sequence), one event at a time.
//
// After each event everything that it set going runs until nothing but time can move on: Node drains promises of any depth, and
// tells of rejections that nobody handled, between one immediate and the next. The same world gives the same order of events,
// whatever the machine does meanwhile.

/** Immediates that are asked for at once: they share one turn of the event loop, whose look at the system costs more than most events. */
const IMMEDIATES_A_TURN = 100

interface Entry {
  atMs: number
  sequence: number
  run: (() => void) | undefined
}

export class Timeline {
  nowMs: number
  /** Events that ran. */
  events = 0
  #sequence = 0
  #immediates = 0
  #settled: (() => void) | undefined
  readonly #heap: Entry[] = []

  constructor(startMs: number) {
    this.nowMs = startMs
  }

  /** Events that wait, cancelled ones included. */
  get waiting(): number {
    return this.#heap.length
  }

  /** Runs `run` after `delayMs`. @returns cancels it; safe to call twice and after it ran */
  after(delayMs: number, run: () => void): () => void {
    const entry: Entry = { atMs: this.nowMs + Math.max(0, delayMs), sequence: this.#sequence++, run }
    this.#push(entry)
    return () => {
      entry.run = undefined
    }
  }

  wait(ms: number): Promise<void> {
    return new Promise(resolve => void this.after(ms, resolve))
  }

  /** Runs events up to `untilMs`, or until `isOver` says so after one. */
  async run(untilMs: number, isOver: () => boolean): Promise<void> {
    await this.#settle()
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop()
      if (next.run === undefined) continue
      this.nowMs = next.atMs
      this.events++
      next.run()
      await this.#settle()
      if (isOver()) return
    }
    this.nowMs = Math.max(this.nowMs, untilMs)
  }

  /** Resolves with the next immediate: when nothing that was set going can move on. */
  #settle(): Promise<void> {
    if (this.#immediates === 0) {
      this.#immediates = IMMEDIATES_A_TURN
      for (let index = 0; index < IMMEDIATES_A_TURN; index++) setImmediate(this.#immediate)
    }
    return new Promise(resolve => {
      this.#settled = resolve
    })
  }

  readonly #immediate = (): void => {
    this.#immediates--
    this.#settled?.()
    this.#settled = undefined
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(entry)
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (isBefore(heap[parent]!, entry)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (isBefore(last, heap[child]!)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence)
}
