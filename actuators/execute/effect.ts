// One effect on the world, at most once: the gap between `begun` and what came of it.
//
// accepted: gates (gates.ts, time, freeze, fence) → begun, durable → driver → applied | failed | unknown
// begun, found after a crash: the driver's class decides. convergent: again, same effect; detectable: ask the target;
// opaque: never again, `unknown`, the target is frozen and a person told.

import { AppError, assert } from '../../schemas/errors.ts'
import type { Driver, DriverOrder } from '../../schemas/ports.ts'
import type { CheckResult } from '../../schemas/outcome.ts'
import type { Command } from '../../schemas/command.ts'
import type { ExecuteContext } from './context.ts'
import { contradiction } from './contradiction.ts'
import { closedGate, type GateRefusal } from './gates.ts'
import type { StepRow } from './rows.ts'

const ATTEMPTS_MAX = 3 // Driver calls for one key, crashes included; a convergent act that never answers is then a person's.
const ABORT_GRACE_MS = 5_000 // What a driver has after its time to give up cleanly, before its effect counts as unknown.
const ASK_ATTEMPTS_MAX = 3
const ASK_AGAIN_MS = 1_000
const LEDGER_AGAIN_MS = 1_000 // A full disk stays full for a while.
const DETAIL_LENGTH_MAX = 2_000 // Of what a driver says about its act; the ledger keeps it.
const LOG_AGAIN_MS = 1_000 // Between tries to read what people say and how incidents stand: nobody acts without knowing it.

export type NotBegun = GateRefusal | { refusedBy: 'expiry' | 'target_frozen' | 'fence' | 'allow_list' | 'evidence' | 'closing'; reason: string }
export type Effect = { kind: 'settled'; row: StepRow } | ({ kind: 'not_begun' } & NotBegun)

export interface EffectInput {
  command: Command
  timeoutMs: number
  /** Not begun at this time: refused. */
  latestBeginMs: number
  baseline?: CheckResult[]
}

/** Brings `row` from accepted or begun to applied, failed or unknown; a row that is further stays as it is. */
export async function performEffect(context: ExecuteContext, row: StepRow, input: EffectInput): Promise<Effect> {
  if (row.state !== 'accepted' && row.state !== 'begun') return { kind: 'settled', row }
  const driver = context.drivers.get(row.driver)
  const driverClass = driver && Object.hasOwn(driver.verbs, row.order.verb) ? driver.verbs[row.order.verb] : undefined
  if (!driver || !driverClass) return withoutDriver(context, row)
  let current = row
  let mayCall = row.state === 'accepted'
  for (;;) {
    if (!mayCall) {
      context.meter.count('homeostat.act.ledger.ambiguous', 1, { class: driverClass })
      const fate = await fateOf(context, driver, current)
      if (fate === 'stop') return closing()
      if (fate.kind === 'settle') return settled(context, current, fate.state, fate.detail)
    }
    const begun = await begin(context, current, input)
    if (!('key' in begun)) return notBegun(context, current, driverClass, begun)
    current = begun
    const result = await callDriver(context, driver, current, input.timeoutMs)
    if (result.state !== 'ambiguous') return settled(context, current, result.state, result.detail)
    context.logger.warn({ commandId: row.commandId, target: row.order.target, detail: result.detail }, 'it is not known whether the act took effect')
    current = { ...current, detail: result.detail }
    mayCall = false
  }
}

type Fate = { kind: 'again' } | { kind: 'settle'; state: 'applied' | 'failed' | 'unknown'; detail: string } | 'stop'

/** What becomes of a row that is `begun` and nobody knows more. */
async function fateOf(context: ExecuteContext, driver: Driver, row: StepRow): Promise<Fate> {
  const driverClass = driver.verbs[row.order.verb]!
  const why = row.detail === '' ? 'interrupted between begin and result' : row.detail
  if (driverClass === 'detectable') {
    const answer = await askTarget(context, driver, row)
    if (answer === 'stop') return 'stop'
    if (answer === 'yes') return { kind: 'settle', state: 'applied', detail: `${why}; the target says that it was applied` }
    if (answer === 'unknown') return { kind: 'settle', state: 'unknown', detail: `${why}; the target cannot say whether it was applied` }
    if (row.attempt < ATTEMPTS_MAX) return { kind: 'again' }
    return { kind: 'settle', state: 'failed', detail: `${why}; not applied after ${row.attempt} calls` }
  }
  if (driverClass === 'convergent' && row.attempt < ATTEMPTS_MAX) return { kind: 'again' }
  return { kind: 'settle', state: 'unknown', detail: `${why}; ${driver.name} ${row.order.verb} is ${driverClass}, so it is not repeated` }
}

async function askTarget(context: ExecuteContext, driver: Driver, row: StepRow): Promise<'yes' | 'no' | 'unknown' | 'stop'> {
  assert(driver.wasApplied, `driver ${driver.name} calls ${row.order.verb} detectable and has no wasApplied`)
  for (let asked = 1; asked <= ASK_ATTEMPTS_MAX; asked++) {
    try {
      const answer = await driver.wasApplied({ ...row.order, deadlineMs: context.clock.nowMs() + ABORT_GRACE_MS })
      if (answer !== 'unknown') return answer
    } catch (error) {
      context.logger.warn({ commandId: row.commandId, target: row.order.target, error }, 'the target could not be asked whether the act was applied')
    }
    if (asked < ASK_ATTEMPTS_MAX) await context.clock.sleep(ASK_AGAIN_MS, context.stopping)
    if (context.stopping.aborted) return 'stop'
  }
  return 'unknown'
}

const LATE: NotBegun = { refusedBy: 'expiry', reason: 'the command expired before the step could begin' }
const isLate = (context: ExecuteContext, input: EffectInput): boolean => context.clock.nowMs() >= input.latestBeginMs

/** The gates, judged at this moment, then the durable `begun`. */
async function begin(context: ExecuteContext, row: StepRow, input: EffectInput): Promise<StepRow | NotBegun> {
  if (row.kind === 'act' && row.state === 'accepted') {
    const contradicted = await contradiction(context, input.command, row)
    if (contradicted !== undefined) return { refusedBy: 'evidence', reason: contradicted }
  }
  for (;;) {
    if (context.stopping.aborted) return { refusedBy: 'closing', reason: 'the actuator is closing' }
    if (isLate(context, input)) return LATE
    try {
      await context.incidents.refresh()
      await context.control.refresh() // Last: nothing is to stop an act sooner than a word of people.
      if (isLate(context, input)) return LATE // The process may have been stopped while it read.
      break
    } catch (error) {
      context.meter.count('homeostat.act.control.unreadable')
      context.logger.warn({ commandId: row.commandId, error }, 'the control or incidents topic cannot be read; nothing is done until both are known')
      await context.clock.sleep(LOG_AGAIN_MS, context.stopping)
    }
  }
  const closed = closedGate(context, input.command, row)
  if (closed !== undefined) return closed
  return context.ledger.begin(row.key, context.clock.nowMs(), input.baseline ? { baseline: input.baseline } : {})
}

/** A row that may not be called (again). One that never was has no effect; one that was called is as ambiguous as before. */
async function notBegun(context: ExecuteContext, row: StepRow, driverClass: string, refused: NotBegun): Promise<Effect> {
  if (row.state === 'accepted' || refused.refusedBy === 'closing') return { kind: 'not_begun', ...refused }
  if (driverClass === 'detectable') return settled(context, row, 'failed', `not applied, and not repeated: ${refused.reason}`)
  return settled(context, row, 'unknown', `interrupted, and not repeated: ${refused.reason}`)
}

type CallResult = { state: 'applied' | 'failed' | 'ambiguous'; detail: string }

async function callDriver(context: ExecuteContext, driver: Driver, row: StepRow, timeoutMs: number): Promise<CallResult> {
  const { clock } = context
  const abort = new AbortController()
  const over = new AbortController()
  const timedOut = (async (): Promise<CallResult> => {
    await clock.sleep(timeoutMs, over.signal)
    if (!over.signal.aborted) abort.abort(new AppError('timeout', `no result within ${timeoutMs} ms`))
    await clock.sleep(ABORT_GRACE_MS, over.signal)
    return { state: 'ambiguous', detail: `${driver.name} ${row.order.verb} gave no result within ${timeoutMs} ms` }
  })()
  try {
    return await Promise.race([outcomeOf(driver, { ...row.order, deadlineMs: clock.nowMs() + timeoutMs }, abort.signal), timedOut])
  } finally {
    over.abort('settled') // A reason of our own: the default one is an exception with a stack.
  }
}

async function outcomeOf(driver: Driver, order: DriverOrder, signal: AbortSignal): Promise<CallResult> {
  try {
    return { state: 'applied', detail: (await driver.apply(order, signal)).detail }
  } catch (error) {
    // These two say that nothing happened; every other error leaves it open.
    const nothing = error instanceof AppError && (error.code === 'driver_failed' || error.code === 'step_refused')
    return { state: nothing ? 'failed' : 'ambiguous', detail: error instanceof Error ? error.message : String(error) }
  }
}

/** What is known is written, however long the disk refuses: a result that is forgotten would be a doubt. */
async function settled(context: ExecuteContext, row: StepRow, state: 'applied' | 'failed' | 'unknown', detail: string): Promise<Effect> {
  const atMs = context.clock.nowMs()
  let next: StepRow | undefined
  while (next === undefined) {
    try {
      next = context.ledger.settle(row.key, state, atMs, detail.slice(0, DETAIL_LENGTH_MAX))
    } catch (error) {
      if (!(error instanceof AppError && error.retriable)) throw error
      if (context.stopping.aborted) return closing()
      context.logger.error({ commandId: row.commandId, state, error }, 'the ledger does not take the result of a step; trying again')
      await context.clock.sleep(LEDGER_AGAIN_MS, context.stopping)
    }
  }
  context.meter.count('homeostat.act.effects', 1, { state, driver: row.driver })
  context.logger.info({ commandId: row.commandId, target: row.order.target, verb: row.order.verb, state, detail }, 'a step was acted on')
  return { kind: 'settled', row: next }
}

/** The configuration changed under an open row: what never began did not happen, what began cannot be known. */
async function withoutDriver(context: ExecuteContext, row: StepRow): Promise<Effect> {
  const reason = `driver ${row.driver} with verb ${row.order.verb} is not configured any more`
  if (row.state === 'begun') return settled(context, row, 'unknown', reason)
  return { kind: 'not_begun', refusedBy: 'allow_list', reason }
}

const closing = (): Effect => ({ kind: 'not_begun', refusedBy: 'closing', reason: 'the actuator is closing' })
