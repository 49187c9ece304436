// Maintenance: planned work suppresses acting, never recording. Windows of the policy (cron or RRULE in an IANA zone) and those
// that people announce on the control topic. An announcement that cannot be understood holds for everything: silence is safe.

import { Cron } from 'croner'
import type { Control } from '../../../schemas/control.ts'
import type { MaintenanceWindow } from '../../../schemas/runbook.ts'
import { AppError } from '../../../schemas/errors.ts'
import { compileCondition } from '../../cel.ts'
import { POLICY_VARIABLES, unknownFields } from '../policy-fields.ts'
import type { GuardResult } from '../../../schemas/decision.ts'
import { allow, type HoldContext, time, wait } from './guard.ts'
import { latestStartMs, parseLocal, parseRule } from './rrule.ts'

const LOOK_AGAIN_MS = 60_000 // A window that ends "now" by rounding is looked at a minute later at most.
/** A match that is a plain name: of an entity, a service, an environment. */
const NAME = /^[\w@/.:-]+$/

export function maintenance(context: HoldContext): GuardResult {
  const { nowMs, policy, state } = context
  for (const window of policy.spec.maintenanceWindows) {
    const untilMs = windowEndMs(window, nowMs)
    if (untilMs === undefined) continue
    const name = window.schedule ?? `${window.rrule} from ${window.start}`
    const inputs = { window: name, timezone: window.timezone, untilMs, announced: null }
    return wait(
      'maintenance_window',
      inputs,
      `inside the policy's window "${name}" (${window.timezone}) until ${time(untilMs)}`,
      'The end of the window.',
      untilMs
    )
  }
  const announced = Object.values(state.maintenance).find(record => record.fromMs <= nowMs && nowMs < record.toMs && applies(record, context))
  const inputs = { window: null, timezone: null, untilMs: announced?.toMs ?? null, announced: announced?.id ?? null }
  if (announced === undefined) return allow('maintenance_window', inputs, 'no window is open')
  const reason = `${announced.by} announced maintenance "${announced.id}" until ${time(announced.toMs)}`
  return wait('maintenance_window', inputs, reason, `The end of the window, or a match other than "${announced.match}".`, announced.toMs)
}

/** End of the window that `nowMs` lies in, or undefined. A start every duration or oftener never ends: the latest start counts. */
export function windowEndMs(window: MaintenanceWindow, nowMs: number): number | undefined {
  try {
    if (window.rrule !== undefined) return ruleEndMs(window, nowMs)
    const startMs = nextStartMs(scheduleOf(window.schedule!, window.timezone), nowMs - window.duration)
    return startMs <= nowMs ? startMs + window.duration : undefined
  } catch {
    return nowMs + LOOK_AGAIN_MS // Checked when loaded; should it fail all the same, not acting is the safe answer.
  }
}

interface Schedule {
  cron: Cron
  /** The answer given last: from `afterMs` until it comes, the next start is `startMs`. */
  afterMs: number
  startMs: number
}

/** Parsed schedules: parsing one costs more than all other guards together, and they are asked at each look at an incident. */
const schedules = new Map<string, Schedule>()
const SCHEDULES_MAX = 1_000 // Policies have a handful.

function scheduleOf(expression: string, timezone: string): Schedule {
  const key = `${expression}|${timezone}`
  const known = schedules.get(key)
  if (known !== undefined) return known
  const made = { cron: new Cron(expression, { timezone, paused: true }), afterMs: 0, startMs: 0 }
  if (schedules.size >= SCHEDULES_MAX) schedules.clear()
  schedules.set(key, made)
  return made
}

/** The first start strictly after `afterMs`, so that a window which began exactly its duration ago is over; infinite when there is none. */
function nextStartMs(schedule: Schedule, afterMs: number): number {
  if (afterMs < schedule.afterMs || afterMs >= schedule.startMs) {
    schedule.startMs = schedule.cron.nextRun(new Date(afterMs))?.getTime() ?? Number.POSITIVE_INFINITY
    schedule.afterMs = afterMs
  }
  return schedule.startMs
}

function ruleEndMs({ rrule, start, timezone, duration }: MaintenanceWindow, nowMs: number): number | undefined {
  const rule = parseRule(rrule!)
  const first = parseLocal(start ?? '')
  if (typeof rule === 'string' || first === undefined) return nowMs + LOOK_AGAIN_MS
  const startMs = latestStartMs(rule, first, timezone, duration, nowMs)
  return startMs === undefined ? undefined : startMs + duration
}

/** Why an announced window's `match` cannot mean what it says, and what to do; undefined when it can. A match that cannot be read holds everything. */
export function maintenanceMatchProblem(match: string): string | undefined {
  if (match === '' || match === '*' || NAME.test(match)) return undefined
  try {
    const [unknown] = unknownFields(compileCondition(match, POLICY_VARIABLES))
    return unknown && `${unknown.message} (at character ${unknown.offset + 1}). ${unknown.hint}`
  } catch (error) {
    if (error instanceof AppError) return `${error.message}. Give a name (shop/orders@1, orders, production) or a condition such as cause.service == "orders".`
    throw error
  }
}

/** The match is an entity, service, environment, `*`, or a CEL condition over incident and cause. */
function applies(record: Extract<Control, { kind: 'maintenance' }>, { incident, cause, target }: HoldContext): boolean {
  if ([target, cause.entity, cause.service, incident.environment, '*', ''].includes(record.match)) return true
  if (NAME.test(record.match)) return false // A plain name, of something else.
  try {
    const result = compileCondition(record.match, POLICY_VARIABLES).evaluate({ incident, cause })
    return !result.ok || result.value !== false
  } catch (error) {
    if (error instanceof AppError) return true
    throw error
  }
}
