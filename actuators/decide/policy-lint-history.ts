// Lint of metric checks against telemetry that really came: a check that never saw data cannot pass.
//
// Two steps, since the asking is not ours: what is to be asked (one question for checks that ask the same), and what the answers say.

import type { Check, Runbook } from '../../schemas/runbook.ts'
import { closestName } from '../../schemas/yaml-hints.ts'
import { span } from './guards/guard.ts'
import type { Found, PolicyDocuments } from './policy-documents.ts'
import { type Finding, finding } from './policy-finding.ts'

/** What a check reads. */
export interface MetricQuestion {
  metric: string
  /** Undefined: the check reads the target's, whatever that will be, so anybody's will do. */
  entity: string | undefined
  attributes: Readonly<Record<string, string>>
  windowMs: number
}
export interface MetricAnswer {
  /** In the time that was asked about. */
  samples: number
  /** Most samples that lay between two multiples of the window. */
  samplesInWindowMax: number
}

interface Asked {
  found: Found<Runbook>
  path: readonly PropertyKey[]
  check: Extract<Check, { type: 'metric' }>
}

/** Questions of all metric checks, each once, with the key by which it is answered. */
export function metricQuestions(documents: Pick<PolicyDocuments, 'runbooks'>): Map<string, MetricQuestion> {
  return new Map(metricChecks(documents).map(({ check }) => [keyOf(check), questionOf(check)]))
}

/**
 * @param answers by the keys of `metricQuestions`; a question without an answer is passed over
 * @param metrics that were seen at all, for hints
 */
export function lintAgainstHistory(
  documents: Pick<PolicyDocuments, 'runbooks'>,
  answers: ReadonlyMap<string, MetricAnswer>,
  metrics: readonly string[],
  lookbackMs: number
): Finding[] {
  return metricChecks(documents).flatMap(({ found, path, check }) => {
    const answer = answers.get(keyOf(check))
    if (answer === undefined) return []
    const what = `${check.metric}${attributesText(check.attributes)} of ${check.entity ?? 'anybody'}`
    if (answer.samples === 0) {
      const near = closestName(
        check.metric,
        metrics.filter(name => name !== check.metric)
      )
      const isSeen = metrics.includes(check.metric)
      const hint = isSeen
        ? `${check.metric} comes from others: look at entity and attributes.`
        : near === undefined
          ? 'See SELECT DISTINCT MetricName.'
          : `Did you mean ${near}?`
      return [finding('error', 'never-saw-data', found, [...path, 'metric'], `never saw data: no sample of ${what} within ${span(lookbackMs)}`, hint)]
    }
    // A window that begins elsewhere may hold one more.
    const most = answer.samplesInWindowMax + 1
    if (most >= check.minSamples) return []
    const message = `can never pass: of ${what} at most ${most} samples came within ${span(check.window)}, and ${check.minSamples} are needed`
    return [finding('error', 'samples-impossible', found, [...path, 'minSamples'], message, 'A longer window, or fewer samples.')]
  })
}

function metricChecks({ runbooks }: Pick<PolicyDocuments, 'runbooks'>): Asked[] {
  return runbooks.flatMap(found =>
    found.document.value.spec.steps.flatMap((step, index) => {
      const parts = [
        { key: 'verify', checks: step.verify.checks },
        { key: 'waitFor', checks: step.waitFor?.checks ?? [] }
      ]
      return parts.flatMap(({ key, checks }) =>
        checks.flatMap((check, at) => (check.type === 'metric' ? [{ found, path: ['spec', 'steps', index, key, 'checks', at], check }] : []))
      )
    })
  )
}

function questionOf({ metric, entity, attributes, window }: Asked['check']): MetricQuestion {
  return { metric, entity, attributes, windowMs: window }
}

function keyOf(check: Asked['check']): string {
  return JSON.stringify(questionOf(check))
}

function attributesText(attributes: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(attributes).map(([name, value]) => `${name}=${value}`)
  return pairs.length === 0 ? '' : ` {${pairs.join(', ')}}`
}
