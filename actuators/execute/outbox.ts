// The outbox: outcomes to the log and pages to people, at least once, in the face of crashes and outages.
//
// Rows were written in the transaction that recorded the command. An outcome is sealed in its place of the ledger's audit chain,
// published, in the order of the chain and the same bytes as often as needed, and then marked. A page is repeated with growing
// pauses and given up after a day, counted.

import { AppError } from '../../schemas/errors.ts'
import { sealedInput } from '../../schemas/audit.ts'
import type { Clock, Escalation, Log, Logger, Meter, Page, Random } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import type { CommandLedger } from './ledger.ts'
import type { OutcomeOutboxRow, PageOutboxRow } from './rows.ts'

const PAUSE_MS = 1_000 // After a failed round, and the first pause of a page.
const PAGE_PAUSE_MS_MAX = 300_000
const PAGE_AGE_MS_MAX = 86_400_000 // A day: whoever was not reached by then learns it elsewhere.
const IDLE_MS = 60_000 // Rows are announced; this only bounds a missed announcement.
const DELIVERY_MS_MAX = 30_000 // A channel that hangs longer counts as failed.
const WOKEN = 'there is something to send' // A reason of our own: without one each abort makes an error with its stack.

export interface OutboxPorts {
  ledger: CommandLedger
  log: Log
  escalations: Readonly<Record<string, Escalation>>
  clock: Clock
  random: Random
  logger: Logger
  meter: Meter
}

export interface Outbox {
  /** There is something to send. */
  wake(): void
  /** Sends until `stopping` aborts. Rejects only with bugs. */
  run(stopping: AbortSignal): Promise<void>
}

export function outbox(ports: OutboxPorts): Outbox {
  const { ledger, clock, meter } = ports
  // Two loops: a channel that hangs must not hold up the record of what was done.
  const outcomes = loop(clock, async () => {
    const rows = ledger.outbox().filter(row => row.kind === 'outcome')
    meter.gauge('homeostat.act.outbox.open', rows.length)
    for (const row of rows) if (!(await publish(ports, row))) return PAUSE_MS
    return rows.length > 0 ? 0 : IDLE_MS
  })
  const pausedUntilMs = new Map<string, number>()
  const pages = loop(clock, async () => {
    const dueMs = (row: PageOutboxRow): number => {
      const waitMs = Math.max(row.nextAtMs, pausedUntilMs.get(row.channel) ?? 0) - clock.nowMs()
      return waitMs > 2 * PAGE_PAUSE_MS_MAX ? 0 : waitMs // Nobody asked for that long: the clock was set back.
    }
    for (const row of ledger.outbox()) {
      if (row.kind !== 'page' || dueMs(row) > 0) continue
      const pauseMs = await deliver(ports, row)
      // What failed for one page fails for the next: a dead channel is asked once a pause, not once a page.
      if (pauseMs > 0) pausedUntilMs.set(row.channel, clock.nowMs() + pauseMs)
    }
    const waits = ledger.outbox().flatMap(row => (row.kind === 'page' ? [Math.max(0, dueMs(row))] : []))
    return Math.min(IDLE_MS, ...waits)
  })
  return {
    wake() {
      outcomes.wake()
      pages.wake()
    },
    async run(stopping) {
      await Promise.all([outcomes.run(stopping), pages.run(stopping)])
    }
  }
}

/** Runs `round` again after as many ms as it returns, or when woken. */
function loop(clock: Clock, round: () => Promise<number>): Outbox {
  let wakeUp = new AbortController()
  return {
    wake: () => wakeUp.abort(WOKEN),
    async run(stopping) {
      const stop = (): void => wakeUp.abort(WOKEN)
      stopping.addEventListener('abort', stop, { once: true })
      try {
        while (!stopping.aborted) {
          wakeUp = new AbortController()
          const waitMs = await roundOrPause(round)
          if (stopping.aborted) break
          if (waitMs > 0) await clock.sleep(waitMs, wakeUp.signal)
        }
      } finally {
        stopping.removeEventListener('abort', stop)
      }
    }
  }
}

/** A ledger that refuses for now (a full disk) only delays. */
async function roundOrPause(round: () => Promise<number>): Promise<number> {
  try {
    return await round()
  } catch (error) {
    if (error instanceof AppError && error.retriable) return PAUSE_MS
    throw error
  }
}

async function publish({ log, ledger, logger, random }: OutboxPorts, row: OutcomeOutboxRow): Promise<boolean> {
  const sealed = ledger.seal(row.key, () => random.uuid())
  try {
    await log.append(TOPICS.outcomes.name, [sealedInput(sealed)])
  } catch (error) {
    if (!(error instanceof AppError && error.retriable)) throw error
    logger.warn({ outcomeId: row.outcome.id, error }, 'an outcome waits for the log')
    return false
  }
  ledger.sent(row.key)
  return true
}

/** @returns how long its channel should be left alone: 0 when the page was delivered */
async function deliver(ports: OutboxPorts, row: PageOutboxRow): Promise<number> {
  const { ledger, clock, random, logger, meter } = ports
  const failure = await notify(ports, row)
  const givenUp = failure !== undefined && clock.nowMs() - row.sinceMs > PAGE_AGE_MS_MAX
  const pauseMs = failure === undefined ? 0 : Math.min(PAGE_PAUSE_MS_MAX, PAUSE_MS * 2 ** Math.min(row.attempts, 20)) * (1 + random.next() / 4)
  ledger.changePage(row.key, newest => {
    const asked = newest.desired === row.desired // Else more is wanted by now, and the row stays open for that.
    if (failure === undefined) return { ...newest, delivered: row.desired, open: !asked, attempts: 0, nextAtMs: 0 }
    return { ...newest, open: !(givenUp && asked), attempts: newest.attempts + 1, nextAtMs: clock.nowMs() + pauseMs }
  })
  if (failure === undefined) meter.count('homeostat.act.pages', 1, { action: row.desired })
  else {
    meter.count(givenUp ? 'homeostat.act.pages.dropped' : 'homeostat.act.pages.failed', 1, { channel: row.channel })
    logger.warn({ incidentId: row.incidentId, channel: row.channel, failure, givenUp }, 'a page could not be delivered')
  }
  return pauseMs
}

async function notify({ escalations, clock }: OutboxPorts, row: PageOutboxRow): Promise<string | undefined> {
  const channel = escalations[row.channel]
  if (!channel) return `channel ${row.channel} is not configured any more`
  const page: Page = { action: row.desired, dedupKey: row.incidentId, severity: row.severity, summary: row.summary, details: row.details }
  const abort = new AbortController()
  try {
    const late = clock.sleep(DELIVERY_MS_MAX, abort.signal).then(() => `no answer within ${DELIVERY_MS_MAX} ms`)
    return await Promise.race([channel.notify(page).then(() => undefined), late])
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    abort.abort('answered') // A reason of our own: the default one is an exception with a stack.
  }
}
