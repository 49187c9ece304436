// When the log was taking records: whether a silence in it is a silence of senders, or nobody could have been heard.
//
// Flow: worker (records, ticks) -> listening -> absence. A detector that takes a partition over has not been listening to it,
// but the log has: what its other partitions and their checkpoints say about the time in between is as good. Only where
// nothing speaks of a stretch (a restart of everything, a suspended machine) does silence begin to count anew.

import type { ShardNotes } from './shard.ts'

/** Further back nothing is remembered: a partition that nobody saved for so long has its silence counted anew. */
const SECONDS_MAX = 1_024
const MS_PER_S = 1_000
/** For so long a partition that was taken over waits for the others' records to say whether senders were heard meanwhile. */
const EVIDENCE_WAIT_MS = 60_000

export interface Listening {
  /** Epoch ms of the log's clock. */
  mark(atMs: number): void
  /** Marks every second of a stretch. */
  markAll(fromMs: number, toMs: number): void
  /** Whether between the two no stretch longer than `quietMs` lacks a mark. */
  isGapless(fromMs: number, toMs: number): boolean
  /**
   * Since when silence in a partition counts, noted in `notes`: from now on, if there is a stretch of which nobody knows whether
   * senders could be heard; undefined while what others were heard saying is still being read.
   * @param isWhole nothing waits to be read any more
   */
  silenceSince(notes: Pick<ShardNotes, 'listeningSinceMs' | 'listenedThroughMs'>, nowMs: number, isWhole: boolean): number | undefined
}

/** @param quietMs a stretch without a sign of life that says nothing yet */
export function listening(quietMs: number): Listening {
  // A ring by second; each cell holds the second that it stands for.
  const seconds = new Float64Array(SECONDS_MAX).fill(-1)
  const secondOf = (atMs: number): number => Math.floor(atMs / MS_PER_S)
  const mark = (second: number): void => {
    const cell = second % SECONDS_MAX
    if (seconds[cell]! < second) seconds[cell] = second
  }
  const all: Listening = {
    mark: atMs => mark(secondOf(atMs)),
    markAll(fromMs, toMs) {
      const last = secondOf(toMs)
      for (let second = Math.max(secondOf(fromMs), last - SECONDS_MAX + 1); second <= last; second++) mark(second)
    },
    isGapless(fromMs, toMs) {
      if (toMs - fromMs <= quietMs) return true
      const last = secondOf(toMs)
      let known = secondOf(fromMs)
      if (last - known >= SECONDS_MAX) return false
      for (let second = known + 1; second <= last; second++) {
        if (seconds[second % SECONDS_MAX] === second || second === last) {
          if ((second - known) * MS_PER_S > quietMs) return false
          known = second
        }
      }
      return true
    },
    silenceSince(notes, nowMs, isWhole) {
      const { listeningSinceMs, listenedThroughMs = Number.NEGATIVE_INFINITY } = notes
      const isKnown = listeningSinceMs !== undefined && all.isGapless(listenedThroughMs, nowMs)
      if (!isKnown && !isWhole && nowMs - listenedThroughMs < EVIDENCE_WAIT_MS) return undefined
      notes.listenedThroughMs = nowMs
      notes.listeningSinceMs = isKnown ? listeningSinceMs : nowMs
      return notes.listeningSinceMs
    }
  }
  return all
}
