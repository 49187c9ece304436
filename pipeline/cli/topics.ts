// `homeostat topics plan|apply`: what the cluster lacks, and making it so. Speaks to the brokers alone: nothing of ours has to run.

import type { Command } from 'commander'
import type { Config } from '../../schemas/config.ts'
import type { KafkaAdmin } from '../log/kafka/kafka-client.ts'
import type { TopicPlan } from '../log/kafka/topics-plan.ts'
import { applyPlans, lookAndPlan } from '../log/kafka/topics-apply.ts'
import { wantedTopics } from '../log/kafka/topics-wanted.ts'
import { formatTable, type Output } from './output.ts'

export interface TopicsOptions {
  environment?: readonly string[]
  grow?: boolean
  collector?: boolean
}

export interface TopicsPorts {
  config(): Config
  output(): Output
  /** @throws AppError `log_unavailable` */
  openAdmin(config: Config): Promise<KafkaAdmin>
}

const NO_TOPICS = 'log.kind is embedded: that log makes its topics by itself, there is nothing to plan or apply'
const NOTHING = 'nothing to do'

/** Adds the commands to the program. */
export function topicsCommands(program: Command, ports: TopicsPorts): void {
  const topics = program.command('topics').description('topics on the Kafka cluster: what is there, what is missing, making it so')
  const add = (name: string, description: string): Command =>
    topics
      .command(name)
      .description(description)
      .option('--environment <name...>', 'environments whose commands need a topic, beside the configured one')
      .option('--collector', "make the Collectors' own topics too where they are missing")
      .option('--grow', 'add partitions where there are fewer than wanted: keys move to other partitions')
  add('plan', 'compare the cluster with what is wanted; changes nothing').action((options: TopicsOptions) => planCommand(ports, options))
  add('apply', 'create missing topics and set their configs; never deletes, never shrinks').action((options: TopicsOptions) => applyCommand(ports, options))
}

async function planCommand(ports: TopicsPorts, options: TopicsOptions): Promise<void> {
  await withPlans(ports, options, async ({ plans }) => showPlans(plans, ports.output()))
}

async function applyCommand(ports: TopicsPorts, options: TopicsOptions): Promise<void> {
  await withPlans(ports, options, async ({ admin, plans, apply }) => {
    const output = ports.output()
    const done: string[] = []
    await apply(admin, step => {
      done.push(step)
      output.say(step)
    })
    const notes = plans.flatMap(plan => plan.notes.map(note => `${plan.topic}: ${note}`))
    for (const note of notes) output.say(note)
    output.result({ done, notes }, done.length === 0 ? NOTHING : `${done.length} ${done.length === 1 ? 'change' : 'changes'} made`)
  })
}

interface Planned {
  admin: KafkaAdmin
  plans: readonly TopicPlan[]
  apply(admin: KafkaAdmin, told: (step: string) => void): Promise<void>
}

async function withPlans(ports: TopicsPorts, options: TopicsOptions, work: (planned: Planned) => Promise<void>): Promise<void> {
  const config = ports.config()
  if (config.log.kind === 'embedded') {
    ports.output().result([], NO_TOPICS)
    return
  }
  const collectors = options.collector === true
  const wanted = wantedTopics(config, { environments: [...new Set([config.environment, ...(options.environment ?? [])])], collectors })
  const admin = await ports.openAdmin(config)
  try {
    const plans = await lookAndPlan(admin, wanted, { grow: options.grow === true, foreign: collectors })
    await work({ admin, plans, apply: (through, told) => applyPlans(through, wanted, plans, told) })
  } finally {
    await admin.close()
  }
}

/** The plan as a table, what differs below it; the plans themselves with --json. */
function showPlans(plans: readonly TopicPlan[], output: Output): void {
  const rows = plans.map(planRow)
  const todo = plans.filter(plan => plan.actions.length > 0).length
  const conclusion = todo === 0 ? NOTHING : `${todo} ${todo === 1 ? 'topic' : 'topics'} to change: \`homeostat topics apply\``
  output.result(plans, [formatTable(rows, Object.keys(rows[0]!)), '', ...plans.flatMap(detailLines), conclusion].join('\n'))
}

function planRow({ topic, exists, partitions, replication, configs, actions, notes }: TopicPlan): Record<string, unknown> {
  const change = ({ have, want }: { have: number; want: number }): string => (exists && have !== want ? `${have} → ${want}` : String(want))
  return {
    topic,
    exists: exists ? 'yes' : 'no',
    partitions: change(partitions),
    replicas: change(replication),
    configs: !exists || configs.length === 0 ? '' : `${configs.length} differ`,
    apply: actions.length === 0 ? 'nothing' : actions.join(', '),
    note: notes.length === 0 ? '' : 'see below'
  }
}

function detailLines({ topic, exists, configs, notes }: TopicPlan): string[] {
  const changes = exists ? configs.map(({ name, have, want }) => `${topic}: ${name} ${have ?? 'not set'} → ${want}`) : []
  return [...changes, ...notes.map(note => `${topic}: ${note}`)]
}
