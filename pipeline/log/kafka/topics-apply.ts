// Looks at the cluster, plans, and does what the plan says: creates, grows (when asked), alters. Safe to repeat and to interrupt:
// the next run finds what is done and goes on with the rest.

import type { KafkaAdmin } from './kafka-client.ts'
import { type PlanOptions, planTopics, settingsOf, type TopicPlan } from './topics-plan.ts'
import { CONFIG_NAMES, type WantedTopic } from './topics-wanted.ts'

/** Asks the cluster and plans; changes nothing. @throws AppError `log_unavailable` */
export async function lookAndPlan(admin: KafkaAdmin, wanted: readonly WantedTopic[], options: PlanOptions): Promise<TopicPlan[]> {
  const found = await admin.describe(
    wanted.map(topic => topic.name),
    CONFIG_NAMES
  )
  return planTopics(wanted, found, options)
}

/**
 * Does what the plans say, telling each step after it is done.
 * @throws AppError `log_unavailable`; what was told before is done
 */
export async function applyPlans(admin: KafkaAdmin, wanted: readonly WantedTopic[], plans: readonly TopicPlan[], told: (step: string) => void): Promise<void> {
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
