// Pages that are generated from code say what the code says. `UPDATE_DOCS=1 npm test` writes them anew.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { anomalyRecord } from '../../../schemas/anomaly.ts'
import { canaryRecord } from '../../../schemas/canary.ts'
import { commandRecord } from '../../../schemas/command.ts'
import { configSchema } from '../../../schemas/config.ts'
import { controlRecord } from '../../../schemas/control.ts'
import { decisionRecord } from '../../../schemas/decision.ts'
import { ERROR_CODES } from '../../../schemas/errors.ts'
import { executionRecord } from '../../../schemas/execution.ts'
import { incidentRecord } from '../../../schemas/incident.ts'
import { modelRecord } from '../../../schemas/model.ts'
import { outcomeRecord } from '../../../schemas/outcome.ts'
import { policyTestSchema } from '../../../schemas/policy-test.ts'
import { policySchema, runbookSchema } from '../../../schemas/runbook.ts'
import { COLLECTOR_TOPICS, TOPICS } from '../../../schemas/topics.ts'
import { versionWindowRecord } from '../../../schemas/version-window.ts'
import { edgeRecord, instanceRecord } from '../../../schemas/topology.ts'
import { schemaReference } from '../../support/schema-reference.ts'

const ROOT = join(import.meta.dirname, '../../..')
const RECORDS = [
  anomalyRecord,
  incidentRecord,
  decisionRecord,
  commandRecord,
  executionRecord,
  outcomeRecord,
  controlRecord,
  modelRecord,
  edgeRecord,
  instanceRecord,
  canaryRecord,
  versionWindowRecord
]

function agrees(file: string, text: string): void {
  const path = join(ROOT, file)
  if (process.env.UPDATE_DOCS) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  expect(readFileSync(path, 'utf8')).toBe(text)
}

const jsonSchema = (schema: z.ZodType, io: 'input' | 'output', id: string): string =>
  `${JSON.stringify({ $id: id, ...(z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as object) }, null, 2)}\n`

describe('generated pages', () => {
  it('infra/docs/errors.md lists every error code with its meaning and what to do', () => {
    const rows = Object.entries(ERROR_CODES).map(
      ([code, { retriable, meaning, action }]) => `| \`${code}\` | ${retriable ? 'yes' : 'no'} | ${meaning} | ${action} |`
    )
    agrees(
      'infra/docs/errors.md',
      `# Errors\n\nGenerated from \`schemas/errors.ts\`.\n\n| code | passes by itself | meaning | what to do |\n|---|---|---|---|\n${rows.join('\n')}\n`
    )
  })

  it('infra/docs/topics.md lists every topic', () => {
    const rows = [...Object.values(TOPICS), ...Object.values(COLLECTOR_TOPICS)].map(
      topic =>
        `| \`${topic.name}\` | ${topic.key} | ${topic.codec} | ${topic.partitions} | ${topic.cleanup}, ${topic.retentionMs / 86_400_000} d, ${topic.retentionBytes / 2 ** 30} GiB | ${topic.writer} | ${topic.readers} |`
    )
    agrees(
      'infra/docs/topics.md',
      `# Topics\n\nGenerated from \`schemas/topics.ts\`. Beside each: \`<topic>.dlq\`. How they are made and kept on a cluster: [kafka-topics.md](kafka-topics.md).\n\n| topic | key | codec | partitions | kept | writer | readers |\n|---|---|---|---|---|---|---|\n${rows.join('\n')}\n`
    )
  })

  it.each(RECORDS)('infra/docs/json-schema holds the schema of $type', ({ type, schema }) => {
    agrees(`infra/docs/json-schema/${type}.json`, jsonSchema(schema as z.ZodType, 'output', type))
  })

  it.each([
    ['config', configSchema],
    ['policy', policySchema],
    ['runbook', runbookSchema],
    ['policy-test', policyTestSchema]
  ] as const)('infra/docs/json-schema holds what editors need for %s files', (name, schema) => {
    agrees(`infra/docs/json-schema/${name}.json`, jsonSchema(schema, 'input', `homeostat.io/v1/${name}`))
  })

  it('infra/docs/policies.md explains every key of policies, runbooks and their tests', () => {
    const file = 'infra/docs/policies.md'
    const kinds = { policy: policySchema, runbook: runbookSchema, 'policy-test': policyTestSchema }
    const section = /(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)/gs
    const page = readFileSync(join(ROOT, file), 'utf8')
    const written = page.replaceAll(section, (_, begin: string, kind: keyof typeof kinds, end: string) => `${begin}\n${schemaReference(kinds[kind])}\n\n${end}`)
    expect([...page.matchAll(section)].map(match => match[2])).toEqual(Object.keys(kinds))
    expect(written).not.toMatch(/\| {2}\|$/m) // A key without a meaning.
    agrees(file, written)
  })
})
