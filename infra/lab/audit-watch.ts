// How long until what was decided and done can be read: the lab's own watch on ClickHouse, independent of the rows' own StoredAt.

import { pause } from './fleet.ts'
import type { Homeostat } from './stage.ts'

const WATCH_MS = 300
const UNSURE_MS = 1_000 // Between the begin of a look and the end of the next: a record came at any moment of it.

const RECORDS_SQL = `SELECT DecisionId AS id, toUnixTimestamp64Milli(Timestamp) AS madeAtMs FROM homeostat_decisions
UNION ALL SELECT OutcomeId, toUnixTimestamp64Milli(Timestamp) FROM homeostat_outcomes`

export interface AuditWatch {
  /**
   * From the time that a record carries until it was first seen here, ms. Both clocks are this machine's. None when a look came too late to
   * know: on a busy machine the watch is held up as well.
   */
  delaysMs(): readonly number[]
  close(): Promise<void>
}

/** Looks until it is closed. Records that were there at its first look are left out: nobody saw them come. */
export function watchAudit({ sql }: Pick<Homeostat, 'sql'>): AuditWatch {
  const delays = new Map<string, number>()
  const known = new Set<string>()
  let isFirst = true
  let isOpen = true
  let isUnsure = false
  let lookedAtMs = 0

  async function look(): Promise<void> {
    const begunAtMs = Date.now()
    const rows = await sql<{ id: string; madeAtMs: number | string }>(RECORDS_SQL)
    const nowMs = Date.now()
    for (const { id, madeAtMs } of rows) {
      if (!known.has(id) && !isFirst) {
        delays.set(id, nowMs - Number(madeAtMs))
        if (nowMs - lookedAtMs > UNSURE_MS) isUnsure = true
      }
      known.add(id)
    }
    lookedAtMs = begunAtMs
    isFirst = false
  }

  const done = (async () => {
    while (isOpen) {
      await look().catch(() => undefined) // Homeostat is away for a moment: the next look sees what is new, later.
      await pause(WATCH_MS)
    }
  })()

  return {
    delaysMs: () => (isUnsure ? [] : [...delays.values()]),
    async close() {
      isOpen = false
      await done
    }
  }
}
