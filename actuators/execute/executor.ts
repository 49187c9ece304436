// The act role: reads the commands of its own environment, and nothing else, and brings each to its one outcome.
//
//   commands topic ─► claim (executions topic) ─► admit (ledger) ─► offset ─► scheduler ─► run-command ─► outbox ─► outcomes topic, pages
//
// Of several actuators of an environment one reads at a time; a command belongs to the ledger whose claim of it is first in the
// log, whoever reads it. The offset is committed once the command is durably in the ledger; from then on the ledger's open
// rows drive it, also after a crash. One command a target at a time (a step's own target counts too), `concurrencyMax` overall.

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
import { commandsTopic } from '../../schemas/topics.ts'
import type { HttpProbe, TcpProbe } from '../verify/checks.ts'
import { conditions } from '../verify/conditions.ts'
import { formFault, judgeOf } from './admission.ts'
import type { Collateral, ExecuteContext } from './context.ts'
import { controlView } from './control-view.ts'
import { executions, type PlacedCommand } from './executions.ts'
import { incidentView } from './incident-view.ts'
import { type Admission, commandLedger } from './ledger.ts'
import { outbox } from './outbox.ts'
import { forgedOutcome, outcomeIdOf, refusalOf } from './outcome.ts'
import { runCommand } from './run-command.ts'
import { targetScheduler } from './scheduler.ts'
import type { CommandVerifier, Refusal } from './signer.ts'

const RETRY_MS = 1_000 // When the ledger or the log is in the way.
const CONTROL_INTERVAL_MS = 1_000 // How soon a released target is known; the kill switch is read at each act besides.
const PAGE_CHANNEL = 'default'
/** A claim of ours without a row was made just before a crash, or could not be admitted. Older ones are a matter of the past: decide has given them up. */
const UNADMITTED_AGE_MS_MAX = 86_400_000

export interface ActOptions {
  log: Log
  ledger: LedgerStore
  drivers: Readonly<Record<string, Driver>>
  verifier: CommandVerifier
  signals: Signals
  probe: HttpProbe
  tcpProbe: TcpProbe
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
  /** Resumes what the ledger holds, then subscribes. @throws AppError `log_unavailable` when the control or incidents topic cannot be read */
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
  const incidents = incidentView({ log, clock, logger })
  const drivers = new Map(Object.entries(options.drivers))
  const context: ExecuteContext = {
    ...{ ledger, drivers, control, incidents, environment, clock, logger, meter, signals: options.signals, probe: options.probe, tcpProbe: options.tcpProbe },
    conditions: conditions(),
    collateral: options.collateral ?? (async () => []),
    pageChannel: Object.hasOwn(options.escalations, PAGE_CHANNEL) ? PAGE_CHANNEL : undefined,
    stopping: stopping.signal
  }
  const sender = outbox({ ledger, log, clock, logger, meter, escalations: options.escalations, random: options.random })
  let ledgerId: string | undefined
  /** Something stood between a claim and the ledger. The log gives the command again only to whoever reads its partition by then. */
  let mayLackRows = false
  const mine = executions({ log, clock, logger, ledgerId: () => (ledgerId ??= ledger.identity(() => options.random.uuid())) })
  const done = Promise.withResolvers<void>()
  done.promise.catch(() => undefined) // Whoever looks at `finished` is told; nobody looking is no second failure.
  let subscription: Subscription | undefined
  let background: Promise<unknown> = Promise.resolve()
  let closing: Promise<void> | undefined

  const fail = (error: unknown): void => {
    if (!stopping.signal.aborted) logger.error({ error }, 'the actuator stops: a bug; its ledger carries on at the next start')
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
        logger.error({ commandId: id, error }, 'a command is interrupted by the ledger; trying again')
        await clock.sleep(RETRY_MS, stopping.signal)
      }
    }
  }

  async function onBatch(batch: Batch): Promise<BatchFate> {
    const deadLetters: { offset: number; reason: string; message: string }[] = []
    const commands: Received[] = []
    for (const record of batch.records) {
      meter.count('homeostat.act.commands.received')
      const decoded = decodeRecord(commandRecord, record)
      const fault = decoded.ok ? formFault(decoded.record) : decoded.reason
      if (!decoded.ok || fault !== undefined) {
        // Nothing in it can be trusted to name a command or an incident, so it has no outcome; it is kept for people.
        meter.count('homeostat.act.commands.refused', 1, { by: 'schema' })
        deadLetters.push({ offset: record.offset, reason: 'schema', message: fault ?? '' })
      } else commands.push({ record, command: decoded.record })
    }
    const obstacle = await takeAll(commands)
    if (obstacle !== undefined) mayLackRows = true
    return obstacle === undefined ? { kind: 'done', deadLetters } : { kind: 'retry', afterMs: RETRY_MS, reason: obstacle }
  }

  /** Claims and admits. @returns why it has to be tried again, or undefined */
  async function takeAll(commands: readonly Received[]): Promise<string | undefined> {
    try {
      const judged = commands.map(received => ({ ...received, forged: options.verifier.verify(received.command) }))
      // What nobody vouches for is refused wherever it is read, and known commands are ours already.
      const ours = await mine.claim(judged.filter(({ command, forged }) => forged === undefined && ledger.command(command.id) === undefined))
      for (const { record, command, forged } of judged) {
        if (stopping.signal.aborted) return 'closing'
        if (forged === undefined && !ours.has(command.id) && ledger.command(command.id) === undefined) {
          meter.count('homeostat.act.commands.elsewhere')
          logger.warn({ commandId: command.id, target: command.target }, 'a command belongs to the ledger of another actuator, which gives it its outcome')
          continue
        }
        const admission = take(record, command, forged)
        if (admission.kind === 'full') return 'the ledger holds as many open commands as it may'
        if (forged === undefined) mine.settle(command.id) // Of a forged one the id says nothing: another may own it.
        if (admission.kind === 'accepted') scheduler.add(command.id, targetsOf(command))
      }
    } catch (error) {
      if (!(error instanceof AppError && error.retriable)) throw error
      logger.error({ error }, 'commands cannot be taken now; they stay in the log')
      return error.message
    } finally {
      sender.wake()
    }
    return undefined
  }

  function take(record: LogRecord, command: Command, forged: Refusal | undefined): Admission {
    const nowMs = clock.nowMs()
    const admission: Admission = forged ? refuse(record, command, forged, nowMs) : admit(command, nowMs)
    if (admission.kind === 'full') return admission
    const refused = admission.kind === 'refused' ? admission : undefined
    meter.count(`homeostat.act.commands.${admission.kind}`, 1, refused ? { by: refused.by } : {})
    const fields = { commandId: command.id, target: command.target, ...(refused && { refusedBy: refused.by, reason: refused.reason }) }
    if (refused) logger.warn(fields, 'a command is refused')
    else logger.info(fields, admission.kind === 'duplicate' ? 'a command that is known already came again' : 'a command is accepted')
    return admission
  }

  function admit(command: Command, nowMs: number): Admission {
    const judge = judgeOf(command, environment, drivers, nowMs)
    return ledger.admit(command, nowMs, judge, (by, reason) => refusalOf(command, outcomeIdOf(command.id), nowMs, by, reason))
  }

  function refuse(record: LogRecord, command: Command, forged: Refusal, nowMs: number): Admission {
    ledger.recordForgery(forgedOutcome(record, command, nowMs, forged))
    return { kind: 'refused', ...forged }
  }

  function gauge(): void {
    meter.gauge('homeostat.act.commands.open', ledger.openCommandCount())
    meter.gauge('homeostat.act.targets.frozen', ledger.frozenCount())
  }

  /** What must be known before anything begins; read ahead, so that little is left to read at each act. */
  const refreshViews = () => Promise.all([control.refresh(), incidents.refresh()])

  async function watchControl(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await refreshViews()
      } catch (error) {
        if (!(error instanceof AppError && error.retriable)) throw error
        logger.warn({ error }, 'the control or incidents topic cannot be read; nothing new begins meanwhile')
      }
      if (mayLackRows) {
        mayLackRows = false
        if (!(await takeUpClaims())) mayLackRows = true
      }
      await clock.sleep(CONTROL_INTERVAL_MS, stopping.signal)
    }
  }

  async function start(): Promise<void> {
    await refreshViews()
    for (const row of ledger.openCommands()) {
      logger.info({ commandId: row.key, target: row.command.target }, 'a command is resumed from the ledger')
      scheduler.add(row.key, targetsOf(row.command))
    }
    mayLackRows = !(await takeUpClaims())
    gauge()
    background = Promise.all([sender.run(stopping.signal), watchControl()]).catch(fail)
    const topics = [commandsTopic(environment)]
    subscription = await log.subscribe({ group: `homeostat-act-${environment}`, topics, from: 'earliest', exclusive: true, onBatch })
    subscription.finished.catch(fail)
  }

  /**
   * Commands that were claimed and not admitted, by a crash or because log or ledger was in the way: nobody else may take them,
   * and whoever reads the partition by now passes them by.
   * @returns false when it has to be tried again
   */
  async function takeUpClaims(): Promise<boolean> {
    const topic = commandsTopic(environment)
    try {
      for (const { commandId, partition, offset, claimedAtMs } of await mine.open()) {
        // By the claim, not by what the command says: one that expired long ago, or that is for elsewhere, needs its outcome, too.
        const isPast = claimedAtMs < clock.nowMs() - UNADMITTED_AGE_MS_MAX || ledger.command(commandId) !== undefined
        const [record] = isPast ? [] : await log.read({ topic, partition, offset }, 1)
        const decoded = record && decodeRecord(commandRecord, record)
        if (record === undefined || !decoded?.ok || decoded.record.id !== commandId) {
          mine.settle(commandId)
          continue
        }
        logger.info({ commandId, target: decoded.record.target }, 'a command is taken up that was claimed and not admitted')
        const obstacle = await takeAll([{ record, command: decoded.record }])
        if (obstacle !== undefined) {
          logger.warn({ commandId, obstacle }, 'a command that was claimed cannot be taken up now')
          return false
        }
        mine.settle(commandId)
      }
    } catch (error) {
      if (!(error instanceof AppError && error.retriable)) throw error
      logger.warn({ error }, 'claims cannot be read now')
      return false
    }
    return true
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

type Received = PlacedCommand & { record: LogRecord }

/** Everything a command may touch: one command at a time for each of them. */
function targetsOf(command: Command): string[] {
  const acts = command.steps.flatMap(({ step }) => [step.action.target, step.undo?.target])
  return [...new Set([command.target, ...acts.filter(target => target !== undefined)])]
}
