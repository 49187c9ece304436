// Command: a signed order to one environment's actuator: the runbook's steps as they were decided, with checks and undo.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'
import { incidentTraceparent } from './ids.ts'
import type { stepSchema } from './runbook.ts'

/** A step of a decided runbook: durations already in ms, CEL still text, with its idempotency key. */
export const commandStepSchema = z.object({
  idempotencyKey: z.string(),
  name: z.string(),
  step: z.custom<z.output<typeof stepSchema>>(value => typeof value === 'object' && value !== null)
})
export type CommandStep = z.infer<typeof commandStepSchema>

/** What the policy says of times that are not ours to act in: judged again at the moment of acting, by what people say then. */
export const holdsSchema = z.object({
  maintenanceWindows: z.array(
    z.object({
      schedule: z.string().optional(),
      rrule: z.string().optional(),
      start: z.string().optional(),
      /** ms */
      duration: z.number(),
      timezone: z.string()
    })
  ),
  /** `settle` in ms. */
  deploys: z.object({ during: z.enum(['wait', 'ask', 'allow']), settle: z.number() }),
  /** ms */
  ownership: z.object({ handsOff: z.number(), revertWindow: z.number() })
})
export type Holds = z.infer<typeof holdsSchema>

/** Of a command without them: what people announced holds it all the same. */
export const NO_HOLDS: Holds = { maintenanceWindows: [], deploys: { during: 'wait', settle: 0 }, ownership: { handsOff: 0, revertWindow: 0 } }

export const commandSchema = z.object({
  id: z.string(),
  incidentId: z.string(),
  decisionId: z.string(),
  environment: z.string(),
  /** Entity acted on. */
  target: z.string(),
  runbook: z.string(),
  runbookVersion: z.string(),
  policy: z.string(),
  policyVersion: z.string(),
  /** Absent in commands of earlier releases. */
  holds: holdsSchema.optional(),
  attempt: z.number(),
  risk: z.enum(['low', 'medium', 'high']),
  cost: z.number(),
  steps: z.array(commandStepSchema),
  /** What conditions and checks may read: the incident as it was decided upon. */
  incident: z.record(z.string(), z.unknown()),
  cause: z.record(z.string(), z.unknown()),
  /** Onset of the incident: "before" in checks is before this. */
  startedAtMs: z.number(),
  issuedAtMs: z.number(),
  /** A command that is late is refused, not executed. */
  expiresAtMs: z.number(),
  /** Grows with every command for the target; an older one is refused. */
  fence: z.number(),
  nonce: z.string(),
  /** Of a step that goes through members in stages: in which rollout, which stage and member of how many. Absent for others. */
  rollout: z.object({ id: z.string(), stage: z.number(), stages: z.number(), member: z.number(), members: z.number() }).optional(),
  /** The command whose act this one takes back. Its verdict is `undone` when all that passed before that act passes again. */
  undoes: z.string().optional(),
  keyId: z.string(),
  /** Ed25519 over the canonical bytes of everything above, base64. */
  signature: z.string()
})
export type Command = z.infer<typeof commandSchema>

export const commandRecord: RecordType<Command> = {
  type: 'homeostat.command.v1',
  schema: commandSchema,
  id: command => command.id,
  key: command => command.target,
  atMs: command => command.issuedAtMs,
  traceparent: command => incidentTraceparent(command.incidentId)
}
