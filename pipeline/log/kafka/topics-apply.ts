// Looks at the cluster, plans, and does what the plan says: creates, grows (when asked), alters. Safe to repeat and to interrupt:
// the next run finds what is done and goes on with the rest.

import { AppError } from '../../../schemas/errors.ts'
import type { Clock } from '../../../schemas/ports.ts'
import type { KafkaAdmin } from './kafka-client.ts'
import { type PlanOptions, planTopics, settingsOf, type TopicPlan } from './topics-plan.ts'
import { CONFIG_NAMES, type WantedTopic } from './topics-wanted.ts'

const SHOWN_MS = 10_000 // Brokers follow their controller within milliseconds, a busy one within a second.
const SHOWN_POLL_MS = 50

export interface ApplyOptions extends PlanOptions {
  clock: Clock
  /** Hears of each step after it is done. */
  told(step: string): void
}

/** Asks the cluster and plans; changes nothing. @throws AppError `log_unavailable` */
export async function lookAndPlan(admin: KafkaAdmin, wanted: readonly WantedTopic[], options: PlanOptions): Promise<TopicPlan[]> {
  const names = wanted.map(topic => topic.name)
  return planTopics(wanted, await admin.describe(names, CONFIG_NAMES), options)
}

/**
 * Does what is to be done, and resolves when the cluster shows all of it.
 * @returns the plans as they were before
 * @throws AppError `log_unavailable`, `config_invalid` for what the cluster does not allow; what was told before is done
 */
export async function applyTopics(admin: KafkaAdmin, wanted: readonly WantedTopic[], options: ApplyOptions): Promise<TopicPlan[]> {
  const plans = await lookAndPlan(admin, wanted, options)
  if (plans.every(isDone)) return plans
  await applyPlans(admin, wanted, plans, options.told)
  const endMs = options.clock.monotonicMs() + SHOWN_MS
  for (;;) {
    const open = (await lookAndPlan(admin, wanted, options)).filter(plan => !isDone(plan))
    if (open.length === 0) return plans
    if (options.clock.monotonicMs() > endMs) {
      const names = open.map(plan => plan.topic).join(', ')
      throw new AppError('log_unavailable', `changes were made, but the cluster does not show them yet for ${names}: look again with \`homeostat topics plan\``)
    }
    await options.clock.sleep(SHOWN_POLL_MS)
  }
}

function isDone(plan: TopicPlan): boolean {
  return plan.actions.length === 0
}

async function applyPlans(admin: KafkaAdmin, wanted: readonly WantedTopic[], plans: readonly TopicPlan[], told: (step: string) => void): Promise<void> {
  const creating = new Set(plans.filter(plan => plan.actions.includes('create')).map(plan => plan.topic))
  const created = wanted.filter(topic => creating.has(topic.name)).map(settingsOf)
  if (created.length > 0) await admin.create(created)
  for (const { name, partitions, replication } of created) told(`created ${name}: ${partitions} partitions, ${replication} replicas`)
  for (const { topic, actions, partitions, configs } of plans) {
    if (actions.includes('grow')) {
      await admin.grow(topic, partitions.want)
      told(`grew ${topic} from ${partitions.have} to ${partitions.want} partitions`)
    }
    if (actions.includes('alter')) {
      await admin.alterConfigs(topic, Object.fromEntries(configs.map(({ name, want }) => [name, want])))
      told(`set ${configs.map(({ name, want }) => `${name}=${want}`).join(', ')} of ${topic}`)
    }
  }
}
