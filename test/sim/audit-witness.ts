// Invariant 18: every decision, command and outcome that the product publishes is in an audit chain, and every chain holds from its
// first record on, whatever died, was replaced or published again meanwhile.

import { auditRow, type AuditRow } from '../../schemas/audit.ts'
import { auditVerifier } from '../../schemas/audit-verify.ts'
import type { LogRecordInput } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { FORGER } from './facts.ts'

const RULE = '18 audit chain'
const COMMANDS = TOPICS.commands.name.slice(0, TOPICS.commands.name.indexOf('{'))

export class AuditWitness {
  readonly #rows: AuditRow[] = []
  readonly #fail: (invariant: string, detail: string) => void

  constructor(fail: (invariant: string, detail: string) => void) {
    this.#fail = fail
  }

  onAppend(topic: string, { key, value, headers = {} }: LogRecordInput, by: string): void {
    const isChained = topic === TOPICS.decisions.name || topic === TOPICS.outcomes.name || (topic.startsWith(COMMANDS) && !topic.endsWith('.dlq'))
    if (!isChained || by === FORGER) return
    const row = auditRow({ key, value, headers })
    if (row === undefined) this.#fail(RULE, `${headers.ce_type} ${headers.ce_id} of ${by} is in no chain`)
    else this.#rows.push(row)
  }

  atEnd(): void {
    const verifier = auditVerifier({ anchors: [], fromBeginning: true })
    for (const row of this.#rows.toSorted((a, b) => (a.chain === b.chain ? a.seq - b.seq : a.chain < b.chain ? -1 : 1))) verifier.take(row)
    for (const { chain, seq, fault, detail } of verifier.end().findings.slice(0, 3)) this.#fail(RULE, `${chain} ${seq} ${fault}: ${detail}`)
  }
}
