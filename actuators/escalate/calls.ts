// Whom an incident calls, one after the other: pure functions over the calls and the pages that wait for their channel.
//
//   opened ──owner looked up──► step 0 told ──nobody acknowledges in time──► step 1 … ──► exhausted
//      └─ in maintenance: waits          └─ acknowledged: nobody else is called          over: everyone told hears it, always
//
// One call an incident; the incident's id is the dedup key of all that is said of it. A channel keeps the severity that it was
// told first, since some know an alert by it. Plain JSON values in the state of decide; changed in place.

import type { Severity } from '../../schemas/anomaly.ts'
import type { EscalationRules } from '../../schemas/escalation.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Page } from '../../schemas/ports.ts'

/** In a policy's channels: whoever is on call for the service. Without anybody on call, the channel of that name. */
export const ON_CALL = 'default'
/** Pages waiting for channels that are down; beyond it the oldest triggers go, for they are the most stale, and ends are kept. */
export const PAGES_MAX = 500
const RANK: Readonly<Record<Severity, number>> = { info: 0, warning: 1, critical: 2 }

export interface PendingPage {
  /** Idempotency key of the delivery. */
  id: string
  channel: string
  page: Page
}

type Told = Pick<Page, 'severity' | 'urgency' | 'owner'>

export interface Call {
  incidentId: string
  environment: string
  /** Entity that it is about; its owner is called. */
  entity: string
  /** As the policy names them. */
  channels: string[]
  severity: Severity
  summary: string
  details: Readonly<Record<string, unknown>>
  /** Nobody is told before; absent: at once. */
  fromMs?: number
  /** undefined: not looked up yet; null: nobody is named. */
  owner?: string | null
  /** Step that was told last; −1: nobody yet. */
  step: number
  stepAtMs: number
  acknowledgedBy: string | null
  /** Every step was told, and nobody answered. */
  isExhausted: boolean
  /** Pages queued so far: part of the next one's id. */
  sequence: number
  /** Channel → how it was told. */
  told: Record<string, Told>
}

export interface CallState {
  /** Incident id → its call. */
  calls: Record<string, Call>
  /** Not yet delivered, oldest first. */
  pages: PendingPage[]
  /** Announced maintenance: nobody new is called meanwhile. */
  maintenance: Readonly<Record<string, { match: string; fromMs: number; toMs: number }>>
}

export type News = Pick<Call, 'incidentId' | 'environment' | 'entity' | 'channels' | 'severity' | 'summary' | 'details' | 'fromMs'>

/**
 * Somebody is needed. An open call only learns the news; one that somebody had taken calls again when `isAgain`.
 * @returns the call; who is told is decided by `advanceCall`
 */
export function openCall(state: CallState, news: News, isAgain: boolean, nowMs: number): Call {
  const known = state.calls[news.incidentId]
  if (known === undefined) {
    const call: Call = { ...news, step: -1, stepAtMs: nowMs, acknowledgedBy: null, isExhausted: false, sequence: 0, told: {} }
    state.calls[news.incidentId] = call
    return call
  }
  const { summary, details, channels, fromMs } = news
  Object.assign(known, { summary, details, channels })
  if (fromMs === undefined) delete known.fromMs
  if (isAgain && known.acknowledgedBy !== null) Object.assign(known, { acknowledgedBy: null, isExhausted: false, step: -1, stepAtMs: nowMs })
  return known
}

/** A ticket whose incident got worse than a ticket becomes a page. @returns true when there is somebody to call now */
export function worsenCall(call: Call, severity: Severity, rules: EscalationRules | undefined, nowMs: number): boolean {
  if (RANK[severity] <= RANK[call.severity]) return false
  const wasTicket = urgencyOf(call, rules) === 'ticket'
  call.severity = severity
  if (!wasTicket || urgencyOf(call, rules) === 'ticket') return false
  Object.assign(call, { step: -1, stepAtMs: nowMs, isExhausted: false })
  return true
}

/** Whether `advanceCall` has something to do. */
export function isCallDue(state: Pick<CallState, 'maintenance'>, call: Call, rules: EscalationRules | undefined, nowMs: number): boolean {
  if (call.owner === undefined || call.acknowledgedBy !== null || call.isExhausted || isSilenced(state, call, nowMs)) return false
  if (call.step < 0) return nowMs >= (call.fromMs ?? nowMs)
  const timeoutMs = stepsOf(call, rules)[call.step]?.timeoutMs
  return timeoutMs !== undefined && nowMs - call.stepAtMs >= timeoutMs
}

/** The wall clock was set: nobody is called sooner or later for it. */
export function shiftCalls({ calls }: Pick<CallState, 'calls'>, byMs: number): void {
  for (const call of Object.values(calls)) {
    call.stepAtMs += byMs
    if (call.fromMs !== undefined) call.fromMs += byMs
  }
}

/** A silence holds calling back, never the record nor the end. One whose match is a condition only holds acting back: better one page too many. */
function isSilenced({ maintenance }: Pick<CallState, 'maintenance'>, { entity, environment }: Call, nowMs: number): boolean {
  const service = entity.indexOf('@') > 0 ? entity.slice(0, entity.indexOf('@')) : entity
  const names = [entity, service, service.slice(service.indexOf('/') + 1), environment, '*', '']
  return Object.values(maintenance).some(({ match, fromMs, toMs }) => fromMs <= nowMs && nowMs < toMs && names.includes(match))
}

/**
 * Tells the next step, when its time has come.
 * @returns false when an older page had to be dropped for it
 */
export function advanceCall(state: CallState, call: Call, rules: EscalationRules | undefined, nowMs: number): boolean {
  if (!isCallDue(state, call, rules, nowMs)) return true
  const step = stepsOf(call, rules)[call.step + 1]
  if (step === undefined) {
    call.isExhausted = true
    return true
  }
  call.step++
  call.stepAtMs = nowMs
  for (const channel of step.channels) {
    call.told[channel] ??= { severity: call.severity, urgency: urgencyOf(call, rules), ...(call.owner === undefined ? {} : { owner: call.owner }) }
    queue(state, call, channel, 'trigger', call.summary, { ...call.details, step: call.step + 1 })
  }
  return trim(state)
}

/** Somebody has it: the steps end, and whoever was told hears who. @returns false when there was nothing to take */
export function acknowledgeCall(state: CallState, incidentId: string, by: string): boolean {
  const call = state.calls[incidentId]
  if (call === undefined || call.acknowledgedBy !== null) return false
  call.acknowledgedBy = by
  for (const channel of Object.keys(call.told)) queue(state, call, channel, 'acknowledge', `${by} has it: ${call.summary}`, { ...call.details, by })
  trim(state)
  return true
}

/** The incident is over: everyone who was told hears it, whatever is silenced. Forgets the call. @returns false when there was none */
export function endCall(state: CallState, incidentId: string, summary: string, details: Readonly<Record<string, unknown>>): boolean {
  const call = state.calls[incidentId]
  if (call === undefined) return false
  for (const channel of Object.keys(call.told))
    queue(state, call, channel, 'resolve', summary, { ...details, environment: call.environment, target: call.entity })
  delete state.calls[incidentId]
  trim(state)
  return true
}

/** The owner that the configuration names for an entity (`shop/orders@orders-1` is of `shop/orders`), or undefined. */
export function configuredOwner(entity: string, rules: Pick<EscalationRules, 'owners'>): string | undefined {
  const at = entity.indexOf('@')
  const names = at > 0 ? [entity.slice(0, at), entity] : [entity]
  return rules.owners.find(({ service }) => names.some(name => matches(service, name)))?.owner
}

/** `*` stands for any text; everything else for itself. Linear: the parts are found from left to right. */
function matches(pattern: string, name: string): boolean {
  const [head, ...rest] = pattern.split('*')
  if (rest.length === 0) return pattern === name
  const tail = rest.pop()!
  if (!name.startsWith(head!) || name.length < head!.length + tail.length || !name.endsWith(tail)) return false
  let from = head!.length
  for (const part of rest) {
    const found = name.indexOf(part, from)
    if (found < 0) return false
    from = found + part.length
  }
  return from <= name.length - tail.length
}

/** page from the configured severity on. */
export function urgencyOf(call: Pick<Call, 'severity'>, rules: EscalationRules | undefined): 'page' | 'ticket' {
  return rules === undefined || RANK[call.severity] >= RANK[rules.pageFrom] ? 'page' : 'ticket'
}

interface Step {
  channels: readonly string[]
  /** undefined: nobody is called after it. */
  timeoutMs?: number
}

function stepsOf(call: Call, rules: EscalationRules | undefined): Step[] {
  const duty = call.channels.includes(ON_CALL) ? dutyOf(call.owner ?? null, rules) : undefined
  if (duty === undefined) return [{ channels: call.channels }]
  const direct = call.channels.filter(channel => channel !== ON_CALL)
  const first = (channels: readonly string[]): string[] => [...new Set([...channels, ...direct])]
  if (urgencyOf(call, rules) === 'ticket') return [{ channels: first(duty.ticket ?? duty.page[0]!.channels) }]
  const walked = Array.from({ length: duty.rounds }, () => duty.page).flat()
  return walked.map(({ channels, timeout }, index) => ({ channels: index === 0 ? first(channels) : channels, timeoutMs: timeout }))
}

function dutyOf(owner: string | null, rules: EscalationRules | undefined) {
  if (rules === undefined) return undefined
  const name = owner !== null && Object.hasOwn(rules.onCall, owner) ? owner : ON_CALL
  return Object.hasOwn(rules.onCall, name) ? rules.onCall[name] : undefined
}

function queue(state: CallState, call: Call, channel: string, action: Page['action'], summary: string, details: Page['details']): void {
  const id = derivedId('page', call.incidentId, channel, action, call.sequence++)
  state.pages.push({ id, channel, page: { action, dedupKey: call.incidentId, ...call.told[channel]!, summary, details } })
}

function trim(state: CallState): boolean {
  const excess = state.pages.length - PAGES_MAX
  for (let dropped = 0; dropped < excess; dropped++) {
    const stale = state.pages.findIndex(({ page }) => page.action !== 'resolve')
    state.pages.splice(Math.max(0, stale), 1)
  }
  return excess <= 0
}
