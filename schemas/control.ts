// Control: what people say to the running system. Compacted by kind and subject.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'

/** Members that a group can name: they are part of decide's state, and a stage of more is no stage. */
export const GROUP_MEMBERS_MAX = 200

const common = { atMs: z.number(), by: z.string() }

export const controlSchema = z.discriminatedUnion('kind', [
  /** `scope`: `global`, `environment/<name>` or `policy/<name>`. */
  z.object({ kind: z.literal('kill_switch'), scope: z.string(), on: z.boolean(), reason: z.string(), ...common }),
  z.object({ kind: z.literal('approval'), incidentId: z.string(), decisionId: z.string(), approved: z.boolean(), ...common }),
  /** Somebody has an incident that people were called for. Approves nothing, and refuses nothing. */
  z.object({ kind: z.literal('acknowledgement'), incidentId: z.string(), ...common }),
  z.object({ kind: z.literal('maintenance'), id: z.string(), match: z.string(), fromMs: z.number(), toMs: z.number(), ...common }),
  z.object({ kind: z.literal('label'), anomalyId: z.string(), label: z.enum(['true_positive', 'false_positive']), note: z.string(), ...common }),
  z.object({ kind: z.literal('release_target'), target: z.string(), ...common }),
  /** Somebody else changed, or is changing, a target. Its deploys hold acting back; another's hand opens a hands-off period. */
  z.object({
    kind: z.literal('change'),
    id: z.string(),
    environment: z.string(),
    /** Entity, service, or `*` for the environment. */
    target: z.string(),
    /** Who changed it: a person, a GitOps controller, a pipeline. */
    actor: z.string(),
    /** revert: what we did was undone. */
    what: z.enum(['deploy', 'config', 'scale', 'manual', 'revert']),
    fromMs: z.number(),
    /** null: goes on. */
    toMs: z.number().nullable(),
    ...common
  }),
  /** How many members a group has when all are well. `group`: a service, or `*` for the environment. */
  z.object({
    kind: z.literal('group'),
    environment: z.string(),
    group: z.string(),
    size: z.number().int().min(0),
    /** Who they are, as entities: what steps that go through members in stages act on. Of all of them, or of nobody. */
    members: z.array(z.string().min(1)).max(GROUP_MEMBERS_MAX).optional(),
    ...common
  }),
  /** State of an objective. `service`: a service, or `*` for the environment. */
  z.object({
    kind: z.literal('error_budget'),
    environment: z.string(),
    service: z.string(),
    /** Share of the period's budget that is left: 1 all, 0 none, below 0 overdrawn. */
    remainingRatio: z.number(),
    /** How many times faster than sustainable errors come now: 1 uses the budget up exactly at the end of its period. */
    burnRate: z.number().min(0),
    ...common
  }),
  /**
   * What is to become of a canary release. The last order of an id holds, so each carries everything.
   * start: compare from `atMs` on; pause: no verdict but a failure; abort: roll back, from every state; release: lift the quarantine, or compare no longer.
   */
  z.object({
    kind: z.literal('canary'),
    id: z.string().min(1),
    environment: z.string(),
    /** Entity service, `shop/orders`. */
    service: z.string().min(1),
    order: z.enum(['start', 'pause', 'resume', 'abort', 'release']),
    /** `service.version` of the new version, and of what it is compared with: best the old version, started at the same time. */
    canary: z.string().min(1),
    baseline: z.string().min(1),
    /** Requests of each arm before any verdict. */
    samplesMin: z.number().int().min(200).default(200),
    /** How much higher than the baseline's the canary's error ratio may be. */
    errorDifference: z.number().gt(0).lt(1).default(0.02),
    /** How many times the baseline's 95th percentile the canary's may be. */
    latencyRatio: z.number().gt(1).default(1.5),
    /** A baseline that fails more often than this says nothing about the canary. */
    baselineErrorRatio: z.number().gt(0).lt(1).default(0.05),
    /** Without a verdict after so long people are asked. */
    decideWithinMs: z.number().int().positive().default(3_600_000),
    ...common
  }),
  /** A person gives a policy back the level of its file, after automatic demotion. */
  z.object({ kind: z.literal('autonomy'), policy: z.string(), reason: z.string(), ...common })
])
export type Control = z.infer<typeof controlSchema>
export type CanaryOrder = Extract<Control, { kind: 'canary' }>

/** Scopes of the kill switch. */
export const KILL_SCOPE = /^(global|environment\/[\w-]+|policy\/[\w-]+)$/

/** What the record speaks of; the last record a subject holds. */
export function controlSubject(record: Control): string {
  switch (record.kind) {
    case 'kill_switch':
      return record.scope
    case 'approval':
      return `${record.decisionId}/${record.by}`
    case 'acknowledgement':
      return `${record.incidentId}/${record.by}`
    case 'maintenance':
      return record.id
    case 'label':
      return record.anomalyId
    case 'release_target':
      return record.target
    case 'change':
    case 'canary':
      return record.id
    case 'group':
      return `${record.environment}/${record.group}`
    case 'error_budget':
      return `${record.environment}/${record.service}`
    case 'autonomy':
      return record.policy
  }
}

export const controlRecord: RecordType<Control> = {
  type: 'homeostat.control.v1',
  schema: controlSchema,
  id: record => `${record.kind}/${controlSubject(record)}@${record.atMs}`,
  key: record => `${record.kind}/${controlSubject(record)}`,
  atMs: record => record.atMs
}
