// Control: what people say to the running system. Compacted by kind and subject.

import { z } from 'zod'
import type { RecordType } from './envelope.ts'

const common = { atMs: z.number(), by: z.string() }

export const controlSchema = z.discriminatedUnion('kind', [
  /** `scope`: `global`, `environment/<name>` or `policy/<name>`. */
  z.object({ kind: z.literal('kill_switch'), scope: z.string(), on: z.boolean(), reason: z.string(), ...common }),
  z.object({ kind: z.literal('approval'), incidentId: z.string(), decisionId: z.string(), approved: z.boolean(), ...common }),
  z.object({ kind: z.literal('maintenance'), id: z.string(), match: z.string(), fromMs: z.number(), toMs: z.number(), ...common }),
  z.object({ kind: z.literal('label'), anomalyId: z.string(), label: z.enum(['true_positive', 'false_positive']), note: z.string(), ...common }),
  z.object({ kind: z.literal('release_target'), target: z.string(), ...common })
])
export type Control = z.infer<typeof controlSchema>

/** Scopes of the kill switch. */
export const KILL_SCOPE = /^(global|environment\/[\w-]+|policy\/[\w-]+)$/

/** What the record speaks of; the last record a subject holds. */
export function controlSubject(record: Control): string {
  switch (record.kind) {
    case 'kill_switch':
      return record.scope
    case 'approval':
      return `${record.decisionId}/${record.by}`
    case 'maintenance':
      return record.id
    case 'label':
      return record.anomalyId
    case 'release_target':
      return record.target
  }
}

export const controlRecord: RecordType<Control> = {
  type: 'homeostat.control.v1',
  schema: controlSchema,
  id: record => `${record.kind}/${controlSubject(record)}@${record.atMs}`,
  key: record => `${record.kind}/${controlSubject(record)}`,
  atMs: record => record.atMs
}
