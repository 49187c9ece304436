// Brings pages to their channels, and calls onwards: the only part of escalation that waits.
//
// A page stays in the state until its channel took it, so a crash between the two repeats it under the same keys (dedup key
// and idempotency key): at least once, and once where the other side deduplicates. Of one incident a channel hears things in
// their order. Channels do not wait for each other; a page that fails is tried again with growing pauses, for a day.

import type { Clock, Escalation, Logger, Meter, Random } from '../../schemas/ports.ts'
import type { EscalationRules } from '../../schemas/escalation.ts'
import { type Call, type CallState, configuredOwner, isCallDue, ON_CALL, type PendingPage } from './calls.ts'

const LOOK_MS = 500
const RETRY_MS = 2_000 // First repeat of a page that did not go out; doubles up to the maximum, with up to a quarter more by chance.
const RETRY_MS_MAX = 300_000
const GIVE_UP_MS = 86_400_000 // A day: whoever was not reached by then learned it elsewhere.
const OWNER_MS_MAX = 3_000 // Nobody waits longer to be called because nobody knows who it should be.

export interface CallSenderOptions {
  escalations: Readonly<Record<string, Escalation>>
  /** Absent: the channels that policies name, and nothing else. */
  rules?: EscalationRules | undefined
  /** What telemetry says of an entity's owner. */
  ownerOf?: ((entity: string, environment: string) => Promise<string | undefined>) | undefined
  clock: Clock
  random: Random
  logger: Logger
  meter: Meter
  /** Undefined while another instance owns the state. */
  state: () => Readonly<CallState> | undefined
  /** A page was delivered, or given up. */
  sent(id: string): Promise<void>
  /** A call is due, or its owner is known now. */
  advance(incidentId: string, owner?: string | null): Promise<void>
}

export interface CallSender {
  start(): void
  /** Waits for what is under way. Safe to call twice and without start. */
  close(): Promise<void>
}

interface Retry {
  sinceMs: number
  atMs: number
  delayMs: number
}

export function callSender(options: CallSenderOptions): CallSender {
  const { escalations, rules, clock, random, logger, meter } = options
  const stop = new AbortController()
  const retries = new Map<string, Retry>()
  /** Channel → its delivery under way. */
  const busy = new Map<string, Promise<void>>()
  let running: Promise<void> = Promise.resolve()

  async function deliver({ id, channel, page }: PendingPage): Promise<void> {
    const escalation = Object.hasOwn(escalations, channel) ? escalations[channel] : undefined
    if (escalation === undefined) {
      meter.count('homeostat.decide.pages', 1, { result: 'no_channel' })
      logger.warn({ channel, summary: page.summary, action: page.action }, 'nobody can be paged: configure act.escalation.channels')
      return options.sent(id)
    }
    try {
      await escalation.notify({ ...page, idempotencyKey: id })
    } catch (error) {
      return failed(id, channel, error)
    }
    retries.delete(id)
    meter.count('homeostat.decide.pages', 1, { result: 'sent', action: page.action })
    return options.sent(id)
  }

  async function failed(id: string, channel: string, error: unknown): Promise<void> {
    const nowMs = clock.monotonicMs()
    const { sinceMs, delayMs: before } = retries.get(id) ?? { sinceMs: nowMs, delayMs: RETRY_MS / 2 }
    const reason = error instanceof Error ? error.message : String(error)
    if (nowMs - sinceMs > GIVE_UP_MS) {
      retries.delete(id)
      meter.count('homeostat.decide.pages', 1, { result: 'given_up' })
      logger.error({ channel, reason }, 'a page is given up after a day: look at the channel')
      return options.sent(id)
    }
    const delayMs = Math.min(RETRY_MS_MAX, before * 2)
    retries.set(id, { sinceMs, delayMs, atMs: nowMs + delayMs * (1 + random.next() / 4) })
    meter.count('homeostat.decide.pages', 1, { result: 'failed' })
    logger.warn({ channel, reason, retryMs: delayMs }, 'a page was not delivered, it is tried again')
  }

  /** The next page of each idle channel: of an incident only the oldest, for its end must not overtake its beginning. */
  function dispatch(pages: readonly PendingPage[]): void {
    const waiting = new Set<string>()
    for (const pending of pages) {
      const { id, channel, page } = pending
      const thread = `${channel} ${page.dedupKey}`
      const isNext = !waiting.has(thread)
      waiting.add(thread)
      if (!isNext || busy.has(channel) || (retries.get(id)?.atMs ?? 0) > clock.monotonicMs()) continue
      busy.set(
        channel,
        deliver(pending)
          .catch(() => undefined) // A bug in the worker, which reports it itself.
          .finally(() => busy.delete(channel))
      )
    }
  }

  async function advanceCalls(state: Readonly<CallState>): Promise<void> {
    for (const call of Object.values(state.calls)) {
      if (stop.signal.aborted) return
      if (call.owner === undefined) await options.advance(call.incidentId, await findOwner(call))
      else if (isCallDue(state, call, rules, clock.nowMs())) {
        if (call.step >= 0) {
          meter.count('homeostat.decide.calls.unanswered')
          logger.warn({ incidentId: call.incidentId, step: call.step + 1, owner: call.owner }, 'nobody acknowledged in time')
        }
        await options.advance(call.incidentId)
      }
    }
  }

  async function findOwner({ incidentId, entity, environment }: Call): Promise<string | null> {
    const owner = (rules && configuredOwner(entity, rules)) ?? (await ownerByTelemetry(entity, environment))
    if (owner !== undefined && owner !== '') {
      if (rules && !Object.hasOwn(rules.onCall, owner))
        logger.warn({ incidentId, owner }, `the owner has no entry in act.escalation.onCall; ${ON_CALL} is called`)
      return owner
    }
    meter.count('homeostat.decide.calls.owner_missing')
    logger.warn({ incidentId, entity }, 'nobody is named as its owner: tag its telemetry (act.escalation.ownerAttributes), or name it in act.escalation.owners')
    return null
  }

  async function ownerByTelemetry(entity: string, environment: string): Promise<string | undefined> {
    if (options.ownerOf === undefined) return undefined
    const abort = new AbortController()
    const late = clock.sleep(OWNER_MS_MAX, abort.signal).then(() => undefined)
    try {
      return await Promise.race([options.ownerOf(entity, environment), late])
    } catch (error) {
      logger.warn({ error, entity }, 'the owner cannot be looked up now')
      return undefined
    } finally {
      abort.abort('answered') // A reason of our own: the default one is an exception with a stack.
    }
  }

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      const state = options.state()
      const pages = state?.pages ?? []
      for (const id of retries.keys()) if (!pages.some(page => page.id === id)) retries.delete(id)
      if (state !== undefined) await advanceCalls(state)
      dispatch(options.state()?.pages ?? [])
      await clock.sleep(LOOK_MS, stop.signal)
    }
  }

  return {
    start() {
      running = loop().catch(() => undefined) // A bug in the worker, which reports it itself.
    },
    async close() {
      stop.abort()
      await running
      await Promise.allSettled(busy.values())
    }
  }
}
