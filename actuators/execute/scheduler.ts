// Who may run now: one command a target at a time, in the order of acceptance, a bounded number overall.
//
// In memory only: the ledger's open rows are the queue that survives.

export interface TargetScheduler {
  /** Queues a command once; runs it as soon as its targets are free. An id that is queued or running already is left alone. */
  add(id: string, targets: readonly string[]): void
  /** Resolves when nothing runs. What is queued does not start any more after a bug or a stop of its owner. */
  idle(): Promise<void>
}

export function targetScheduler(options: { concurrencyMax: number; run: (id: string) => Promise<void>; onBug: (error: unknown) => void }): TargetScheduler {
  // Bounded by the ledger's limit of open commands.
  const queue: { id: string; targets: readonly string[] }[] = []
  const running = new Map<string, { targets: readonly string[]; ended: Promise<void> }>()
  let stopped = false

  function pump(): void {
    if (stopped) return
    const taken = new Set([...running.values()].flatMap(({ targets }) => targets))
    for (let index = 0; index < queue.length && running.size < options.concurrencyMax; ) {
      const waiting = queue[index]!
      const free = waiting.targets.every(target => !taken.has(target))
      // A command that waits holds its place: a later one for the same target must not overtake it.
      for (const target of waiting.targets) taken.add(target)
      if (!free) {
        index++
        continue
      }
      queue.splice(index, 1)
      start(waiting.id, waiting.targets)
    }
  }

  function start(id: string, targets: readonly string[]): void {
    const ended = options
      .run(id)
      .catch(error => {
        stopped = true
        options.onBug(error)
      })
      .finally(() => {
        running.delete(id)
        pump()
      })
    running.set(id, { targets, ended })
  }

  return {
    add(id, targets) {
      if (running.has(id) || queue.some(waiting => waiting.id === id)) return
      queue.push({ id, targets })
      pump()
    },
    async idle() {
      stopped = true
      while (running.size > 0) await Promise.all([...running.values()].map(({ ended }) => ended))
    }
  }
}
