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

  /** @param text the record's value. @returns it as JSON, when it is one of these */
  take(topic: string, text: string, position: Position, by: string, nowMs: number): unknown {
    switch (topic) {
      case TOPICS.anomalies.name:
        this.anomalies.add((JSON.parse(text) as { id: string }).id)
        return undefined
      case TOPICS.incidents.name: {
        const incident = JSON.parse(text) as Incident
        const known = this.incidents.get(incident.id)
        if (known === undefined || known.version < incident.version) {
          this.incidents.set(incident.id, incident)
          this.incidentAtMs.set(incident.id, nowMs)
        }
        return incident
      }
      case TOPICS.decisions.name: {
        const decision = JSON.parse(text) as Decision
        this.decisions.set(decision.id, decision)
        return decision
      }
      case TOPICS.executions.name: {
        const { commandId, ledgerId } = JSON.parse(text) as Execution
        if (!this.claims.has(commandId)) this.claims.set(commandId, ledgerId)
        return undefined
      }
      case TOPICS.outcomes.name:
        return this.#outcome(text, nowMs)
      case TOPICS.control.name: {
        const control = JSON.parse(text) as Control
        this.said.push({ control, atMs: nowMs, offset: position.offset })
        return control
      }
      default:
        return topic.startsWith('homeostat.commands.') && !topic.endsWith('.dlq') && by !== FORGER ? this.#command(text, nowMs) : undefined
    }
  }

  #command(text: string, nowMs: number): KnownCommand {
    const command = JSON.parse(text) as Command
    const known = this.commands.get(command.id)
    if (known !== undefined) return known
    const made: KnownCommand = { command, text, atMs: nowMs, endedAtMs: undefined }
    this.commands.set(command.id, made)
    for (const { idempotencyKey } of command.steps) {
      this.byKey.set(idempotencyKey, made)
      this.byKey.set(derivedId('undo', idempotencyKey), made)
    }
    return made
  }

  #outcome(text: string, nowMs: number): Outcome {
    const outcome = JSON.parse(text) as Outcome
    this.outcomeList.push(outcome)
    // What nobody vouches for has outcomes of its own, by the record's place.
    if (outcome.id !== derivedId('outcome', outcome.commandId)) return outcome
    const texts = this.outcomes.get(outcome.commandId) ?? new Map<string, string>()
    this.outcomes.set(outcome.commandId, texts)
    const known = this.commands.get(outcome.commandId)
    if (known !== undefined) known.endedAtMs ??= nowMs
    return outcome
  }
}

/** Who appends commands that nobody may obey. */
export const FORGER = 'forger'
