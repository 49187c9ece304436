// Collateral: is somebody who depends on what was acted on worse off than before the act?
//
// Dependents are the callers that traces have shown. Their raw signals (mean duration and error ratio of the requests that they serve
// themselves) now, against before the incident and against just before the act: the incident's own damage to them is not the act's.
// A dependent that was busy before and is silent now is `no_data`: harm cannot be ruled out. One that had little to do is not judged.

import type { Command } from '../../schemas/command.ts'
import { entityService } from '../../schemas/entity.ts'
import type { CheckResult } from '../../schemas/outcome.ts'
import type { Clock, Logger, Signals } from '../../schemas/ports.ts'
import { aggregate } from './aggregate.ts'
import type { Sample } from './recovery.ts'
import { WORSE_RATIO } from './verdict.ts'

/** Dependents looked at, two queries for each signal of each; a service with more callers is judged by the first of them by name. */
export const DEPENDENTS_MAX = 10
/** What a dependent was like: this long before the incident, and before the act. */
export const BEFORE_MS = 60_000
/** A dependent with fewer samples before the incident has too little traffic to be judged: one a default window of 10 s. */
export const BEFORE_SAMPLES_MIN = 6
/** The newest samples since the act. What it cost while it was done (a restart) is past by then. */
export const AFTER_SAMPLES = 3

interface DependentSignal {
  metric: string
  /** A rise by less is no harm, however small the value was. In the metric's unit. */
  riseMin: number
  what: string
}
const SIGNALS: readonly DependentSignal[] = [
  { metric: 'homeostat.span.duration', riseMin: 0.05, what: 's mean duration' },
  { metric: 'homeostat.span.error_ratio', riseMin: 0.05, what: 'of its requests fail' }
]

export interface CollateralPorts {
  signals: Pick<Signals, 'series'>
  /** Services that call `service` (`shop/orders`), as traces showed it. */
  dependentsOf(environment: string, service: string): Promise<readonly string[]>
  clock: Pick<Clock, 'nowMs'>
  logger: Pick<Logger, 'warn'>
}

/**
 * @returns a function of the command and the time when its step began that gives one check a dependent and signal: `fail` when the mean of
 *          the newest samples is more than WORSE_RATIO times what it was, and by more than the least rise that matters; it never throws
 */
export function collateralChecks(ports: CollateralPorts): (command: Command, sinceMs: number) => Promise<readonly CheckResult[]> {
  return async (command, sinceMs) => {
    try {
      const dependents = await ports.dependentsOf(command.environment, entityService(command.target))
      const asked = [...dependents].sort().slice(0, DEPENDENTS_MAX)
      const looks = await Promise.all(asked.flatMap(dependent => SIGNALS.map(signal => lookAt(ports, command, sinceMs, dependent, signal))))
      return looks.filter(look => look !== undefined)
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      ports.logger.warn({ commandId: command.id, error }, 'the dependents of a target could not be looked at')
      return [{ ...common(ports, 'dependents', ''), result: 'no_data', value: null, samples: 0, detail: `the dependents are not known: ${detail}` }]
    }
  }
}

async function lookAt(
  ports: CollateralPorts,
  { environment, startedAtMs }: Command,
  sinceMs: number,
  dependent: string,
  { metric, riseMin, what }: DependentSignal
): Promise<CheckResult | undefined> {
  const nowMs = ports.clock.nowMs()
  const query = { entity: dependent, environment, metric }
  const [earlier, recent] = await Promise.all([
    ports.signals.series({ ...query, fromMs: startedAtMs - BEFORE_MS, toMs: startedAtMs - 1 }),
    ports.signals.series({ ...query, fromMs: sinceMs - BEFORE_MS, toMs: nowMs })
  ])
  if (earlier.length < BEFORE_SAMPLES_MIN) return undefined
  const after = recent.filter(({ atMs }) => atMs >= sinceMs).slice(-AFTER_SAMPLES)
  const before = Math.max(mean(earlier) ?? 0, mean(recent.filter(({ atMs }) => atMs < sinceMs && atMs >= startedAtMs)) ?? 0)
  const bound = Math.max(before * WORSE_RATIO, before + riseMin)
  const value = mean(after) ?? null
  const base = { ...common(ports, `${dependent} ${metric}`, `value <= ${rounded(bound)}`), value, samples: after.length }
  if (after.length < AFTER_SAMPLES || value === null) {
    return { ...base, result: 'no_data', detail: `${dependent} depends on it: ${after.length} of ${AFTER_SAMPLES} samples of ${metric} since the act` }
  }
  const detail = `${dependent} depends on it: ${rounded(value)} ${what}, ${rounded(before)} before`
  return { ...base, result: value > bound ? 'fail' : 'pass', detail }
}

function common({ clock }: CollateralPorts, name: string, expect: string): Pick<CheckResult, 'name' | 'type' | 'expect' | 'atMs'> {
  return { name, type: 'collateral', expect, atMs: clock.nowMs() }
}

function mean(samples: readonly Sample[]): number | undefined {
  return aggregate(
    'mean',
    samples.map(({ value }) => value).filter(value => Number.isFinite(value))
  )
}

const rounded = (value: number): number => Number(value.toPrecision(3))
