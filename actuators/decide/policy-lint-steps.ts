// Lint of a runbook's steps: times that do not fit each other, acts that the actuator would refuse, checks that cannot see.

import { AppError } from '../../schemas/errors.ts'
import type { Driver } from '../../schemas/ports.ts'
import type { Check, Runbook, RunbookStep } from '../../schemas/runbook.ts'
import { span } from './guards/guard.ts'
import type { Found } from './policy-documents.ts'
import { didYouMean } from './policy-file.ts'
import { type Finding, finding } from './policy-finding.ts'

/** What the actuator's side of the configuration says. */
export interface ActFacts {
  /** detect.window: how often a metric that is made of spans and logs gets a sample. */
  derivedIntervalMs: number
  /** Drivers as the actuator has them; absent: not known. */
  drivers?: ReadonlyMap<string, Pick<Driver, 'verbs' | 'check'>> | undefined
  /** Own time limit of a driver's act, ms. */
  actTimeoutMs?: ((driver: string, verb: string) => number | undefined) | undefined
  /** Hosts that http and tcp checks may ask beside loopback; absent: not known. */
  probeHosts?: readonly string[] | undefined
}

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]']
/** Metrics that Homeostat makes itself, one sample a window. */
const DERIVED = /^homeostat\.(span|edge|log)\./
/** Nobody can ask them for a state: http and exec name things, they do not watch them. */
const BLIND_DRIVERS = ['http', 'exec']

type Path = readonly PropertyKey[]

export function lintRunbook(found: Found<Runbook>, facts: ActFacts): Finding[] {
  const ofSteps = found.document.value.spec.steps.flatMap((step, index) => {
    const path = ['spec', 'steps', index]
    const waited = step.waitFor?.checks ?? []
    return [
      ...timeFindings(found, step, path, facts),
      ...stageFindings(found, step, path),
      ...actFindings(found, step, path, facts),
      ...step.verify.checks.flatMap((check, at) => checkFindings(found, step, check, [...path, 'verify', 'checks', at], facts)),
      ...waited.flatMap((check, at) => checkFindings(found, step, check, [...path, 'waitFor', 'checks', at], facts))
    ]
  })
  return [...undoFindings(found), ...ofSteps]
}

function undoFindings(found: Found<Runbook>): Finding[] {
  const { risk, steps } = found.document.value.spec
  const final = steps.filter(({ undo }) => undo === undefined).map(({ name }) => name)
  if (risk === 'low' || final.length === 0) return []
  const message = `a ${risk}-risk runbook, and nothing takes back what ${final.join(', ')} ${final.length === 1 ? 'does' : 'do'}: harm would stay`
  return [finding('warning', 'undo-missing', found, ['spec', 'risk'], message, 'Give the step an undo, or lower the risk if it needs none.')]
}

function timeFindings(found: Found<Runbook>, step: RunbookStep, path: Path, facts: ActFacts): Finding[] {
  const findings: Finding[] = []
  const { deadline, holdFor } = step.verify
  // A deadline of 0 means to look once.
  if (deadline > 0 && deadline < step.settle + holdFor) {
    const needed = span(step.settle + holdFor)
    const message = `deadline ${span(deadline)} is shorter than settle ${span(step.settle)} and holdFor ${span(holdFor)} together: what recovers a little late is called ineffective`
    findings.push(finding('warning', 'deadline-short', found, [...path, 'verify', 'deadline'], message, `Give it ${needed} or more.`))
  }
  const { driver, verb } = step.action
  const ownMs = facts.actTimeoutMs?.(driver, verb)
  if (ownMs !== undefined && ownMs > step.timeout) {
    const message = `timeout ${span(step.timeout)} cuts ${driver} ${verb} off, which may take ${span(ownMs)} by the configuration: then nobody knows whether it happened, and the target is frozen`
    findings.push(finding('warning', 'timeout-short', found, [...path, 'timeout'], message, `Give it ${span(ownMs)} or more.`))
  }
  return findings
}

/** Members that no stage reaches, and checks that look at one target whichever member is acted on. */
function stageFindings(found: Found<Runbook>, { stages, verify }: RunbookStep, path: Path): Finding[] {
  const last = stages?.at(-1)
  if (stages === undefined || last === undefined) return []
  const findings: Finding[] = []
  if (last !== '100%') {
    const message = `the last stage ends with ${last}: whatever is beyond it is never acted on`
    findings.push(finding('warning', 'stages-partial', found, [...path, 'stages', stages.length - 1], message, 'Let the last stage be 100%, if all are meant.'))
  }
  for (const [index, check] of verify.checks.entries()) {
    const fixed = check.type === 'metric' ? (['entity', check.entity] as const) : check.type === 'state' ? (['target', check.target] as const) : undefined
    if (fixed?.[1] === undefined) continue
    const message = `looks at ${fixed[1]} whichever member was acted on`
    findings.push(
      finding('warning', 'check-not-of-member', found, [...path, 'verify', 'checks', index, fixed[0]], message, 'Leave it out: the check is of the member.')
    )
  }
  return findings
}

/** As the actuator will judge the acts: by the drivers themselves. */
function actFindings(found: Found<Runbook>, step: RunbookStep, path: Path, { drivers }: ActFacts): Finding[] {
  if (drivers === undefined) return []
  const findings: Finding[] = []
  for (const part of ['action', 'undo'] as const) {
    const act = step[part]
    if (act === undefined) continue
    const driver = drivers.get(act.driver)
    if (driver === undefined) {
      const message = `the driver ${act.driver} is not configured (act.drivers)`
      findings.push(finding('error', 'unknown-driver', found, [...path, part, 'driver'], message, didYouMean('Drivers', act.driver, [...drivers.keys()])))
    } else if (!Object.hasOwn(driver.verbs, act.verb)) {
      const hint = didYouMean('Verbs', act.verb, Object.keys(driver.verbs))
      findings.push(finding('error', 'unknown-verb', found, [...path, part, 'verb'], `the driver ${act.driver} has no verb ${act.verb}`, hint))
    } else if (act.target !== undefined) {
      // Without a target it is the entity of the cause, which is known only then.
      const reason = refusalOf(driver, { target: act.target, verb: act.verb, args: act.args })
      if (reason !== undefined) findings.push(finding('error', 'act-refused', found, [...path, part, 'target'], `the actuator would refuse it: ${reason}`, ''))
    }
  }
  return findings
}

function refusalOf(driver: Pick<Driver, 'check'>, order: Parameters<Driver['check']>[0]): string | undefined {
  try {
    driver.check(order)
    return undefined
  } catch (error) {
    if (error instanceof AppError && error.code === 'step_refused') return error.message
    throw error
  }
}

function checkFindings(found: Found<Runbook>, step: RunbookStep, check: Check, path: Path, facts: ActFacts): Finding[] {
  switch (check.type) {
    case 'metric':
      return metricFindings(found, step, check, path, facts)
    case 'http':
      return hostFindings(found, [...path, 'url'], URL.canParse(check.url) ? new URL(check.url).hostname : undefined, check.url, facts)
    case 'tcp':
      return hostFindings(found, [...path, 'address'], check.address.replace(/:\d+$/, ''), check.address, facts)
    case 'state':
      return stateFindings(found, check, path, facts)
  }
}

function metricFindings(found: Found<Runbook>, step: RunbookStep, check: Extract<Check, { type: 'metric' }>, path: Path, facts: ActFacts): Finding[] {
  if (!DERIVED.test(check.metric)) return []
  const samplesMax = (ms: number): number => Math.ceil(ms / facts.derivedIntervalMs)
  const every = `${check.metric} has one sample in ${span(facts.derivedIntervalMs)} (detect.window)`
  if (samplesMax(check.window) < check.minSamples) {
    const message = `can never pass: ${every}, so ${span(check.window)} hold ${samplesMax(check.window)} of ${check.minSamples}`
    const hint = `A window of ${span(check.minSamples * facts.derivedIntervalMs)} or more, or fewer samples.`
    return [finding('error', 'samples-impossible', found, [...path, 'minSamples'], message, hint)]
  }
  const reachMs = step.settle + step.verify.deadline + step.verify.holdFor
  if (path.includes('verify') && samplesMax(reachMs) < check.minSamples) {
    const message = `can never pass: ${every}, so ${samplesMax(reachMs)} of ${check.minSamples} come within settle, deadline and holdFor`
    return [finding('error', 'samples-impossible', found, [...path, 'minSamples'], message, 'A longer deadline, or fewer samples.')]
  }
  return []
}

function hostFindings(found: Found<Runbook>, path: Path, host: string | undefined, asked: string, { probeHosts }: ActFacts): Finding[] {
  if (host === undefined)
    return [finding('error', 'url-invalid', found, path, `${asked} is no URL: the check can never see anything`, 'Such as http://127.0.0.1:8080/healthz.')]
  if (probeHosts === undefined || LOOPBACK_HOSTS.includes(host) || probeHosts.includes(host)) return []
  const message = `can never see anything: the host ${host} is not among act.probeHosts`
  return [finding('error', 'host-refused', found, path, message, probeHosts.length === 0 ? 'Add it there.' : didYouMean('Hosts', host, probeHosts))]
}

function stateFindings(found: Found<Runbook>, check: Extract<Check, { type: 'state' }>, path: Path, { drivers }: ActFacts): Finding[] {
  const at = [...path, 'driver']
  if (BLIND_DRIVERS.includes(check.driver)) {
    const message = `can never see anything: the driver ${check.driver} knows no state`
    return [finding('error', 'driver-blind', found, at, message, 'Ask the service itself: a check of type http, tcp or metric.')]
  }
  if (drivers === undefined || drivers.has(check.driver)) return []
  const message = `can never see anything: the driver ${check.driver} is not configured (act.drivers)`
  return [finding('error', 'unknown-driver', found, at, message, didYouMean('Drivers', check.driver, [...drivers.keys()]))]
}
