// One look at one check: a metric from raw signals, an HTTP or TCP probe, or the target's state through its driver.
//
// Answers pass, fail or no_data, always with value, samples and bound, so that a person sees which value failed. Signals
// are what was measured, never the alert. Too few samples, an unreachable store and a fact that is not there are all
// no_data: nothing of that is ever healthy.

import type { Command } from '../../schemas/command.ts'
import { AppError } from '../../schemas/errors.ts'
import type { CheckResult } from '../../schemas/outcome.ts'
import type { Clock, Driver, Observation, Signals } from '../../schemas/ports.ts'
import type { Check } from '../../schemas/runbook.ts'
import { aggregate } from './aggregate.ts'
import { type Conditions, METRIC_VARIABLES, STATE_VARIABLES } from './conditions.ts'
import { recoveredAtMs, type Sample } from './recovery.ts'

/** Asks a URL once, without following redirects. @throws when there is no HTTP answer within the time */
export type HttpProbe = (url: string, timeoutMs: number) => Promise<{ status: number }>

/**
 * Connects once to `host:port`, sends, and waits for the text to come back.
 * @throws AppError `timeout` when it does not within the time, `step_refused` for a host that may not be asked
 */
export type TcpProbe = (address: string, exchange: { send?: string | undefined; answer?: string | undefined }, timeoutMs: number) => Promise<void>

export interface CheckPorts {
  signals: Signals
  drivers: ReadonlyMap<string, Driver>
  probe: HttpProbe
  tcpProbe: TcpProbe
  clock: Clock
  conditions: Conditions
}

/** What the checks of one step speak of. */
export interface CheckSubject {
  command: Command
  /** The step's own target; metric and state checks default to the command's target and to this. */
  actTarget: string
  /** Samples before this do not count: the act began here. Null before the act, when the whole window counts. */
  sinceMs: number | null
}

export interface Look {
  result: CheckResult
  /** From when on the signal itself was good, by its samples or the state's own facts; null when the look alone knows. */
  goodSinceMs: number | null
  /** Whether the signal was good at every sample that was looked at. */
  isGoodThroughout?: boolean
  /** Time of the newest sample; null for checks without samples. */
  newestMs: number | null
}

const LOOK_TIMEOUT_MS = 5_000 // A store or driver that takes longer has no news; the next look asks again.
const DETAIL_LENGTH_MAX = 300

/** Looks once at every check, in parallel. Never throws. */
export function lookAtAll(ports: CheckPorts, subject: CheckSubject, checks: readonly Check[]): Promise<Look[]> {
  return Promise.all(checks.map(check => lookAt(ports, subject, check)))
}

async function lookAt(ports: CheckPorts, subject: CheckSubject, check: Check): Promise<Look> {
  const abort = new AbortController()
  const allowedMs = 'timeout' in check ? check.timeout + LOOK_TIMEOUT_MS : LOOK_TIMEOUT_MS
  const late = ports.clock.sleep(allowedMs, abort.signal).then(() => unknown(ports, check, `no answer within ${allowedMs} ms`))
  try {
    return await Promise.race([lookOnce(ports, subject, check), late])
  } catch (error) {
    return unknown(ports, check, error instanceof Error ? error.message : String(error))
  } finally {
    abort.abort('answered') // A reason of our own: the default one is an exception with a stack.
  }
}

function lookOnce(ports: CheckPorts, subject: CheckSubject, check: Check): Promise<Look> {
  switch (check.type) {
    case 'metric':
      return metricLook(ports, subject, check)
    case 'http':
      return httpLook(ports, check)
    case 'tcp':
      return tcpLook(ports, check)
    case 'state':
      return stateLook(ports, subject, check)
  }
}

type MetricCheck = Extract<Check, { type: 'metric' }>

async function metricLook(ports: CheckPorts, subject: CheckSubject, check: MetricCheck): Promise<Look> {
  const { command, sinceMs } = subject
  const nowMs = ports.clock.nowMs()
  const query = { entity: check.entity ?? command.target, environment: command.environment, metric: check.metric, attributes: check.attributes }
  const [points, earlier] = await Promise.all([
    ports.signals.series({ ...query, fromMs: sinceMs ?? nowMs - check.window, toMs: nowMs }),
    ports.signals.series({ ...query, fromMs: command.startedAtMs - check.window, toMs: command.startedAtMs - 1 })
  ])
  const usable = (all: readonly Sample[]) => all.filter(point => Number.isFinite(point.value))
  const samples = usable(points).filter(point => point.atMs >= (sinceMs ?? 0))
  const window = samples.filter(point => point.atMs > nowMs - check.window)
  const newestMs = samples.at(-1)?.atMs ?? null
  const value = aggregate(
    check.aggregate,
    window.map(point => point.value)
  )
  const common = { ...base(ports, check), value: value ?? null, samples: window.length, expect: check.expect }
  if (window.length < check.minSamples || value === undefined) {
    return {
      result: { ...common, result: 'no_data', detail: `${window.length} of ${check.minSamples} samples of ${check.metric}` },
      goodSinceMs: null,
      newestMs
    }
  }
  const before = aggregate(
    check.aggregate,
    usable(earlier).map(point => point.value)
  )
  const ask = (asked: number, count: number) =>
    ports.conditions.ask(check.expect, METRIC_VARIABLES, { ...scope(command), value: asked, samples: count, before: earlier.length === 0 ? null : before })
  const { answer, reason } = ask(value, window.length)
  const detail = `${check.aggregate} of ${check.metric} over ${window.length} samples is ${value}, expected ${check.expect}`
  if (answer === 'unknown') return { result: { ...common, result: 'no_data', detail: cut(`${detail}: ${reason}`) }, goodSinceMs: null, newestMs }
  if (answer === 'no') return { result: { ...common, result: 'fail', detail: cut(detail) }, goodSinceMs: null, newestMs }
  const goodSinceMs = recoveredAtMs(samples, check.aggregate, check.window, (asked, count) => ask(asked, count).answer === 'yes') ?? null
  return { result: { ...common, result: 'pass', detail: cut(detail) }, goodSinceMs, isGoodThroughout: goodSinceMs === samples[0]?.atMs, newestMs }
}

async function httpLook(ports: CheckPorts, check: Extract<Check, { type: 'http' }>): Promise<Look> {
  const expect = expectOf(check)
  let status: number
  try {
    status = (await ports.probe(check.url, check.timeout)).status
  } catch (error) {
    // A host that may not be asked tells nothing about the service.
    if (error instanceof AppError && error.code === 'step_refused') return unknown(ports, check, error.message)
    // No answer is what a broken service gives: that is a failure, not a lack of data.
    const detail = cut(`no answer: ${error instanceof Error ? error.message : String(error)}`)
    return { result: { ...base(ports, check), result: 'fail', value: null, samples: 1, expect, detail }, goodSinceMs: null, newestMs: null }
  }
  const result = status === check.status ? 'pass' : 'fail'
  return { result: { ...base(ports, check), result, value: status, samples: 1, expect, detail: `answered ${status}` }, goodSinceMs: null, newestMs: null }
}

async function tcpLook(ports: CheckPorts, check: Extract<Check, { type: 'tcp' }>): Promise<Look> {
  const common = { ...base(ports, check), value: null, samples: 1, expect: expectOf(check) }
  try {
    await ports.tcpProbe(check.address, check, check.timeout)
    return { result: { ...common, result: 'pass', detail: `${check.address} answered` }, goodSinceMs: null, newestMs: null }
  } catch (error) {
    if (error instanceof AppError && error.code === 'step_refused') return unknown(ports, check, error.message)
    const detail = cut(`no answer: ${error instanceof Error ? error.message : String(error)}`)
    return { result: { ...common, result: 'fail', detail }, goodSinceMs: null, newestMs: null }
  }
}

async function stateLook(ports: CheckPorts, subject: CheckSubject, check: Extract<Check, { type: 'state' }>): Promise<Look> {
  const driver = ports.drivers.get(check.driver)
  if (!driver) return unknown(ports, check, `driver ${check.driver} is not configured`)
  const observed = await driver.observe(check.target ?? subject.actTarget)
  if (observed.state === 'unknown') return unknown(ports, check, 'the driver cannot see the target')
  const facts = factsOf(observed)
  const { answer, reason, reads } = ports.conditions.ask(check.expect, STATE_VARIABLES, { ...scope(subject.command), facts })
  const asked = Object.keys(facts).filter(name => reads.some(({ variable, field }) => variable === 'facts' && field === name))
  // A driver knows a dozen facts of a target: those that were asked for say why. All of them where that cannot be told (`facts["a-b"]`).
  const seen = (asked.length > 0 ? asked : Object.keys(facts)).map(name => `${name} ${facts[name]}`)
  const detail = cut(`${seen.join(', ')}: ${reason}`)
  const result = answer === 'yes' ? 'pass' : answer === 'no' ? 'fail' : 'no_data'
  const startedAtMs = typeof facts.startedAtMs === 'number' ? facts.startedAtMs : null
  return {
    result: { ...base(ports, check), result, value: null, samples: 1, expect: check.expect, detail },
    goodSinceMs: result === 'pass' ? startedAtMs : null,
    newestMs: null
  }
}

/** Facts as conditions see them: the driver's, and `state`. */
export function factsOf(observed: Observation): Record<string, string | number | boolean> {
  return { ...observed.facts, state: observed.state }
}

/** The variables that every condition sees. */
export function scope(command: Command): { incident: unknown; cause: unknown; target: string } {
  return { incident: command.incident, cause: command.cause, target: command.target }
}

function unknown(ports: CheckPorts, check: Check, detail: string): Look {
  const expect = expectOf(check)
  return { result: { ...base(ports, check), result: 'no_data', value: null, samples: 0, expect, detail: cut(detail) }, goodSinceMs: null, newestMs: null }
}

/** What passes, in words. */
function expectOf(check: Check): string {
  switch (check.type) {
    case 'http':
      return `status ${check.status}`
    case 'tcp':
      return check.answer === undefined ? 'a connection' : `an answer with ${JSON.stringify(check.answer)}`
    default:
      return check.expect
  }
}

function base(ports: CheckPorts, check: Check): Pick<CheckResult, 'name' | 'type' | 'atMs'> {
  return { name: check.name, type: check.type, atMs: ports.clock.nowMs() }
}

const cut = (text: string): string => (text.length > DETAIL_LENGTH_MAX ? `${text.slice(0, DETAIL_LENGTH_MAX - 1)}…` : text)
