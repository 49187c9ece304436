// Escalation in the configuration (`act.escalation`): channels to people, who is on call, who owns what.

import { z } from 'zod'
import { durationSchema } from './yaml-values.ts'
import { secretSchema } from './secret.ts'

/** A URL, or a reference to one, since many carry their credential in the path. */
const channelUrl = z.string().min(1)
const channel = z.discriminatedUnion('kind', [
  /** One JSON POST a page, signed with HMAC-SHA256 when there is a secret. */
  z.strictObject({ kind: z.literal('webhook'), url: channelUrl, secret: secretSchema.optional() }),
  /** An incoming webhook of Slack, Mattermost or Rocket.Chat. */
  z.strictObject({ kind: z.literal('slack'), url: channelUrl }),
  /** Events API v2; the integration key of a service. */
  z.strictObject({ kind: z.literal('pagerduty'), routingKey: secretSchema, url: channelUrl.default('https://events.pagerduty.com/v2/enqueue') }),
  /** API v2 of an Alertmanager: its root, and a bearer token where it asks for one. */
  z.strictObject({ kind: z.literal('alertmanager'), url: channelUrl, token: secretSchema.optional() })
])
const channelNames = z.array(z.string()).min(1)

/** Who is told when automation asks, gives up or stays blocked, and how. Without anything here nobody is. */
export const escalationSchema = z
  .strictObject({
    /** Ways to reach people. Policies name them in `escalate.channels`; `default` there stands for who is on call. */
    channels: z.record(z.string(), channel).default({}),
    /**
     * By owner, and `default` for services without an entry: who is called, one step after the other until somebody
     * acknowledges, and who gets tickets. Absent: the channel `default`.
     */
    onCall: z
      .record(
        z.string(),
        z.strictObject({
          page: z.array(z.strictObject({ channels: channelNames, timeout: durationSchema.prefault('15m') })).min(1),
          /** What need not wake anybody; absent: the first step of `page`, and only that. */
          ticket: channelNames.optional(),
          /** How often the steps are walked when nobody answers. */
          rounds: z.number().int().min(1).max(10).default(1)
        })
      )
      .default({}),
    /** Least severity that calls somebody now; below it there is a ticket. */
    pageFrom: z.enum(['info', 'warning', 'critical']).default('warning'),
    /** Who owns what, before what telemetry says; the first match counts. `*` in a service (`shop/*`) stands for anything. */
    owners: z.array(z.strictObject({ service: z.string().min(1), owner: z.string().min(1) })).default([]),
    /** Resource attributes of telemetry that name the owner of a service; the first that has a value counts. */
    ownerAttributes: z.array(z.string()).default(['service.owner', 'team'])
  })
  .superRefine(({ channels, onCall }, context) => {
    for (const [owner, { page, ticket }] of Object.entries(onCall)) {
      for (const name of [...page.flatMap(step => step.channels), ...(ticket ?? [])]) {
        if (!Object.hasOwn(channels, name))
          context.addIssue({ code: 'custom', path: ['onCall', owner], message: `there is no channel ${name} in act.escalation.channels` })
      }
    }
  })
  .prefault({})

export type EscalationRules = z.output<typeof escalationSchema>
