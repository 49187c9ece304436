// `homeostat topics plan|apply|acls`: what the cluster lacks, making it so, and who needs which rights on it. Speaks to the brokers alone: nothing of ours has to run.

import type { Command } from 'commander'
import { type Config, environmentsOf } from '../../schemas/config.ts'
import type { Clock } from '../../schemas/ports.ts'
import { aclCommands, kafkaAcls } from '../log/kafka/acls.ts'
import type { KafkaAdmin } from '../log/kafka/kafka-client.ts'
import type { PlanOptions, TopicPlan } from '../log/kafka/topics-plan.ts'
import { applyTopics, lookAndPlan } from '../log/kafka/topics-apply.ts'
import { type WantedTopic, wantedTopics } from '../log/kafka/topics-wanted.ts'
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
  clock: Clock
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
      .option('--environment <name...>', 'environments whose commands need a topic, beside the configured ones')
      .option('--collector', "make the Collectors' own topics too where they are missing")
      .option('--grow', 'add partitions where there are fewer than wanted: keys move to other partitions')
  add('plan', 'compare the cluster with what is wanted; changes nothing').action((options: TopicsOptions) => planCommand(ports, options))
  add('apply', 'create missing topics and set their configs; never deletes, never shrinks').action((options: TopicsOptions) => applyCommand(ports, options))
  topics
    .command('acls')
    .description('print the rights that each role needs, as kafka-acls.sh commands (with --json as data); asks no broker')
    .option('--environment <name...>', 'environments that have an actuator, beside the configured ones')
    .option('--principal-prefix <text>', 'before the name of the role', 'User:homeostat-')
    .action((options: AclsOptions) => aclsCommand(ports, options))
}

interface AclsOptions {
  environment?: readonly string[]
  principalPrefix: string
}

function aclsCommand(ports: TopicsPorts, { environment, principalPrefix }: AclsOptions): void {
  const config = ports.config()
  const acls = kafkaAcls({ principalPrefix, environments: allEnvironments(config, environment), collectorTopics: config.intake.topics })
  ports.output().result(acls, aclCommands(acls).join('\n'))
}

function allEnvironments(config: Config, more: readonly string[] = []): string[] {
  return [...new Set([...environmentsOf(config), ...more])]
}

async function planCommand(ports: TopicsPorts, options: TopicsOptions): Promise<void> {
  await withAdmin(ports, options, async (admin, wanted, planOptions) => showPlans(await lookAndPlan(admin, wanted, planOptions), ports.output()))
}

async function applyCommand(ports: TopicsPorts, options: TopicsOptions): Promise<void> {
  await withAdmin(ports, options, async (admin, wanted, planOptions) => {
    const output = ports.output()
    const done: string[] = []
    const told = (step: string): void => {
      done.push(step)
      output.say(step)
    }
    const plans = await applyTopics(admin, wanted, { ...planOptions, clock: ports.clock, told })
    const notes = plans.flatMap(plan => plan.notes.map(note => `${plan.topic}: ${note}`))
    for (const note of notes) output.say(note)
    output.result({ done, notes }, done.length === 0 ? NOTHING : `${done.length} ${done.length === 1 ? 'change' : 'changes'} made`)
  })
}

type AdminWork = (admin: KafkaAdmin, wanted: readonly WantedTopic[], options: PlanOptions) => Promise<void>

async function withAdmin(ports: TopicsPorts, options: TopicsOptions, work: AdminWork): Promise<void> {
  const config = ports.config()
  if (config.log.kind === 'embedded') {
    ports.output().result([], NO_TOPICS)
    return
  }
  const collectors = options.collector === true
  const wanted = wantedTopics(config, { environments: allEnvironments(config, options.environment), collectors })
  const admin = await ports.openAdmin(config)
  try {
    await work(admin, wanted, { grow: options.grow === true, foreign: collectors })
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
