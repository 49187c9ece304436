// The access rights on a real broker with its own authorizer: each principal is asked, over its own connection, what it may do.
//
// A broker of its own, since the shared one knows no principals. The broker answers a Metadata request with what the asker may do on
// each topic (KIP-430); that is compared with the rights that were meant, topic by topic.

import { spawnSync } from 'node:child_process'
import { Connection, metadataV12 } from '@platformatic/kafka'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, ResourcePatternTypes } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Acl, aclCommands, kafkaAcls } from '../../pipeline/log/kafka/acls.ts'
import { configSchema } from '../../schemas/config.ts'
import { COLLECTOR_TOPICS, commandsTopic, deadLetterTopic, TOPICS } from '../../schemas/topics.ts'
import { type KafkaBroker, kafkaJars, kafkaSkipReason, startKafka } from '../support/kafka-broker.ts'

const skipReason = kafkaSkipReason()
if (skipReason !== undefined) console.warn(`skipped: ${skipReason}`)

const PASSWORD = 'secret'
const PEOPLE = ['intake', 'detect', 'control', 'store', 'console', 'act-prod', 'act-staging', 'collector', 'cli', 'admin']
/** Bits of an answer, by Kafka's numbers of the operations. */
const OPERATION_BITS: Readonly<Record<string, number>> = {
  Read: 3,
  Write: 4,
  Create: 5,
  Delete: 6,
  Alter: 7,
  Describe: 8,
  DescribeConfigs: 10,
  AlterConfigs: 11
}
const collectorTopics = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).intake.topics
const acls = kafkaAcls({ principalPrefix: 'User:', environments: ['prod', 'staging'], collectorTopics })
const names = [...Object.values(TOPICS), ...Object.values(COLLECTOR_TOPICS)].flatMap(({ name }) =>
  name === TOPICS.commands.name ? ['prod', 'staging'].map(commandsTopic) : [name]
)
const topics = [...names, ...names.map(deadLetterTopic), 'somebody.elses']

describe.skipIf(skipReason !== undefined)('Kafka access rights on a real broker', () => {
  let broker: KafkaBroker

  beforeAll(async () => {
    const users = PEOPLE.map(name => `user_${name}="${PASSWORD}"`).join(' ')
    broker = await startKafka({
      settings: {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS', // The listener without names is the test's own hand.
        'allow.everyone.if.no.acl.found': false,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
        'listener.name.proxied.sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.proxied.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${users};`
      }
    })
    const admin = new Kafka({ brokers: broker.brokers, logLevel: 0, retry: { retries: 20 } }).admin()
    await admin.connect()
    await admin.createTopics({ topics: topics.map(topic => ({ topic, numPartitions: 1, replicationFactor: 1 })), waitForLeaders: true })
    await admin.createAcls({ acl: acls.flatMap(kafkajsAcls) })
    await admin.disconnect()
  })
  afterAll(async () => {
    await broker?.stop()
  })

  test.each(PEOPLE)('%s may do on every topic what was meant, and nothing else', async name => {
    const meant = new Map(topics.map(topic => [topic, meantOperations(name, topic)] as const).filter(([, operations]) => operations.length > 0))
    await expect.poll(async () => Object.fromEntries(await operationsOf(broker, name)), { timeout: 10_000 }).toEqual(Object.fromEntries(meant))
    expect(meant.size).toBeGreaterThan(0)
  })

  test('kafka-acls.sh understands the printed lines: a topic, a prefix, a group, the cluster', () => {
    const lines = aclCommands(acls)
    const samples = [/--topic 'homeostat\.control/, /prefixed/, /--group 'homeostat-act-prod'/, /--cluster/].map(kind => lines.find(line => kind.test(line))!)
    const script = `kafka-acls.sh() { java -XX:TieredStopAtLevel=1 -cp "$TOOLS/*" org.apache.kafka.tools.AclCommand "$@" || exit 1; }\n${samples.join('\n')}\n`
    const { status, stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', '--bootstrap-server', broker.brokers[0]!], {
      encoding: 'utf8',
      env: { ...process.env, TOOLS: kafkaJars('tools') }
    })
    expect(status, stderr).toBe(0)
    // It finds every one of them in place: the line says what was applied from the same entry.
    expect(
      stdout
        .trim()
        .split('\n')
        .map(line => /^Acl .* already exists\.$/.test(line)),
      stdout
    ).toEqual(samples.map(() => true))
  }, 60_000)
})

/** What the table of rights says; Kafka adds Describe to whoever reads, writes or alters, DescribeConfigs to who alters configurations. */
function meantOperations(name: string, topic: string): string[] {
  const granted = acls
    .filter(acl => acl.principal === `User:${name}` && acl.resource === 'topic')
    .filter(acl => (acl.pattern === 'literal' ? acl.name === topic : topic.startsWith(acl.name)))
    .flatMap(({ operations }) => operations as readonly string[])
  const implied = granted.some(operation => ['Read', 'Write', 'Alter', 'Delete'].includes(operation)) ? ['Describe'] : []
  return [...new Set([...granted, ...implied])].toSorted()
}

/** What the broker says that the principal may do, by topic; topics that it may not even see are left out. */
async function operationsOf(broker: KafkaBroker, name: string): Promise<Map<string, string[]>> {
  const connection = new Connection('acl-test', { sasl: { mechanism: 'PLAIN', username: name, password: PASSWORD } })
  await connection.connect('127.0.0.1', broker.proxied.port)
  try {
    const answer = await metadataV12.api.async(connection, null, false, true)
    return new Map(
      answer.topics.map(({ name: topic, topicAuthorizedOperations }) => [
        topic!,
        Object.keys(OPERATION_BITS)
          .filter(operation => (topicAuthorizedOperations & (1 << OPERATION_BITS[operation]!)) !== 0)
          .toSorted()
      ])
    )
  } finally {
    await connection.close()
  }
}

function kafkajsAcls({ principal, resource, name, pattern, operations }: Acl) {
  return operations.map(operation => ({
    principal,
    host: '*',
    resourceType: AclResourceTypes[resource.toUpperCase() as 'TOPIC'],
    resourceName: name,
    resourcePatternType: ResourcePatternTypes[pattern.toUpperCase() as 'LITERAL'],
    operation: AclOperationTypes[operation.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase() as 'READ'],
    permissionType: AclPermissionTypes.ALLOW
  }))
}
