// Invariants 10 and 21: a checkpoint is what the log up to its positions says, and what was learned counts each execution once.
//
// Time and the interleaving of topics are in no log, so a whole state cannot be computed from records alone; what can is folded here
// from the beginning, by other code, and compared: people's words, the versions of open incidents, the verdicts of commands, what
// was learned from them; members of open incidents. Whatever is restored must besides be the last that was saved, byte for byte.

import type { Control } from '../../schemas/control.ts'
import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { Checkpoint } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

const RULE = '10 checkpoint consistency'
const decoder = new TextDecoder()

/** Of decide's state, as far as the log says it. */
interface Decided {
  killSwitches: Record<string, unknown>
  maintenance: Record<string, unknown>
  approvals: Record<string, { by: string }[]>
  watches: Record<string, { incident: Incident }>
  targets: Record<string, { attempts: { commandId: string; runbook: string; signature: string; verdict: string | null }[] }>
  learned: Record<string, { successes: number; failures: number }>
}
interface Diagnosed {
  open: { incident: Incident }[]
}

export class CheckpointWitness {
  readonly #records: (topic: string) => readonly unknown[]
  readonly #fail: (invariant: string, detail: string) => void
  readonly #wasExecuted: (commandId: string) => boolean
  /** Name → what was saved since the last save that was acknowledged, that one first. */
  readonly #saved = new Map<string, Checkpoint[]>()
  readonly #last = new Map<string, Checkpoint>()

  constructor(options: {
    /** All records of a topic of one partition, as JSON. */
    records: (topic: string) => readonly unknown[]
    fail: (invariant: string, detail: string) => void
    /** Whether some ledger took the command. */
    wasExecuted: (commandId: string) => boolean
  }) {
    this.#records = options.records
    this.#fail = options.fail
    this.#wasExecuted = options.wasExecuted
  }

  onSaving(name: string, checkpoint: Checkpoint): void {
    this.#saved.set(name, [...(this.#saved.get(name) ?? []), checkpoint])
  }

  /** The save was acknowledged: nothing older may be restored from now on. */
  onSaved(name: string, checkpoint: Checkpoint): void {
    const saved = this.#saved.get(name)!
    const place = saved.indexOf(checkpoint)
    if (place < 0) return // Who was stopped between writing and being told of it is told when a successor has saved long since.
    this.#last.set(name, checkpoint)
    this.#saved.set(name, saved.slice(place))
  }

  /** What may be restored now: the last acknowledged save and those that are under way. */
  restorable(name: string): readonly Checkpoint[] {
    return this.#saved.get(name) ?? []
  }

  /** @param before what could be restored when it was asked for: who is stopped before the answer comes is an owner no more, and finds out */
  onRestored(name: string, checkpoint: Checkpoint, before: readonly Checkpoint[]): void {
    if (![...before, ...this.restorable(name)].some(saved => isSame(saved, checkpoint))) this.#fail(RULE, `${name} was restored from what is not its last save`)
    this.#look(name, checkpoint)
  }

  /** Looks at what each name was last saved as. */
  atEnd(): void {
    for (const [name, checkpoint] of this.#last) this.#look(name, checkpoint)
  }

  /** Holds the state against the log up to its positions. */
  #look(name: string, checkpoint: Checkpoint): void {
    const { inner } = JSON.parse(decoder.decode(checkpoint.parts.get('state'))) as { inner: unknown }
    const upTo = <T>(topic: string): T[] => {
      const end = checkpoint.positions.find(position => position.topic === topic)?.offset ?? 0
      return this.#records(topic).slice(0, end) as T[]
    }
    if (name === 'diagnose') this.#diagnosed(inner as Diagnosed, upTo(TOPICS.anomalies.name))
    else this.#decided(inner as Decided, upTo(TOPICS.control.name), upTo(TOPICS.incidents.name), upTo(TOPICS.outcomes.name))
  }

  #decided(state: Decided, words: readonly Control[], incidents: readonly Incident[], outcomes: readonly Outcome[]): void {
    const switches: Record<string, unknown> = {}
    const maintenance: Record<string, unknown> = {}
    const approvals: Record<string, { by: string }[]> = {}
    for (const word of words) {
      if (word.kind === 'kill_switch') switches[word.scope] = word
      if (word.kind === 'maintenance') maintenance[word.id] = word
      if (word.kind === 'approval') approvals[word.decisionId] = [...(approvals[word.decisionId] ?? []).filter(({ by }) => by !== word.by), word]
    }
    this.#same('kill switches', state.killSwitches, switches)
    this.#same('maintenance', state.maintenance, maintenance)
    this.#same('approvals', state.approvals, approvals)
    const newest = new Map<string, Incident>()
    for (const incident of incidents) if ((newest.get(incident.id)?.version ?? 0) < incident.version) newest.set(incident.id, incident)
    const open = [...newest.values()].filter(({ status }) => status !== 'resolved')
    this.#same('open incidents', versions(Object.values(state.watches).map(watch => watch.incident)), versions(open))
    this.#learned(state, outcomes)
  }

  #learned({ targets, learned }: Decided, outcomes: readonly Outcome[]): void {
    const attempts = new Map(Object.values(targets).flatMap(target => target.attempts.map(attempt => [attempt.commandId, attempt] as const)))
    const counts: Decided['learned'] = {}
    const seen = new Set<string>()
    for (const { commandId, verdict, runbook } of outcomes) {
      const attempt = attempts.get(commandId)
      if (attempt === undefined || seen.has(commandId)) continue // Not ours to learn from, or published again.
      seen.add(commandId)
      if (attempt.verdict !== verdict) this.#fail(RULE, `command ${commandId} ended ${verdict} and is remembered as ${attempt.verdict}`)
      if (verdict !== 'healed' && verdict !== 'partial' && verdict !== 'ineffective' && verdict !== 'harmful') continue
      if (!this.#wasExecuted(commandId)) this.#fail('21 learning data', `command ${commandId} was learned from, and no ledger has it`)
      const subject = `${runbook}|${attempt.signature}`
      const count = counts[subject] ?? { successes: 0, failures: 0 }
      counts[subject] = count
      if (verdict === 'healed') count.successes++
      else count.failures++
    }
    this.#same('what was learned', learned, counts, '21 learning data')
  }

  #diagnosed({ open }: Diagnosed, anomalies: readonly Anomaly[]): void {
    const opened = new Set(anomalies.flatMap(({ id, status }) => (status === 'open' ? [id] : [])))
    const closed = new Set(anomalies.flatMap(({ id, status }) => (status === 'close' ? [id] : [])))
    const members = open.flatMap(({ incident }) => incident.members)
    const openMembers = members.filter(({ closedAtMs }) => closedAtMs === null).map(({ anomalyId }) => anomalyId)
    if (new Set(openMembers).size < openMembers.length) this.#fail(RULE, 'an anomaly is open in two incidents')
    this.#same('open anomalies', openMembers.sort(), [...opened].filter(id => !closed.has(id)).sort())
  }

  #same(what: string, found: unknown, wanted: unknown, rule = RULE): void {
    const [a, b] = [canonical(found), canonical(wanted)]
    if (a !== b) this.#fail(rule, `${what}: the checkpoint has ${a}, the log says ${b}`)
  }
}

function isSame(a: Checkpoint, b: Checkpoint): boolean {
  return Buffer.compare(a.parts.get('state')!, b.parts.get('state')!) === 0 && canonical(a.positions) === canonical(b.positions)
}

function versions(incidents: readonly Incident[]): Record<string, number> {
  return Object.fromEntries(incidents.map(({ id, version }) => [id, version]))
}

/** JSON with keys in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  )
}
