// What is in the log of a world, indexed as it is appended: the checkers' own knowledge, read from bytes and not from the code
// under test.

import { derivedId } from '../../schemas/ids.ts'
import type { Command } from '../../schemas/command.ts'
import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { Execution } from '../../schemas/execution.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { Position } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

export interface KnownCommand {
  command: Command
  text: string
  /** World time of its first append. */
  atMs: number
  /** World time of its outcome's first append. */
  endedAtMs: number | undefined
}

export interface Said {
  control: Control
  atMs: number
  offset: number
}

export class Facts {
  readonly anomalies = new Set<string>()
  /** Incident → its newest record. */
  readonly incidents = new Map<string, Incident>()
  /** Incident → world time of that record. */
  readonly incidentAtMs = new Map<string, number>()
  readonly decisions = new Map<string, Decision>()
  readonly commands = new Map<string, KnownCommand>()
  /** Idempotency key of an act or its undo → command. */
  readonly byKey = new Map<string, KnownCommand>()
  /** Command → outcome id → its text. */
  readonly outcomes = new Map<string, Map<string, string>>()
  /** Command → the ledger that claimed it first. */
  readonly claims = new Map<string, string>()
  readonly outcomeList: Outcome[] = []
  readonly said: Said[] = []
  /** Topic → the JSON of all its records in order; of the commands those that nobody forged. Each topic has one partition here. */
  readonly records = new Map<string, unknown[]>()

  /** @param json the record's value, and its text: none of the forger's */
  take(topic: string, json: unknown, text: string, position: Position, nowMs: number): void {
    const records = this.records.get(topic) ?? []
    this.records.set(topic, records)
    records.push(json)
    switch (topic) {
      case TOPICS.anomalies.name:
        this.anomalies.add((json as { id: string }).id)
        break
      case TOPICS.incidents.name: {
        const incident = json as Incident
        const known = this.incidents.get(incident.id)
        if (known !== undefined && known.version >= incident.version) break
        this.incidents.set(incident.id, incident)
        this.incidentAtMs.set(incident.id, nowMs)
        break
      }
      case TOPICS.decisions.name: {
        const decision = json as Decision
        this.decisions.set(decision.id, decision)
        break
      }
      case TOPICS.executions.name: {
        const { commandId, ledgerId } = json as Execution
        if (!this.claims.has(commandId)) this.claims.set(commandId, ledgerId)
        break
      }
      case TOPICS.outcomes.name:
        this.#outcome(json as Outcome, nowMs)
        break
      case TOPICS.control.name:
        this.said.push({ control: json as Control, atMs: nowMs, offset: position.offset })
        break
      default:
        if (isOrder(topic)) this.#command(json as Command, text, nowMs)
    }
  }

  #command(command: Command, text: string, nowMs: number): void {
    if (this.commands.has(command.id)) return
    const made: KnownCommand = { command, text, atMs: nowMs, endedAtMs: undefined }
    this.commands.set(command.id, made)
    for (const { idempotencyKey } of command.steps) {
      this.byKey.set(idempotencyKey, made)
      this.byKey.set(derivedId('undo', idempotencyKey), made)
    }
  }

  #outcome(outcome: Outcome, nowMs: number): void {
    this.outcomeList.push(outcome)
    // What nobody vouches for has outcomes of its own, by the record's place.
    if (outcome.id !== derivedId('outcome', outcome.commandId)) return
    const texts = this.outcomes.get(outcome.commandId) ?? new Map<string, string>()
    this.outcomes.set(outcome.commandId, texts)
    const known = this.commands.get(outcome.commandId)
    if (known !== undefined) known.endedAtMs ??= nowMs
  }
}

/** Whether it is a topic of commands, and not of their dead letters. */
export function isOrder(topic: string): boolean {
  return topic.startsWith('homeostat.commands.') && !topic.endsWith('.dlq')
}

/** Who appends commands that nobody may obey. */
export const FORGER = 'forger'
