// Judges one case: what Homeostat says it did against what the injector, the probes and the witness saw. Pure.

import type { IncidentStory } from '../../pipeline/console/live-view.ts'
import type { Outcome, StepResult } from '../../schemas/outcome.ts'
import type { GroundTruth } from './faults.ts'
import { serviceOf } from './layout.ts'
import type { WitnessEvent } from './witness.ts'

export const DETECTION_MAX_MS = 15_000
/** Between the MTTR in ClickHouse and the injector's own. */
export const MTTR_TOLERANCE_MS = 2_000
/** A verdict may be recorded a moment before the probes have seen enough good samples: both have their beat. */
const VERDICT_TOLERANCE_MS = 1_000

export interface CaseReport {
  case: string
  seed: number
  pass: boolean
  /** From the injection to the opening of the incident; null when nothing was found. */
  detectedMs: number | null
  /** From the injection until the fleet was healthy again, by the lab's own probes; null when it never was. */
  healedMs: number | null
  /** From onset to healing as ClickHouse has it; null when it has none. */
  mttrMs: number | null
  environment: string
  target: string
  /** The cause that was acted on, else the first cause of the incident; '' when there is none. */
  cause: string
  signature: string
  /** Effects at the witness on the guilty service, and on any other. */
  actions: number
  wrongActions: number
  /** Names of the steps that were applied, in order. */
  steps: string[]
  verdict: string
  /** Assertions that do not hold, with their figures. */
  failures: string[]
}

export interface CaseFacts {
  truth: GroundTruth
  /** Incidents that began with or after the injection. */
  stories: readonly IncidentStory[]
  /** Effects since the injection, the lab's own (without a key) left out. */
  effects: readonly WitnessEvent[]
  /** The same in the other environments: nothing may happen there. */
  elsewhere: readonly WitnessEvent[]
  mttrMs: number | null
  /** For how long the lab stood still at most: its own times are unsure by so much, and nobody else ran either. */
  heldUpMs: number
}

export function judgeCase({ truth, stories, effects, elsewhere, mttrMs, heldUpMs }: CaseFacts): CaseReport {
  const story = mainStory(stories, truth.target)
  const outcomes = [...(story?.outcomes ?? [])].sort((a, b) => a.recordedAtMs - b.recordedAtMs)
  const steps = outcomes.flatMap(outcome => outcome.steps)
  const opened = stories.map(({ incident }) => incident.openedAtMs)
  const report: Omit<CaseReport, 'pass' | 'failures'> = {
    case: truth.case,
    seed: truth.seed,
    detectedMs: opened.length === 0 ? null : Math.min(...opened) - truth.injectedAtMs,
    healedMs: truth.healthyAgainAtMs === null ? null : truth.healthyAgainAtMs - truth.injectedAtMs,
    mttrMs,
    environment: truth.environment,
    target: truth.target,
    ...causeOf(story),
    actions: effects.filter(({ service }) => service === truth.target).length,
    wrongActions: effects.filter(({ service }) => service !== truth.target).length + elsewhere.length,
    steps: steps.filter(({ result }) => result === 'applied').map(({ name }) => name),
    verdict: outcomes.at(-1)?.verdict ?? ''
  }
  const allSteps = stories.flatMap(({ outcomes: all }) => all.flatMap(outcome => outcome.steps))
  const failures = [
    ...detectionFailures(report, heldUpMs),
    ...effectFailures(report, effects, allSteps),
    ...elsewhere.map(({ service, event }) => `${service} of another environment was acted on (${event}), the fault is in ${truth.environment}`),
    ...verdictFailures(outcomes.at(-1), truth, heldUpMs),
    ...mttrFailures(report, heldUpMs)
  ]
  return { ...report, pass: failures.length === 0, failures }
}

/** The incident that acted on the guilty service; else the first that acted; else the first. */
export function mainStory(stories: readonly IncidentStory[], target: string): IncidentStory | undefined {
  const inOrder = [...stories].sort((a, b) => a.incident.openedAtMs - b.incident.openedAtMs)
  const actedOn = (story: IncidentStory): boolean => story.outcomes.some(({ steps }) => steps.some(step => serviceOf(step.target) === target))
  return inOrder.findLast(actedOn) ?? inOrder.find(({ outcomes }) => outcomes.length > 0) ?? inOrder[0]
}

/** As it was when it mattered: once members close, what is left of an incident ranks its causes differently. */
function causeOf(story: IncidentStory | undefined): { cause: string; signature: string } {
  const acted = story?.decisions.find(({ outcome }) => outcome === 'act')?.target
  const cause = story?.incident.causes.find(({ entity }) => acted === undefined || acted === null || entity === acted)
  return { cause: acted ?? cause?.entity ?? '', signature: cause?.signature ?? '' }
}

function detectionFailures({ detectedMs }: { detectedMs: number | null }, heldUpMs: number): string[] {
  if (detectedMs === null) return ['not detected: no incident since the injection']
  const allowedMs = DETECTION_MAX_MS + heldUpMs
  return detectedMs <= allowedMs ? [] : [`detected ${detectedMs} ms after the injection, at most ${allowedMs} are allowed`]
}

function effectFailures(
  report: { actions: number; wrongActions: number; target: string },
  effects: readonly WitnessEvent[],
  steps: readonly StepResult[]
): string[] {
  const failures: string[] = []
  if (report.actions === 0) failures.push(`the guilty ${report.target} was not acted on`)
  for (const { service, event } of effects.filter(effect => effect.service !== report.target))
    failures.push(`${service} was acted on (${event}), the guilty one is ${report.target}`)
  const keys = effects.map(({ key }) => key)
  const twice = keys.filter((key, index) => keys.indexOf(key) !== index)
  if (twice.length > 0) failures.push(`${twice.length} effects happened twice: key ${twice[0]}`)
  const decided = new Set(steps.map(({ idempotencyKey }) => idempotencyKey))
  const undecided = keys.filter(key => !decided.has(key))
  if (undecided.length > 0) failures.push(`${undecided.length} effects at the witness belong to no step of an outcome: key ${undecided[0]}`)
  const unseen = steps.filter(({ result, idempotencyKey }) => result === 'applied' && !keys.includes(idempotencyKey))
  if (unseen.length > 0) failures.push(`${unseen.length} applied steps have no effect at the witness: ${unseen.map(({ name }) => name).join(', ')}`)
  return failures
}

function verdictFailures(last: Outcome | undefined, truth: GroundTruth, heldUpMs: number): string[] {
  const healed = last?.verdict === 'healed'
  if (truth.healthyAgainAtMs === null) return [`not healthy again${healed ? ', and the verdict is healed' : ''}`]
  if (!last) return ['there is no outcome']
  if (!healed) return [`the verdict is ${last.verdict} (${last.reason}), and the fleet was healthy again`]
  const earlyMs = truth.healthyAgainAtMs - last.recordedAtMs
  return earlyMs > VERDICT_TOLERANCE_MS + heldUpMs ? [`the verdict healed came ${earlyMs} ms before the fleet was healthy`] : []
}

function mttrFailures({ mttrMs, healedMs }: { mttrMs: number | null; healedMs: number | null }, heldUpMs: number): string[] {
  if (healedMs === null) return []
  if (mttrMs === null) return ['ClickHouse has no MTTR of the incident']
  const differenceMs = mttrMs - healedMs
  const allowedMs = MTTR_TOLERANCE_MS + heldUpMs
  return Math.abs(differenceMs) <= allowedMs
    ? []
    : [`MTTR in ClickHouse is ${mttrMs} ms, the injector's ${healedMs} ms: ${differenceMs} ms apart, at most ${allowedMs} are allowed`]
}
