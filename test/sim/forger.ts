// Commands that nobody may obey: forged, changed, replayed, foreign, expired, of the future, too large, not even JSON.

import type { Command } from '../../schemas/command.ts'
import { commandRecord } from '../../schemas/command.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { LogRecordInput } from '../../schemas/ports.ts'
import { commandsTopic } from '../../schemas/topics.ts'
import { type Checker, ENVIRONMENT } from './checker.ts'
import { FORGER } from './facts.ts'
import type { SimLog } from './sim-log.ts'
import { signer, strangerSigner } from './signing.ts'
import type { Stream } from './streams.ts'
import type { Timeline } from './timeline.ts'

const KINDS = [
  'malformed',
  'future version',
  'too large',
  'stranger',
  'changed',
  'bit',
  'environment',
  'expired',
  'of the future',
  'nonce',
  'replay',
  'forbidden target',
  'same key',
  'old fence'
] as const
const FAR_MS = 10 * 86_400_000 // Farther than any clock here jumps.
type Kind = (typeof KINDS)[number]

export interface ForgerOptions {
  timeline: Timeline
  log: SimLog
  checker: Checker
  random: Stream
  /** 0: nobody forges. */
  weight: number
  /** Whether there is one ledger, and it took this command. */
  isKnownToTheOneLedger: (command: Command) => boolean
}

export class Forger {
  readonly #options: ForgerOptions
  #count = 0
  #isOver = false

  constructor(options: ForgerOptions) {
    this.#options = options
  }

  start(): void {
    const { timeline, random, weight } = this.#options
    if (weight === 0) return
    timeline.after(random.between(400, 4_000) / (0.2 + weight), () => {
      if (this.#isOver) return
      this.#forge(random.pick(KINDS))
      this.start()
    })
  }

  stop(): void {
    this.#isOver = true
  }

  #forge(kind: Kind): void {
    const { commands, incidents } = this.#options.checker.facts
    if (commands.size === 0) return
    // Of an incident that is open, while there is one: what is over would be refused for that already.
    const known = [...commands.values()]
    const open = known.filter(({ command }) => incidents.get(command.incidentId)?.status !== 'resolved')
    const { command, text } = this.#options.random.pick(open.length > 0 ? open : known)
    // Signed by the true key, these are told from true ones by what the one ledger holds.
    if (['nonce', 'same key', 'old fence'].includes(kind) && !this.#options.isKnownToTheOneLedger(command)) return
    const record = this.#record(kind, command, text)
    void this.#options.log.append(commandsTopic(ENVIRONMENT), [record], FORGER)
  }

  #record(kind: Kind, real: Command, text: string): LogRecordInput {
    const { random, timeline } = this.#options
    const nowMs = Math.round(timeline.nowMs)
    const valid = (): LogRecordInput => encodeRecord(commandRecord, real)
    switch (kind) {
      case 'malformed':
        return { ...valid(), value: Buffer.from(text.slice(0, Math.floor(random.next() * text.length))) }
      case 'future version':
        return withType(valid(), 'homeostat.command.v2')
      case 'too large':
        return { ...valid(), value: Buffer.from(JSON.stringify({ ...real, steps: Array.from({ length: 11 }, () => real.steps[0]) })) }
      case 'replay':
        return valid()
      case 'bit': {
        const bytes = Buffer.from(text)
        const at = Math.floor(random.next() * bytes.length)
        bytes[at] = bytes[at]! ^ (1 << Math.floor(random.next() * 7))
        return { ...valid(), value: bytes }
      }
      default:
        return encodeRecord(commandRecord, this.#command(kind, real, nowMs))
    }
  }

  #command(kind: Exclude<Kind, 'malformed' | 'future version' | 'too large' | 'replay' | 'bit'>, real: Command, nowMs: number): Command {
    const { keyId: _keyId, signature, ...base } = this.#fresh(kind, real, nowMs)
    switch (kind) {
      case 'stranger':
        return strangerSigner.sign(base)
      case 'changed':
        return { ...base, keyId: signer.keyId, signature }
      case 'environment':
        return signer.sign({ ...base, environment: 'other' })
      case 'expired':
        return signer.sign({ ...base, issuedAtMs: nowMs - FAR_MS - 100_000, expiresAtMs: nowMs - FAR_MS })
      case 'of the future':
        return signer.sign({ ...base, issuedAtMs: nowMs + FAR_MS, expiresAtMs: nowMs + FAR_MS + 100_000 })
      case 'nonce':
        return signer.sign({ ...base, nonce: real.nonce })
      case 'forbidden target':
        return signer.sign({
          ...base,
          steps: base.steps.map(each => ({ ...each, step: { ...each.step, action: { ...each.step.action, target: 'forbidden' } } }))
        })
      case 'same key':
        return signer.sign({ ...base, steps: real.steps })
      case 'old fence':
        return signer.sign({ ...base, fence: 1 })
    }
  }

  /** The same order under other ids, so that only its fault keeps it from being obeyed. */
  #fresh(kind: Kind, real: Command, nowMs: number): Command {
    const id = derivedId('forged', ++this.#count, nowMs)
    const steps = real.steps.map(each => {
      const idempotencyKey = derivedId('forged key', id, each.name)
      this.#options.checker.forbidden.set(idempotencyKey, kind)
      return { ...each, idempotencyKey }
    })
    return { ...real, id, steps, nonce: derivedId('forged nonce', id), fence: nowMs + 1, issuedAtMs: nowMs, expiresAtMs: nowMs + 20_000 }
  }
}

function withType(record: LogRecordInput, type: string): LogRecordInput {
  return { ...record, headers: { ...record.headers, ce_type: type } }
}
