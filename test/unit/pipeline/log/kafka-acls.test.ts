// Access rights on the cluster: what the code touches is allowed, and what a role has no business with is not.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DETECT_GROUP } from '../../../../detectors/worker.ts'
import { type AclOperation, aclCommands, kafkaAcls, ROLE_GROUPS } from '../../../../pipeline/log/kafka/acls.ts'
import { GROUP as STORE_GROUP } from '../../../../pipeline/store/flush-writer.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { commandsTopic, deadLetterTopic, TOPICS, type TopicId } from '../../../../schemas/topics.ts'

const ROOT = join(import.meta.dirname, '../../../..')
const collectorTopics = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).intake.topics
const acls = kafkaAcls({ principalPrefix: 'User:homeostat-', environments: ['prod', 'staging'], collectorTopics })

const may = (who: string, operation: AclOperation, resource: 'topic' | 'group', name: string): boolean =>
  acls.some(
    acl =>
      acl.principal === `User:homeostat-${who}` &&
      acl.resource === resource &&
      (acl.pattern === 'literal' ? acl.name === name : name.startsWith(acl.name)) &&
      acl.operations.includes(operation)
  )

/** Folders and files by the principals whose processes run them; the first match holds. */
/** Place, whose process runs it, and what it does with topics other than reading and writing. */
const PRINCIPALS: readonly (readonly [string, readonly string[], AclOperation?])[] = [
  ['detectors/canary/', ['control']],
  ['detectors/diagnose/', ['control']],
  ['detectors/', ['detect']],
  ['actuators/decide/', ['control']],
  ['actuators/execute/', ['act-prod']],
  ['pipeline/intake/', ['intake']],
  ['pipeline/store/', ['store']],
  ['pipeline/console/', ['console']],
  ['pipeline/cli/', ['cli']],
  ['pipeline/roles/live-models.ts', ['detect']],
  ['pipeline/roles/train-role.ts', ['console']],
  ['pipeline/roles/detectors.ts', ['console'], 'Describe'], // Names the checkpoints of its partitions.
  ['pipeline/log/checkpoint-store.ts', ['detect', 'control']]
]

/** Every mention of a topic in the code: where, which, and whether the line writes it. */
function mentions(): { file: string; topic: string; writes: boolean }[] {
  const files = ['pipeline', 'detectors', 'actuators', 'models'].flatMap(folder =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.ts'))
      .map(file => `${folder}/${file}`)
  )
  return files.flatMap(file =>
    readFileSync(join(ROOT, file), 'utf8')
      .split(/\n(?! {4,}TOPICS\.)/) // A call broken over lines is one mention.
      .flatMap(line =>
        [...line.matchAll(/TOPICS\.(\w+)\.name\b/g)].map(match => ({
          file,
          topic: TOPICS[match[1] as TopicId].name,
          writes: /append\(|outbox\.put\(|kind: 'publish'/.test(line)
        }))
      )
  )
}

describe('what the code does with topics', () => {
  const found = mentions().filter(({ file }) => !/^pipeline\/(log\/kafka\/|roles\/log\.ts)/.test(file)) // Beneath the port: they serve whatever a role asks for.

  test('is found by this test', () => {
    expect(found.filter(({ writes }) => writes).length).toBeGreaterThan(7)
    expect(found.filter(({ writes }) => !writes).length).toBeGreaterThan(20)
  })

  test.each(found)('$file: $topic, writes: $writes', ({ file, topic, writes }) => {
    const [, principals, operation = writes ? 'Write' : 'Read'] = PRINCIPALS.find(([place]) => file.startsWith(place)) ?? []
    expect(principals, `${file} uses a topic: say in this test whose process runs it`).toBeDefined()
    for (const who of principals!) expect(may(who, operation, 'topic', topic), `${who} on ${topic}`).toBe(true)
  })

  test('the groups it joins are the groups of its roles', () => {
    const groupsIn = (file: string): string[] =>
      [...readFileSync(join(ROOT, file), 'utf8').matchAll(/(?:GROUP = |group: )'([a-z-]+)'/g)].map(match => match[1]!)
    expect(ROLE_GROUPS).toEqual({
      intake: groupsIn('pipeline/intake/otlp-topics.ts'),
      detect: [DETECT_GROUP],
      control: [...groupsIn('detectors/diagnose/worker.ts'), ...groupsIn('actuators/decide/worker.ts'), ...groupsIn('detectors/canary/worker.ts')],
      store: [STORE_GROUP]
    })
    for (const [role, groups] of Object.entries(ROLE_GROUPS)) for (const group of groups) expect(may(role, 'Read', 'group', group)).toBe(true)
    expect(may('act-prod', 'Read', 'group', 'homeostat-act-prod')).toBe(true)
  })
})

describe('least rights', () => {
  const roles = ['intake', 'detect', 'control', 'store', 'console', 'act-prod', 'act-staging', 'collector']

  test('commands are written by control alone, and read by the actuator of their environment, not by another', () => {
    const prod = commandsTopic('prod')
    expect(roles.filter(who => may(who, 'Write', 'topic', prod))).toEqual(['control'])
    expect(roles.filter(who => may(who, 'Read', 'topic', prod))).toEqual(['control', 'store', 'act-prod'])
    expect(may('act-prod', 'Read', 'group', 'homeostat-act-staging')).toBe(false)
  })

  test('who reads in a group may set aside what it cannot use, and only that', () => {
    expect(may('store', 'Write', 'topic', deadLetterTopic(commandsTopic('staging')))).toBe(true)
    expect(may('detect', 'Write', 'topic', deadLetterTopic(TOPICS.metrics.name))).toBe(true)
    expect(may('intake', 'Write', 'topic', 'otlp_metrics.dlq')).toBe(true)
    expect(may('detect', 'Write', 'topic', deadLetterTopic(TOPICS.outcomes.name))).toBe(false)
    expect(may('console', 'Write', 'topic', deadLetterTopic(TOPICS.incidents.name))).toBe(false)
  })

  test('nobody but admin makes or changes topics; nobody deletes one', () => {
    const changes = acls.filter(({ operations }) => operations.some(operation => ['Create', 'Alter', 'AlterConfigs'].includes(operation)))
    expect(new Set(changes.map(({ principal }) => principal))).toEqual(new Set(['User:homeostat-admin']))
    expect(acls.some(({ operations }) => operations.includes('Delete'))).toBe(false)
    expect(may('admin', 'Read', 'topic', TOPICS.metrics.name)).toBe(false)
  })

  test('a Collector writes its three topics and reads nothing', () => {
    expect(acls.filter(({ principal, resource }) => principal === 'User:homeostat-collector' && resource === 'topic')).toEqual(
      ['otlp_metrics', 'otlp_spans', 'otlp_logs'].map(name => expect.objectContaining({ name, pattern: 'literal', operations: ['Write'] }))
    )
  })

  test('each principal and resource has one entry, and every entry one command line', () => {
    const keys = acls.map(({ principal, resource, name, pattern }) => `${principal} ${resource} ${pattern} ${name}`)
    expect(new Set(keys).size).toBe(keys.length)
    const lines = aclCommands(acls)
    expect(lines).toHaveLength(acls.length)
    expect(lines).toContain(
      `kafka-acls.sh "$@" --add --force --allow-principal 'User:homeostat-act-prod' --topic 'homeostat.commands.prod.v1' --resource-pattern-type literal --operation Read`
    )
    expect(lines).toContain(`kafka-acls.sh "$@" --add --force --allow-principal 'User:homeostat-detect' --cluster --operation IdempotentWrite`)
  })
})
