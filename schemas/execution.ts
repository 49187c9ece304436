// Execution: which ledger a command belongs to. The first record of a command, in the order of the log, decides for ever.
//
// Written by an actuator before it takes a command, so that no second ledger runs it: not after a takeover, not after a
// redelivery, not by a process that was stopped and wakes up. Says where the command lies, for its ledger to find it again.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'
import { incidentTraceparent } from './ids.ts'

export const executionSchema = z.object({
  commandId: z.string(),
  incidentId: z.string(),
  environment: z.string(),
  target: z.string(),
  /** Of the actuator's ledger: drawn when the ledger is made, kept as long as it lives. */
  ledgerId: z.string(),
  /** Where the command is, in the commands topic of its environment. */
  partition: z.number(),
  offset: z.number(),
  /** Of the command: nobody can take it afterwards, so nobody needs to remember whose it is. */
  expiresAtMs: z.number(),
  claimedAtMs: z.number()
})
export type Execution = z.infer<typeof executionSchema>

export const executionRecord: RecordType<Execution> = {
  type: 'homeostat.execution.v1',
  schema: executionSchema,
  id: execution => `${execution.commandId}/${execution.ledgerId}`,
  key: execution => execution.commandId,
  atMs: execution => execution.claimedAtMs,
  traceparent: execution => incidentTraceparent(execution.incidentId)
}
