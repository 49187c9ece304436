// The act role: reads the commands of its own environment, and nothing else, and brings each to its one outcome.
//
//   commands topic ─► admit (ledger) ─► offset ─► scheduler ─► run-command ─► outbox ─► outcomes topic, pages
//
// The offset is committed once the command is durably in the ledger; from then on the ledger's open rows drive it, also
// after a crash. One command a target at a time (a step's own target counts too), `concurrencyMax` overall.

import { type Command, commandRecord } from '../../schemas/command.ts'
import type { Config } from '../../schemas/config.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import type {
  Batch,
  BatchFate,
  Clock,
  Driver,
  Escalation,
  LedgerStore,
  Log,
  LogRecord,
  Logger,
  Meter,
  Random,
  Signals,
  Subscription
} from '../../schemas/ports.ts'
import { derivedId } from '../../schemas/ids.ts'
import { commandsTopic } from '../../schemas/topics.ts'
import type { HttpProbe } from '../verify/checks.ts'
import { conditions } from '../verify/conditions.ts'
import { formFault, judgeOf } from './admission.ts'
import type { Collateral, ExecuteContext } from './context.ts'
import { controlView } from './control-view.ts'
import { type Admission, commandLedger } from './ledger.ts'
import { outbox } from './outbox.ts'
import { outcomeIdOf, refusalOf } from './outcome.ts'
import { runCommand } from './run-command.ts'
import { targetScheduler } from './scheduler.ts'
import type { CommandVerifier, Refusal } from './signer.ts'

const RETRY_MS = 1_000 // When the ledger or the log is in the way.
const CONTROL_INTERVAL_MS = 1_000 // How soon a released target is known; the kill switch is read at each act besides.
const PAGE_CHANNEL = 'default'

export interface ActOptions {
  log: Log
  ledger: LedgerStore
  drivers: Readonly<Record<string, Driver>>
  verifier: CommandVerifier
  signals: Signals
  probe: HttpProbe
  escalations: Readonly<Record<string, Escalation>>
  config: Pick<Config['act'], 'concurrencyMax'>
  environment: string
  clock: Clock
  random: Random
  logger: Logger
  meter: Meter
  /** Checks of neighbours and dependents after an act; none when absent. */
  collateral?: Collateral
}

export interface ActWorker {
  /** Resumes what the ledger holds, then subscribes. @throws AppError `log_unavailable` when the control topic cannot be read */
  start(): Promise<void>
  /** Rejects with the bug that stopped the worker; resolves after `close`. */
  readonly finished: Promise<void>
  /** Waits for running driver calls; verification goes on at the next start. Safe to call twice and without start. */
  close(): Promise<void>
}

export function actWorker(options: ActOptions): ActWorker {
  const { log, environment, clock, logger, meter } = options
  const stopping = new AbortController()
  const ledger = commandLedger(options.ledger)
  const control = controlView({
    log,
    logger,
    onRelease(target, atMs) {
      if (ledger.release(target, atMs)) logger.warn({ target }, 'a frozen target was released')
    }
  })
  const drivers = new Map(Object.entries(options.drivers))
  const context: ExecuteContext = {
    ...{ ledger, drivers, control, environment, clock, logger, meter, signals: options.signals, probe: options.probe },
    conditions: conditions(),
    collateral: options.collateral ?? (async () => []),
    pageChannel: Object.hasOwn(options.escalations, PAGE_CHANNEL) ? PAGE_CHANNEL : undefined,
    stopping: stopping.signal
  }
  const sender = outbox({ ledger, log, clock, logger, meter, escalations: options.escalations, random: options.random })
  const done = Promise.withResolvers<void>()
  done.promise.catch(() => undefined) // Whoever looks at `finished` is told; nobody looking is no second failure.
  let subscription: Subscription | undefined
  let background: Promise<unknown> = Promise.resolve()
  let closing: Promise<void> | undefined

  const fail = (error: unknown): void => {
    if (!stopping.signal.aborted) logger.error({ err: error }, 'the actuator stops: a bug; its ledger carries on at the next start')
    stopping.abort()
    done.reject(error)
  }
  const scheduler = targetScheduler({ concurrencyMax: options.config.concurrencyMax, run: runOne, onBug: fail })

  async function runOne(id: string): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        if (await runCommand(context, id)) sender.wake()
        gauge()
        return
      } catch (error) {
        // The ledger refuses for now (a full disk): the rows say where to go on, so the same way is walked again.
        if (!(error instanceof AppError && error.retriable)) throw error
        meter.count('homeostat.act.commands.retried')
        logger.error({ commandId: id, err: error }, 'a command is interrupted by the ledger; trying again')
        await clock.sleep(RETRY_MS, stopping.signal)
      }
    }
  }

  async function onBatch(batch: Batch): Promise<BatchFate> {
    const deadLetters: { offset: number; reason: string; message: string }[] = []
    for (const record of batch.records) {
      if (stopping.signal.aborted) return { kind: 'retry', afterMs: RETRY_MS, reason: 'closing' }
      meter.count('homeostat.act.commands.received')
      const decoded = decodeRecord(commandRecord, record)
      const fault = decoded.ok ? formFault(decoded.record) : decoded.reason
      if (!decoded.ok || fault !== undefined) {
        // Nothing in it can be trusted to name a command or an incident, so it has no outcome; it is kept for people.
        meter.count('homeostat.act.commands.refused', 1, { by: 'schema' })
        deadLetters.push({ offset: record.offset, reason: 'schema', message: fault ?? '' })
        continue
      }
      const admission = take(record, decoded.record)
      if ('kind' in admission && admission.kind === 'retry') return admission
      if (admission.kind === 'accepted') scheduler.add(decoded.record.id, targetsOf(decoded.record))
    }
    sender.wake()
    return { kind: 'done', deadLetters }
  }

  function take(record: LogRecord, command: Command): Admission | Extract<BatchFate, { kind: 'retry' }> {
    const nowMs = clock.nowMs()
    try {
      const forged = options.verifier.verify(command)
      const admission: Admission = forged ? refuseForgery(record, command, forged, nowMs) : admit(command, nowMs)
      if (admission.kind === 'full') return { kind: 'retry', afterMs: RETRY_MS, reason: 'the ledger holds as many open commands as it may' }
      const refused = admission.kind === 'refused' ? admission : undefined
      meter.count(`homeostat.act.commands.${admission.kind}`, 1, refused ? { by: refused.by } : {})
      const fields = { commandId: command.id, target: command.target, ...(refused && { refusedBy: refused.by, reason: refused.reason }) }
      if (refused) logger.warn(fields, 'a command is refused')
      else logger.info(fields, admission.kind === 'duplicate' ? 'a command that is known already came again' : 'a command is accepted')
      return admission
    } catch (error) {
      if (!(error instanceof AppError && error.retriable)) throw error
      logger.error({ commandId: command.id, err: error }, 'the ledger cannot take a command; it stays in the log')
      return { kind: 'retry', afterMs: RETRY_MS, reason: error.message }
    }
  }

  function admit(command: Command, nowMs: number): Admission {
    const judge = judgeOf(command, environment, drivers, nowMs)
    return ledger.admit(command, nowMs, judge, (by, reason) => refusalOf(command, outcomeIdOf(command.id), nowMs, by, reason))
  }

  /** Its id follows from the record's place, not from what it claims: it must not stand in the way of the real command of that id. */
  function refuseForgery(record: LogRecord, command: Command, { by, reason }: Refusal, nowMs: number): Admission {
    const id = derivedId('outcome', 'forged', record.topic, record.partition, record.offset)
    ledger.recordForgery(refusalOf(command, id, nowMs, by, `${reason}; nothing in the command is authenticated`))
    return { kind: 'refused', by, reason }
  }

  function gauge(): void {
    meter.gauge('homeostat.act.commands.open', ledger.openCommands().length)
    meter.gauge('homeostat.act.targets.frozen', ledger.frozen().length)
  }

  async function watchControl(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await control.refresh()
      } catch (error) {
        if (!(error instanceof AppError && error.retriable)) throw error
        logger.warn({ err: error }, 'the control topic cannot be read; nothing new begins meanwhile')
      }
      await clock.sleep(CONTROL_INTERVAL_MS, stopping.signal)
    }
  }

  async function start(): Promise<void> {
    await control.refresh()
    for (const row of ledger.openCommands()) {
      logger.info({ commandId: row.key, target: row.command.target }, 'a command is resumed from the ledger')
      scheduler.add(row.key, targetsOf(row.command))
    }
    gauge()
    background = Promise.all([sender.run(stopping.signal), watchControl()]).catch(fail)
    const topics = [commandsTopic(environment)]
    subscription = await log.subscribe({ group: `homeostat-act-${environment}`, topics, from: 'earliest', onBatch })
    subscription.finished.catch(fail)
  }

  async function closeAll(): Promise<void> {
    stopping.abort()
    await subscription?.close()
    await scheduler.idle()
    await background
    done.resolve()
  }

  return {
    start,
    finished: done.promise,
    close() {
      closing ??= closeAll()
      return closing
    }
  }
}

/** Everything a command may touch: one command at a time for each of them. */
function targetsOf(command: Command): string[] {
  const acts = command.steps.flatMap(({ step }) => [step.action.target, step.undo?.target])
  return [...new Set([command.target, ...acts.filter(target => target !== undefined)])]
}
