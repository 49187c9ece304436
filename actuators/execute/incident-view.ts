// How the incidents stand now, as far as the actuator asks: whether what a command is about is over.
//
// Read to its end again right before an act (the topic is compacted, so a restart knows the newest record of each): an order
// that waited while the trouble went away is called off, whoever made it and however long it took.

import { z } from 'zod'
import type { Command } from '../../schemas/command.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import { causeSchema, incidentRecord, incidentSchema, memberSchema } from '../../schemas/incident.ts'
import type { Clock, Log, Logger } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { isTelling } from '../decide/guards/evidence.ts'
import { topicTail } from './topic-tail.ts'

/** Incidents remembered, the newest: diagnose keeps 500 open, and a command begins within minutes of its incident's last record. */
const INCIDENTS_MAX = 5_000
/** Older records are not decoded: no command is begun a day after its incident was last heard of. */
const AGE_MS_MAX = 86_400_000

export interface IncidentView {
  /** Reads on to the end of the topic. @throws AppError `log_unavailable` when it cannot be read: then nobody may act */
  refresh(): Promise<void>
  /** Why there is nothing left to act upon, or undefined. What is not known of is not over. */
  clearedBy(command: Command): string | undefined
}

/** Of the record only what is asked here: a storm's incident has a hundred members. */
const standingSchema = incidentSchema.pick({ id: true, version: true, status: true }).extend({
  members: z.array(memberSchema.pick({ closedAtMs: true, severity: true })),
  causes: z.array(causeSchema.pick({ entity: true, open: true }))
})

interface Standing {
  version: number
  isResolved: boolean
  /** Whether any anomaly that tells of trouble is open. */
  isTelling: boolean
  /** Causes whose signs have closed. */
  closedCauses: readonly string[]
}

export function incidentView({ log, clock, logger }: { log: Log; clock: Clock; logger: Logger }): IncidentView {
  const standings = new Map<string, Standing>()
  const refresh = topicTail(log, TOPICS.incidents.name, record => {
    if (record.value === null || record.appendedAtMs < clock.nowMs() - AGE_MS_MAX) return
    const decoded = decodeRecord({ type: incidentRecord.type, schema: standingSchema }, record)
    if (!decoded.ok) {
      logger.warn(
        { partition: record.partition, offset: record.offset, reason: decoded.reason },
        'an incident cannot be read; commands for it go by what they carry'
      )
      return
    }
    const { id } = decoded.record
    if ((standings.get(id)?.version ?? 0) >= decoded.record.version) return
    standings.delete(id) // The newest are last.
    standings.set(id, standingOf(decoded.record))
    if (standings.size > INCIDENTS_MAX) standings.delete(standings.keys().next().value!)
  })
  return {
    refresh,
    clearedBy({ incidentId, target }) {
      const standing = standings.get(incidentId)
      if (standing === undefined) return undefined
      if (standing.isResolved) return `incident ${incidentId} is resolved`
      if (!standing.isTelling) return `no anomaly of incident ${incidentId} is open any more`
      return standing.closedCauses.includes(target) ? `the signs of ${target} have closed` : undefined
    }
  }
}

function standingOf({ version, status, members, causes }: z.infer<typeof standingSchema>): Standing {
  return {
    version,
    isResolved: status === 'resolved',
    isTelling: members.some(isTelling),
    closedCauses: causes.filter(({ open }) => open === false).map(({ entity }) => entity)
  }
}
