// Who may do what on the cluster: the least each role needs, derived from the table of topics (schemas/topics.ts).
//
// A pure function; `homeostat topics acls` prints it for kafka-acls.sh, or as JSON for other tools. One principal a role and, for act,
// one an environment: an actuator's credentials read no other environment's commands. No role needs transactions.
// Every role may describe our topics (names, partitions, offsets): clients ask for metadata before they know what they need.

import type { Config } from '../../../schemas/config.ts'
import { commandsTopic, deadLetterTopic, TOPICS } from '../../../schemas/topics.ts'

/** Consumer groups by the role that joins them; act has one per environment. */
export const ROLE_GROUPS: Readonly<Record<string, readonly string[]>> = {
  intake: ['homeostat-intake'],
  detect: ['homeostat-detect'],
  control: ['homeostat-diagnose', 'homeostat-decide', 'homeostat-canary'],
  store: ['homeostat-store']
}
const TOPIC_PREFIX = 'homeostat.'
const GROUP_PREFIX = 'homeostat-'
/** Principals with the roles that their processes run: train has no process of its own. */
const PROCESSES: Readonly<Record<string, readonly string[]>> = {
  intake: ['intake'],
  detect: ['detect'],
  control: ['control'],
  store: ['store'],
  console: ['console', 'train']
}
const ADMIN_OPERATIONS = ['Create', 'Describe', 'DescribeConfigs', 'Alter', 'AlterConfigs'] as const
const CLUSTER = { resource: 'cluster', name: 'kafka-cluster', pattern: 'literal' } as const

export type AclOperation = 'Read' | 'Write' | 'Describe' | 'Create' | 'Delete' | 'Alter' | 'AlterConfigs' | 'DescribeConfigs' | 'IdempotentWrite'

/** One principal's rights on one resource, from any host. */
export interface Acl {
  principal: string
  resource: 'topic' | 'group' | 'cluster'
  /** Topic, group, or beginning of their names; `kafka-cluster` for the cluster. */
  name: string
  pattern: 'literal' | 'prefixed'
  operations: readonly AclOperation[]
}

export interface AclOptions {
  /** Before the name of the role: `User:homeostat-` gives `User:homeostat-detect`, `User:homeostat-act-prod`. */
  principalPrefix: string
  /** Environments that have an actuator. */
  environments: readonly string[]
  /** `intake.topics` of the configuration: what Collectors write. */
  collectorTopics: Config['intake']['topics']
}

/**
 * Rights of every principal: `intake`, `detect`, `control`, `store`, `console` (with train), `act-<environment>`, `collector` (its kafka
 * exporter), `cli` (people: kill switch, dead letters) and `admin` (`homeostat topics apply`).
 * @returns in a steady order, one entry per principal and resource
 */
export function kafkaAcls(options: AclOptions): Acl[] {
  const foreign = (['metrics', 'spans', 'logs'] as const).map(signal => options.collectorTopics[signal].topic)
  const principal = (name: string): string => `${options.principalPrefix}${name}`
  const roles = Object.entries(PROCESSES).flatMap(([name, runs]) => runs.flatMap(role => roleAcls(principal(name), role, options.environments, foreign)))
  const actuators = options.environments.flatMap(environment => roleAcls(principal(`act-${environment}`), 'act', [environment], foreign))
  return merged([...roles, ...actuators, ...peopleAcls(options, foreign)])
}

/** `kafka-acls.sh` command lines, one per entry; connection flags are the caller's: `"$@"` where these lines are a script. */
export function aclCommands(acls: readonly Acl[]): string[] {
  return acls.map(({ principal, resource, name, pattern, operations }) => {
    const target = resource === 'cluster' ? '--cluster' : `--${resource} '${name}' --resource-pattern-type ${pattern}`
    return `kafka-acls.sh "$@" --add --force --allow-principal '${principal}' ${target} ${operations.map(operation => `--operation ${operation}`).join(' ')}`
  })
}

/** What `role` (in one environment, where it is act) reads, writes and joins; the dead letters of what it reads in a group included. */
function roleAcls(principal: string, role: string, environments: readonly string[], foreign: readonly string[]): Acl[] {
  const groups = role === 'act' ? environments.map(environment => `${GROUP_PREFIX}act-${environment}`) : (ROLE_GROUPS[role] ?? [])
  const reads = [...topicsOf('readers', role, environments), ...(role === 'intake' ? foreign : [])]
  const writes = [...topicsOf('writer', role, environments), ...(groups.length > 0 ? reads.map(deadLetterTopic) : [])]
  return [
    ...common(principal),
    ...reads.map((name): Acl => ({ principal, resource: 'topic', name, pattern: 'literal', operations: ['Read'] })),
    ...writes.map((name): Acl => ({ principal, resource: 'topic', name, pattern: 'literal', operations: ['Write'] })),
    ...groups.map((name): Acl => ({ principal, resource: 'group', name, pattern: 'literal', operations: ['Read'] })),
    // The console shows how far behind every group is.
    ...(role === 'console' ? [describeGroups(principal)] : [])
  ]
}

function peopleAcls({ principalPrefix }: AclOptions, foreign: readonly string[]): Acl[] {
  const [collector, cli, admin] = ['collector', 'cli', 'admin'].map(name => `${principalPrefix}${name}`) as [string, string, string]
  const ours = { resource: 'topic', name: TOPIC_PREFIX, pattern: 'prefixed' } as const
  const topic = (principal: string, name: string, operations: readonly AclOperation[]): Acl => ({
    principal,
    resource: 'topic',
    name,
    pattern: 'literal',
    operations
  })
  return [
    ...foreign.map(name => topic(collector, name, ['Write'])),
    { principal: collector, ...CLUSTER, operations: ['IdempotentWrite'] },
    ...common(cli),
    // `dlq redrive` reads dead letters and writes them back where they came from; `kill` writes the control topic.
    { principal: cli, ...ours, operations: ['Read', 'Write'] },
    ...foreign.flatMap(name => [topic(cli, name, ['Write']), topic(cli, deadLetterTopic(name), ['Read', 'Write'])]),
    describeGroups(cli),
    { principal: admin, ...ours, operations: ADMIN_OPERATIONS },
    ...foreign.flatMap(name => [topic(admin, name, ADMIN_OPERATIONS), topic(admin, deadLetterTopic(name), ADMIN_OPERATIONS)]),
    { principal: admin, ...CLUSTER, operations: ['Describe'] }
  ]
}

/** Idempotent producing is a right of its own before Kafka 3.0; later ones imply it in Write. */
function common(principal: string): Acl[] {
  return [
    { principal, resource: 'topic', name: TOPIC_PREFIX, pattern: 'prefixed', operations: ['Describe'] },
    { principal, ...CLUSTER, operations: ['IdempotentWrite'] }
  ]
}

function describeGroups(principal: string): Acl {
  return { principal, resource: 'group', name: GROUP_PREFIX, pattern: 'prefixed', operations: ['Describe'] }
}

/** Commands of each environment by name: their common beginning would give the dead letters of one role the commands of another. */
function topicsOf(column: 'writer' | 'readers', role: string, environments: readonly string[]): string[] {
  return Object.values(TOPICS)
    .filter(spec => spec[column].split(', ').includes(role))
    .flatMap(spec => (spec.name === TOPICS.commands.name ? environments.map(commandsTopic) : [spec.name]))
}

/** One entry per principal and resource, its operations together. */
function merged(acls: readonly Acl[]): Acl[] {
  const byResource = new Map<string, Acl>()
  for (const acl of acls) {
    const key = [acl.principal, acl.resource, acl.pattern, acl.name].join(' ')
    const operations = [...(byResource.get(key)?.operations ?? []), ...acl.operations]
    byResource.set(key, { ...acl, operations: [...new Set(operations)] })
  }
  return [...byResource.values()]
}
