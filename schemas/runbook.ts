// Kinds that people write as YAML: Policy (when may what be done) and Runbook (what is done and how it is checked).

import { z } from 'zod'
import { autonomySchema } from './decision.ts'
import { checkSchema } from './check.ts'
import { causeSchema } from './incident.ts'
import { durationSchema, nameSchema as name } from './yaml-values.ts'

export type { Check } from './check.ts'

const count = z.number().int().min(1)
const ratio = z.number().min(0).max(1)
const riskSchema = z.enum(['low', 'medium', 'high'])
export type Risk = z.infer<typeof riskSchema>
export const apiVersionSchema = z.literal('homeostat.io/v1').describe('Version of the format.')
/** What every kind that people write begins with. */
export const metadataSchema = z
  .strictObject({
    name: name.describe('Unique among the documents of its kind.'),
    description: z.string().default('').describe('For people.')
  })
  .describe('Who it is.')
const expression = z.string().min(1)

const actSchema = z.strictObject({
  driver: z.string().describe('A driver of `act.drivers`: `process`, `systemd`, `http`, `exec`.'),
  verb: z.string().describe('What the driver does; for `http` an endpoint, for `exec` a command of the configuration.'),
  target: z.string().optional().describe('On what, as the driver names it. Default: the entity of the cause.'),
  args: z.record(z.string(), z.unknown()).default({}).describe('Arguments that the driver allows for the verb.')
})

/** So many members, or such a share of them, rounded up: `2` or `25%`. */
const stageSchema = z.union([count, z.string().regex(/^(100|[1-9]\d?)%$/, 'a number of members from 1, or a share from 1% to 100%')])
export type Stage = z.infer<typeof stageSchema>
/** More are no caution but patience; the record of a decision shows them all. */
const STAGES_MAX = 10

export const stepSchema = z.strictObject({
  name: name.describe('Unique within the runbook; part of the key that keeps an effect from happening twice.'),
  targets: z
    .strictObject({
      group: z.literal('service').default('service').describe("`service`: the instances of the cause's service in the environment of the incident."),
      staleAfter: durationSchema.prefault('1d').describe('A `group` record that is older does not tell who the members are: nothing is begun.')
    })
    .optional()
    .describe('The step acts on every member of a group, in `stages`, instead of on one target. It is the only step of its runbook.'),
  stages: z
    .array(stageSchema)
    .min(1)
    .max(STAGES_MAX)
    .optional()
    .describe('Members that have been acted on at the end of each stage: numbers or shares that ascend, such as `[1, 25%, 100%]`.'),
  when: expression
    .optional()
    .describe('CEL over `facts`, `incident`, `cause`, `target`, read again at the moment of acting. False skips the step, unknown stops the command.'),
  waitFor: z
    .strictObject({
      timeout: durationSchema.describe('Then the command gives up without having done anything, and the incident is decided again.'),
      checks: z.array(checkSchema).min(1).describe('All must pass in one look.')
    })
    .optional()
    .describe('What must be true first: at the moment of acting the actuator looks until it is, and does nothing meanwhile.'),
  action: actSchema.describe('What is done.'),
  timeout: durationSchema.prefault('30s').describe('What the act itself may take; beyond it nobody knows whether it happened.'),
  settle: durationSchema.prefault('5s').describe('Time that the effect needs before checking makes sense.'),
  verify: z
    .strictObject({
      deadline: durationSchema.prefault('60s').describe('From the end of `settle`: until then all checks must have begun to pass.'),
      holdFor: durationSchema.prefault('10s').describe('All checks must pass without a break for this long.'),
      checks: z.array(checkSchema).min(1).describe('All must pass.')
    })
    .describe('How it is known that the step helped.'),
  undo: actSchema.optional().describe('Done, and verified, when the step was ineffective or harmful.')
})
export type RunbookStep = z.infer<typeof stepSchema>

export const runbookSchema = z.strictObject({
  apiVersion: apiVersionSchema,
  kind: z.literal('Runbook').describe('What the document is.'),
  metadata: metadataSchema,
  spec: z
    .strictObject({
      risk: riskSchema.describe('From `medium` on missing telemetry stops it; see also `approval.twoPersonRisk` of the policy.'),
      cost: z.number().min(0).default(1).describe('Cost of one run in the units of M8 and of `costBudgets`.'),
      signatures: z
        .array(z.string())
        .min(1)
        .describe(`The kinds of trouble it answers: ${causeSchema.shape.signature.options.map(name => `\`${name}\``).join(', ')}.`),
      steps: z.array(stepSchema).min(1).max(10).describe('Lightest first: the next step runs only when the one before did not heal.')
    })
    .describe('What is done, and how it is checked.')
})
export type Runbook = z.infer<typeof runbookSchema>

/** Planned work: starts by cron (`schedule`) or by RFC 5545 recurrence (`rrule` with its first `start`), each lasting `duration`. */
const windowSchema = z
  .strictObject({
    schedule: z.string().optional().describe('Cron: minute, hour, day, month, weekday. Either this or `rrule`.'),
    rrule: z.string().optional().describe('RFC 5545 with FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, UNTIL. Needs `start`.'),
    start: z
      .string()
      .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/, 'a local date and time such as 2026-01-03T02:00')
      .optional()
      .describe('Local date and time of the first window of an `rrule`.'),
    duration: durationSchema.describe('Elapsed time, also across a change of the clocks.'),
    timezone: z.string().default('UTC').describe('IANA name such as `Europe/Berlin`.')
  })
  .refine(window => (window.schedule === undefined) !== (window.rrule === undefined), 'either schedule or rrule is needed, not both')
  .refine(window => (window.rrule === undefined) === (window.start === undefined), 'rrule and start belong together')
export type MaintenanceWindow = z.infer<typeof windowSchema>

/** A number of members, or a share of the group: `3` or `50%`. */
const membersSchema = z.union([z.number().int().min(0), z.string().regex(/^(100|\d{1,2})%$/, 'a number or a share such as 50%')])

export const policySchema = z.strictObject({
  apiVersion: apiVersionSchema,
  kind: z.literal('Policy').describe('What the document is.'),
  metadata: metadataSchema,
  spec: z
    .strictObject({
      match: expression.describe('CEL over `incident` and `cause` (the first). In order of name the first policy that matches decides.'),
      runbooks: z.array(name).min(1).describe('What may be done; ranked by what healed before, lightest first.'),
      autonomy: autonomySchema
        .default('observe')
        .describe('`observe` records, `suggest` shows and waits for a person to take it, `approve` asks, `auto` acts.'),
      evidence: z
        .strictObject({
          causeScoreMin: ratio.default(0.5).describe('Least score of the first cause.'),
          membersMin: count.default(1).describe('Least open anomalies of `warning` or above.')
        })
        .prefault({})
        .describe('Guard `evidence`: how sure it must be.'),
      confirmFor: durationSchema.prefault('0s').describe('How long an incident is watched before deciding; lets the anomalies of one cause gather.'),
      cooldown: z
        .strictObject({
          initial: durationSchema.prefault('60s').describe('After the first attempt of a runbook on a target.'),
          factor: z.number().min(1).default(2).describe('Each further attempt waits this many times longer.'),
          max: durationSchema.prefault('1h').describe('Longest wait.'),
          jitter: ratio.default(0.1).describe('Share by which a wait is longer or shorter, so that a fleet does not act in step.'),
          stabilise: durationSchema.optional().describe('How long a target that healed may settle before any runbook acts on it. Default: `initial`.')
        })
        .prefault({})
        .describe('Guard `cooldown`: waits between attempts.'),
      attempts: z
        .strictObject({
          max: count.default(3).describe('Of one runbook on one target, over all verdicts and incidents.'),
          window: durationSchema.prefault('1h').describe('Within this time. Then a person is called.'),
          runbook: z
            .strictObject({
              max: count.default(20).describe('Of one runbook anywhere in the environment.'),
              window: durationSchema.prefault('1h').describe('Within this time. Then it waits.')
            })
            .prefault({})
            .describe('Of one runbook anywhere in the environment.'),
          environment: z
            .strictObject({
              max: count.default(60).describe('Of anything in the environment.'),
              window: durationSchema.prefault('1h').describe('Within this time. Then it waits.')
            })
            .prefault({})
            .describe('Of anything in the environment.')
        })
        .prefault({})
        .describe('Guard `attempt_budget`: how often at most.'),
      blastRadius: z
        .strictObject({
          concurrentMax: count.default(1).describe('Targets in flight or not verified at the same time.'),
          percentMax: z.number().min(0).max(100).default(0).describe('This share of the group instead, where that is more.'),
          group: z.enum(['environment', 'service']).default('environment').describe('Of what the targets are counted.'),
          minHealthy: membersSchema.default(0).describe('Members that must stay well while one is treated: a number, or a share such as `50%`.')
        })
        .prefault({})
        .describe('Guard `blast_radius`: how many at once.'),
      maintenanceWindows: z.array(windowSchema).default([]).describe('Guard `maintenance_window`: planned work, in which nothing is done.'),
      deploys: z
        .strictObject({
          during: z.enum(['wait', 'ask', 'allow']).default('wait').describe('What a deploy of the target means.'),
          settle: durationSchema.prefault('5m').describe('How long after its end.')
        })
        .prefault({})
        .describe('Guard `deploy_window`: while others deploy.'),
      ownership: z
        .strictObject({
          handsOff: durationSchema.prefault('15m').describe("After another's change of the target nobody acts for so long."),
          revertWindow: durationSchema.prefault('1d').describe('Two reverts by one actor within it end automation there.')
        })
        .prefault({})
        .describe('Guard `ownership`: where others have their hands.'),
      errorBudget: z
        .strictObject({
          objective: z
            .number()
            .gt(0)
            .lt(1)
            .optional()
            .describe("Objective of the service: with it error ratios in the incident's own anomalies tell the burn rate too."),
          // 2 % of 30 days' budget in one hour (SRE workbook, chapter 5).
          burnRateMax: z.number().gt(0).default(14.4).describe('From this burn rate on only low-risk runbooks act by themselves.'),
          remainingMin: ratio.default(0).describe('Less than this share left: everything asks.'),
          staleAfter: durationSchema.prefault('15m').describe('What was reported longer ago is not known.')
        })
        .optional()
        .describe('Guard `error_budget`: more careful as the budget goes. Absent: it plays no part.'),
      costBudgets: z
        .array(
          z.strictObject({
            action: z.string().min(1).describe('`driver/verb`, or `*` for all.'),
            max: z.number().min(0).describe('Cost of the runbooks.'),
            window: durationSchema.describe('Within this time, in the environment.')
          })
        )
        .default([])
        .describe('Guard `cost_budget`: most cost of a class of actions.'),
      approval: z
        .strictObject({
          expiresAfter: durationSchema.prefault('30m').describe('A question that nobody answered, or a yes that was not used, is over then.'),
          approvers: count.default(1).describe('People who must say yes.'),
          roles: z
            .record(name, z.array(z.string().min(1)).min(1))
            .default({})
            .describe('Role → its people. Someone of each role must approve, one person for one role; then others do not count.'),
          twoPersonRisk: riskSchema.optional().describe('From this risk on two people are needed at least.')
        })
        .prefault({})
        .describe('Guard `approval`: who must say yes, at level `approve`.'),
      trust: z
        .strictObject({
          confidence: z.number().gt(0.5).lt(1).default(0.95).describe('Of the interval (Wilson) in which the precision of its decisions lies.'),
          trialsMin: count.default(20).describe('Scored decisions before a level is proposed.'),
          precisionMin: z
            .strictObject({
              suggest: ratio.default(0.5).describe('What the lower end of the interval must reach for `suggest`.'),
              approve: ratio.default(0.7).describe('What the lower end of the interval must reach for `approve`.'),
              auto: ratio.default(0.9).describe('What the lower end of the interval must reach for `auto`.')
            })
            .prefault({})
            .describe('What a level takes.')
        })
        .prefault({})
        .describe('Guard `autonomy`: what earns a level.'),
      recurrenceWindow: durationSchema.prefault('10m').describe('A healed target that breaks again within this time counts as recurrence.'),
      escalate: z
        .strictObject({
          channels: z.array(z.string()).default(['default']).describe('Names of `act.escalation.channels`; `default` is who is on call.'),
          blockedFor: durationSchema
            .prefault('5m')
            .describe('An incident that is severe enough to page calls people when nothing was done about it, and nobody was asked, for so long.')
        })
        .prefault({})
        .describe('Who is told when it asks, gives up, or stays blocked.')
    })
    .describe('When may what be done.')
})
export type Policy = z.infer<typeof policySchema>
