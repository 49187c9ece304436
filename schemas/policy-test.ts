// PolicyTest, the third kind that people write: cases that say what the policies beside it must decide.
//
// A case describes an incident and what happened before, and what the decision must be. `homeostat policies test` runs the
// deciding code itself on it; a running instance only looks at their form.

import { z } from 'zod'
import { GROUP_MEMBERS_MAX } from './control.ts'
import { autonomySchema, BLOCK_REASONS, decisionSchema, guardResultSchema } from './decision.ts'
import { severitySchema } from './anomaly.ts'
import { causeSchema } from './incident.ts'
import { VERDICTS } from './outcome.ts'
import { apiVersionSchema, metadataSchema } from './runbook.ts'
import { durationSchema, parseDuration } from './yaml-values.ts'

const ratio = z.number().min(0).max(1)
const ago = durationSchema.describe('How long before `now`.')
/** `-10m` is before `now`, `2h` after it: ms from `now`. */
const fromNowSchema = z
  .string()
  .regex(/^[+-]?\d+(\.\d+)?(ms|s|m|h|d)$/, 'a time from `now` such as -10m or 2h')
  .transform(text => (text.startsWith('-') ? -1 : 1) * parseDuration(text.replace(/^[+-]/, '')))
const by = z.string().default('somebody').describe('Who said it.')

/** What people and others said, as the records of homeostat.control.v1, with times from `now`. */
const givenControlSchema = z.discriminatedUnion('kind', [
  z
    .strictObject({
      kind: z.literal('kill_switch').describe('Which of these.'),
      scope: z
        .string()
        .regex(/^(global|environment\/[\w-]+|policy\/[\w-]+)$/, 'global, environment/<name> or policy/<name>')
        .default('global')
        .describe('`global`, `environment/<name>` or `policy/<name>`.'),
      on: z.boolean().default(true).describe('False: it was released.'),
      ago: ago.prefault('1m'),
      by
    })
    .describe('The kill switch.'),
  z
    .strictObject({
      kind: z.literal('maintenance').describe('Which of these.'),
      match: z.string().default('*').describe('Entity, service, environment, `*`, or CEL over `incident` and `cause`.'),
      from: fromNowSchema.prefault('-10m').describe('Its start.'),
      to: fromNowSchema.prefault('1h').describe('Its end.'),
      by
    })
    .describe('Announced maintenance.'),
  z
    .strictObject({
      kind: z.literal('change').describe('Which of these.'),
      target: z.string().describe('Entity, service, or `*` for the environment.'),
      what: z.enum(['deploy', 'config', 'scale', 'manual', 'revert']).describe('`revert`: what Homeostat did was undone.'),
      from: fromNowSchema.prefault('-5m').describe('Its start.'),
      to: fromNowSchema.optional().describe('Its end. Absent: it goes on.'),
      by
    })
    .describe('Somebody else changed a target.'),
  z
    .strictObject({
      kind: z.literal('group').describe('Which of these.'),
      group: z.string().default('*').describe('A service, or `*` for the environment.'),
      size: z.number().int().min(0).describe('Members when all are well.'),
      members: z.array(z.string().min(1)).max(GROUP_MEMBERS_MAX).optional().describe('Who they are, all of them, as entities.'),
      ago: ago.prefault('1d'),
      by
    })
    .describe('How many members a group has.'),
  z
    .strictObject({
      kind: z.literal('error_budget').describe('Which of these.'),
      service: z.string().default('*').describe('A service, or `*` for the environment.'),
      remainingRatio: z.number().describe('Share that is left: 1 all, 0 none.'),
      burnRate: z.number().min(0).default(0).describe('1 uses the budget up exactly at the end of its period.'),
      ago: ago.prefault('1m'),
      by
    })
    .describe('State of an error budget.')
])
export type GivenControl = z.output<typeof givenControlSchema>

const givenIncidentSchema = z.strictObject({
  environment: z.string().default('production').describe('`incident.environment`.'),
  entity: z.string().min(1).describe('`cause.entity`, `namespace/service@instance`: the target. `cause.service` is its service without namespace.'),
  signature: causeSchema.shape.signature.describe('`cause.signature`.'),
  score: ratio.default(0.9).describe('`cause.score`.'),
  severity: severitySchema.default('critical').describe('Of the incident and its signs.'),
  openFor: durationSchema.prefault('5m').describe('How long before `now` it opened.'),
  signs: z.number().int().min(0).max(500).default(3).describe('Open anomalies of the entity; 0: all have closed.'),
  complainedBy: z.array(z.string()).default([]).describe('Services that see errors from the entity.'),
  unknown: z.array(z.string()).optional().describe('Entities without telemetry. Default: the entity itself when it is `silent`, else none.')
})
export type GivenIncident = z.output<typeof givenIncidentSchema>

const caseSchema = z.strictObject({
  name: z.string().min(1).describe('The promise in plain words.'),
  given: z
    .strictObject({
      now: z.iso
        .datetime({ offset: true })
        .default('2026-01-05T12:00:00Z')
        .describe('When it is decided, for maintenance windows. Default: a Monday at noon, UTC.'),
      autonomy: autonomySchema.optional().describe('Level of all policies instead of that of their files: what would they do when raised?'),
      incident: givenIncidentSchema.describe('What was found.'),
      history: z
        .array(
          z.strictObject({
            runbook: z.string().describe('What was done.'),
            verdict: z.enum([...VERDICTS, 'in_flight']).describe('How it ended; `in_flight`: it has not.'),
            ago: durationSchema.describe('How long before `now` it was done.'),
            target: z.string().optional().describe("Default: the incident's entity."),
            sameIncident: z.boolean().default(true).describe('False: for an earlier incident.')
          })
        )
        .default([])
        .describe('Attempts before.'),
      brokeLately: z.number().int().min(0).max(50).default(0).describe('Earlier incidents of the entity within the last five minutes.'),
      openedLately: z.number().int().min(0).max(500).default(0).describe('Other incidents of the environment that opened within the last minute.'),
      controls: z.array(givenControlSchema).default([]).describe('What people and others said.'),
      askedFor: durationSchema
        .optional()
        .describe('How long before `now` it was decided first, and people were asked where the policy asks. Default: just before the first answer.'),
      answers: z
        .array(z.strictObject({ by: z.string().min(1).describe('Who.'), approved: z.boolean().default(true).describe('Yes or no.'), ago: ago.prefault('1m') }))
        .default([])
        .describe('Answers of people to that question.')
    })
    .describe('The situation.'),
  expect: z
    .strictObject({
      outcome: decisionSchema.shape.outcome
        .optional()
        .describe('`act`, `would_act` (but for its level), `ask`, `blocked`, `escalate`, or `none` (no policy or runbook).'),
      policy: z.string().nullable().optional().describe('Which one decides; null: none.'),
      runbook: z.string().nullable().optional().describe('Which one is chosen; null: none.'),
      target: z.string().nullable().optional().describe('What would be acted on: the entity, or the member whose turn it is; null: nothing.'),
      blockedBy: z.array(z.enum(BLOCK_REASONS)).optional().describe('Exactly these guards do not allow it, in any order.'),
      guards: z
        .partialRecord(z.enum(BLOCK_REASONS), guardResultSchema.shape.verdict)
        .optional()
        .describe('Guard → `allow`, `wait`, `ask` or `refuse`, for those named.'),
      attempt: z.number().int().min(1).optional().describe('Number of the attempt within the incident.'),
      reason: z.string().min(1).optional().describe('Words that the reason must contain.')
    })
    .refine(expected => Object.values(expected).some(value => value !== undefined), 'at least one expectation is needed')
    .describe('What the decision must be; what is not named may be anything.')
})
export type PolicyTestCase = z.output<typeof caseSchema>

export const policyTestSchema = z.strictObject({
  apiVersion: apiVersionSchema,
  kind: z.literal('PolicyTest').describe('What the document is.'),
  metadata: metadataSchema,
  spec: z.strictObject({ cases: z.array(caseSchema).min(1).max(500).describe('Each is decided on its own.') }).describe('What must be decided.')
})
export type PolicyTest = z.output<typeof policyTestSchema>
