// The access rights on a real broker with its own authorizer: each principal is asked, over its own connection, what it may do.
//
// A broker of its own, since the shared one knows no principals. The broker answers a Metadata request with what the asker may do on
// each topic (KIP-430); that is compared with the rights that were meant, topic by topic.

import { spawnSync } from 'node:child_process'
import { Connection, metadataV12 } from '@platformatic/kafka'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Acl, aclCommands, kafkaAcls } from '../../pipeline/log/kafka/acls.ts'
import type { KafkaClient } from '../../pipeline/log/kafka/kafka-client.ts'
import { KafkaLog } from '../../pipeline/log/kafka/kafka-log.ts'
import { kafkajsClient } from '../../pipeline/log/kafka/kafkajs-client.ts'
import { platformaticClient } from '../../pipeline/log/kafka/platformatic-client.ts'
import { systemClock } from '../../pipeline/system.ts'
import { configSchema } from '../../schemas/config.ts'
import { COLLECTOR_TOPICS, commandsTopic, deadLetterTopic, TOPICS } from '../../schemas/topics.ts'
import { type KafkaBroker, kafkaJars, kafkaSkipReason, startKafka } from '../support/kafka-broker.ts'
import { aBatch, aMember, fetchAll, kafkaOptions, shared } from '../support/kafka-tools.ts'
import { eventually } from '../support/log-tools.ts'
import { type LossyProxy, lossyProxy } from '../support/lossy-proxy.ts'
import { rawKafka } from '../support/raw-kafka.ts'

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
  let way: LossyProxy // Nothing is lost on it here: it stands where clients of the listener with names are told to go.

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
    way = await lossyProxy(broker)
    const admin = rawKafka(broker.brokers, { retry: { retries: 20 } }).admin()
    await admin.connect()
    await admin.createTopics({ topics: topics.map(topic => ({ topic, numPartitions: 1, replicationFactor: 1 })), waitForLeaders: true })
    await admin.createAcls({ acl: acls.flatMap(kafkajsAcls) })
    await admin.disconnect()
  })
  afterAll(async () => {
    await way?.close()
    await broker?.stop()
  })

  test.each(PEOPLE)('%s may do on every topic what was meant, and nothing else', async name => {
    const meant = new Map(topics.map(topic => [topic, meantOperations(name, topic)] as const).filter(([, operations]) => operations.length > 0))
    await expect.poll(async () => Object.fromEntries(await operationsOf(broker, name))).toEqual(Object.fromEntries(meant))
    expect(meant.size).toBeGreaterThan(0)
  })

  test.each([
    ['kafkajs', kafkajsClient],
    ['platformatic', platformaticClient]
  ])('%s does the work of its role with them: writes, joins, reads, commits, looks at the lag', async (library, make) => {
    const as = (username: string): KafkaClient =>
      make(kafkaOptions(way.brokers, { instance: `${library}-${username}`, sasl: { mechanism: 'plain', username, password: PASSWORD } }))
    const metrics = TOPICS.metrics.name
    const producer = await as('intake').openProducer()
    await producer.send([aBatch(metrics, 0, [library])])
    const { member, ...joined } = await aMember(as('detect'), { group: 'homeostat-detect', topics: [metrics], instance: `${library}-detect` })
    await shared([{ member, ...joined }], 1)
    const fetcher = await as('detect').openFetcher()
    const { next } = await fetchAll(fetcher, metrics)
    expect(await member.commit(joined.generation(), [{ topic: metrics, partition: 0, offset: next }])).toBe(true)
    const admin = await as('console').openAdmin()
    await eventually('the console sees the group', async () => (await admin.groups('homeostat-')).includes('homeostat-detect'))
    expect(await admin.committed('homeostat-detect', [metrics])).toEqual([{ topic: metrics, partition: 0, offset: next }])
    expect(await admin.offsets(metrics)).toEqual([{ partition: 0, start: 0, end: next }])
    await member.leave(true)
    for (const one of [admin, fetcher, producer]) await one.close()
  })

  test.each([
    ['kafkajs', kafkajsClient],
    ['platformatic', platformaticClient]
  ])('the log opens for every role over %s, and tells of the groups that the role may see', async (library, make) => {
    for (const username of ['intake', 'detect', 'control', 'store', 'console', 'act-prod']) {
      const options = kafkaOptions(way.brokers, { instance: `${library}-${username}`, sasl: { mechanism: 'plain', username, password: PASSWORD } })
      const log = await KafkaLog.open({
        ...options,
        client: make(options),
        topics: names.filter(name => name.startsWith('homeostat.')),
        clock: systemClock,
        groupCommitMs: 2
      })
      expect(log.partitions(TOPICS.incidents.name), username).toBe(1)
      const groups = new Set((await log.groups()).map(({ group }) => group))
      expect([...groups], username).toEqual(['detect', 'console'].includes(username) ? ['homeostat-detect'] : [])
      await log.close()
    }
  })

  test('kafka-acls.sh understands the printed lines: several operations on a topic, one on the cluster', () => {
    const lines = aclCommands(acls)
    const samples = [/--topic 'homeostat\.executions.* --operation Write/, /--cluster/].map(kind => lines.find(line => kind.test(line))!)
    const script = `kafka-acls.sh() { java -XX:TieredStopAtLevel=1 -cp "$TOOLS/*" org.apache.kafka.tools.AclCommand "$@" || exit 1; }\n${samples.join('\n')}\n`
    const { status, stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', '--bootstrap-server', broker.brokers[0]!], {
      encoding: 'utf8',
      env: { ...process.env, TOOLS: kafkaJars('tools') }
    })
    expect(status, stderr).toBe(0)
    // It finds all three in place: the lines say what was applied from the same entries.
    expect(stdout.trim().split('\n')).toEqual([1, 2, 3].map(() => expect.stringMatching(/^Acl .* already exists\.$/)))
  }, 120_000)
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
