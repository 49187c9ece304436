// What must be true of a command before it is taken into the ledger, each check with its name.
//
// Order: schema, key_id, signature (then: seen before?), environment, not_before, expiry, nonce, fence, idempotency_key,
// allow_list. The ledger's own checks (nonce, fence, key) run between `environment…expiry` and `allow_list` in the
// transaction that takes the command. A refusal has no effect and one outcome.

import type { Command } from '../../schemas/command.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Driver } from '../../schemas/ports.ts'
import type { Judge } from './ledger.ts'
import type { Refusal } from './signer.ts'

/** How far ahead of us the decider's clock may run. NTP keeps machines within tens of ms; this allows a bad day. */
export const CLOCK_SKEW_MS_MAX = 5_000
const KEY_PATTERN = /^[A-Za-z0-9_.:-]{1,128}$/ // It goes into environments, headers and URLs.
const STEPS_MAX = 10 // As runbookSchema.
const WAIT_MS_MAX = 86_400_000 // A step that waits longer than a day is a broken number, not a plan.

/**
 * What is wrong with the command's form, or undefined. commandSchema leaves the steps to the runbook's schema, which
 * reads durations as text; on the wire they are numbers, so they are looked at here.
 */
export function formFault(command: Command): string | undefined {
  if (command.steps.length === 0) return 'steps: none'
  if (command.steps.length > STEPS_MAX) return `steps: ${command.steps.length}, at most ${STEPS_MAX}`
  if (new Set(command.steps.map(step => step.idempotencyKey)).size !== command.steps.length) return 'steps: one idempotency key twice'
  for (const { idempotencyKey, name, step } of command.steps) {
    if (!KEY_PATTERN.test(idempotencyKey)) return `step ${name}: an idempotency key is letters, digits and _.:-`
    const waits = [step.timeout, step.settle, step.verify?.deadline, step.verify?.holdFor, ...(step.waitFor ? [step.waitFor.timeout] : [])]
    if (!waits.every(ms => typeof ms === 'number' && ms >= 0 && ms <= WAIT_MS_MAX))
      return `step ${name}: timeout, settle, deadline, holdFor and the timeout of waitFor must be 0..1 day in ms`
    if (step.waitFor && !(Array.isArray(step.waitFor.checks) && step.waitFor.checks.length > 0)) return `step ${name}: waitFor without checks`
    for (const act of [step.action, step.undo]) {
      if (act !== undefined && (typeof act.driver !== 'string' || typeof act.verb !== 'string' || typeof act.args !== 'object' || act.args === null)) {
        return `step ${name}: an act needs driver, verb and args`
      }
    }
    if (!Array.isArray(step.verify.checks) || step.verify.checks.length === 0) return `step ${name}: no checks, so nothing could ever be verified`
    if (new Set(step.verify.checks.map(check => check.name)).size !== step.verify.checks.length) return `step ${name}: two checks of one name`
  }
  return undefined
}

/** The checks of an authenticated command that need no ledger. */
export function judgeOf(command: Command, environment: string, drivers: ReadonlyMap<string, Driver>, nowMs: number): Judge {
  return { before: () => timeAndPlace(command, environment, nowMs), after: () => allowList(command, drivers) }
}

function timeAndPlace(command: Command, environment: string, nowMs: number): Refusal | undefined {
  if (command.environment !== environment) return { by: 'environment', reason: `for environment ${command.environment}, this is ${environment}` }
  const aheadMs = command.issuedAtMs - nowMs
  if (aheadMs > CLOCK_SKEW_MS_MAX) return { by: 'not_before', reason: `issued ${aheadMs} ms in the future: compare the clocks of decide and act` }
  if (nowMs >= command.expiresAtMs) return { by: 'expiry', reason: `expired ${nowMs - command.expiresAtMs} ms ago` }
  return undefined
}

/** Every act and undo of every step must be one that its driver allows: found out before the first one runs. */
function allowList(command: Command, drivers: ReadonlyMap<string, Driver>): Refusal | undefined {
  for (const { name, step } of command.steps) {
    for (const act of [step.action, step.undo]) {
      if (act === undefined) continue
      const driver = drivers.get(act.driver)
      if (!driver) return { by: 'allow_list', reason: `step ${name}: driver ${act.driver} is not configured (act.drivers)` }
      if (!Object.hasOwn(driver.verbs, act.verb)) return { by: 'allow_list', reason: `step ${name}: driver ${act.driver} has no verb ${act.verb}` }
      try {
        driver.check({ target: act.target ?? command.target, verb: act.verb, args: act.args })
      } catch (error) {
        if (error instanceof AppError && error.code === 'step_refused') return { by: 'allow_list', reason: `step ${name}: ${error.message}` }
        throw error
      }
    }
  }
  return undefined
}

/**
 * Until when step `index` may begin: the command's expiry, the time that the steps before it were given, and what it may itself
 * wait. A command that lay in a crashed process for an hour does not go on acting on an hour-old decision.
 */
export function latestBeginMs(command: Command, index: number): number {
  let latestMs = command.expiresAtMs + waitMs(command.steps[index]!.step)
  for (const { step } of command.steps.slice(0, index)) latestMs += stepBudgetMs(step)
  return latestMs
}

const waitMs = (step: Command['steps'][number]['step']): number => step.waitFor?.timeout ?? 0

/** The time a step can take with its undo, all waits used up. */
export function stepBudgetMs(step: Command['steps'][number]['step']): number {
  const onceMs = step.timeout + step.settle + step.verify.deadline + step.verify.holdFor
  return waitMs(step) + (step.undo ? 2 * onceMs : onceMs)
}
