// The policies and runbooks of the worlds, loaded once. Their limits are what the checkers hold decisions to.

import { loadPolicySet, type PolicySet } from '../../actuators/decide/policy-file.ts'
import { METRIC } from './targets.ts'

export interface SimPolicy {
  set: PolicySet
  cooldownMs: number
  attemptsMax: number
  windowMs: number
  concurrentMax: number
  approvers: number
  approvalMs: number
  /** Nobody acts for so long after another's change of the target, and after a deploy of it. */
  handsOffMs: number
  settleMs: number
  /** How long an incident is watched before it is decided: time for raw signals to contradict a false alarm. */
  confirmMs: number
  /** Of the planned windows, one every WINDOW_EVERY_S; 0: none. */
  windowOpenMs: number
  /** After so long without an act, a question or a call people are called. */
  blockedForMs: number
  /** Of its first runbook, which goes through the instances of a service; none: it acts on one target. */
  stages: readonly (number | string)[]
}

type Limits = Omit<SimPolicy, 'set'>

/** Seconds between the planned windows' openings, from each minute on. */
export const WINDOW_EVERY_S = 10
const HOLDS = { handsOffMs: 8_000, settleMs: 3_000, windowOpenMs: 0, confirmMs: 0, blockedForMs: 300_000, stages: [] } as const
const LIMITS: readonly Limits[] = [
  { cooldownMs: 10_000, attemptsMax: 3, windowMs: 600_000, concurrentMax: 1, approvers: 0, approvalMs: 0, ...HOLDS },
  { cooldownMs: 5_000, attemptsMax: 2, windowMs: 600_000, concurrentMax: 2, approvers: 0, approvalMs: 0, ...HOLDS },
  { cooldownMs: 20_000, attemptsMax: 5, windowMs: 300_000, concurrentMax: 1, approvers: 0, approvalMs: 0, ...HOLDS, windowOpenMs: 3_000 },
  { cooldownMs: 5_000, attemptsMax: 3, windowMs: 600_000, concurrentMax: 2, approvers: 1, approvalMs: 20_000, ...HOLDS, handsOffMs: 20_000 },
  { cooldownMs: 5_000, attemptsMax: 4, windowMs: 600_000, concurrentMax: 1, approvers: 2, approvalMs: 30_000, ...HOLDS }
]

const CHECK = `{name: latency, type: metric, metric: ${METRIC}, aggregate: mean, window: 4s, minSamples: 2, expect: 'value < 200.0'}`
const verify = `verify: {deadline: 10s, holdFor: 3s, checks: [${CHECK}]}`
const step = (name: string, verb: string, undo: boolean, staged = ''): string =>
  `    - {name: ${name}, ${staged}action: {driver: sim, verb: ${verb}}, timeout: 4s, settle: 1s, ${verify}${undo ? ', undo: {driver: sim, verb: revert}' : ''}}\n`
const runbook = (name: string, risk: string, steps: string): string =>
  `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: {name: ${name}}\nspec:\n  risk: ${risk}\n  signatures: [latency]\n  steps:\n${steps}`
const RUNBOOKS = [
  runbook('gentle', 'low', step('restart', 'restart', true)),
  runbook('firm', 'medium', step('restart', 'restart', true) + step('heavy', 'heavy', false))
]

const stagedRunbook = (stages: Limits['stages']): string =>
  runbook('staged', 'low', step('restart', 'restart', true, `targets: {group: service}, stages: [${stages.join(', ')}], `))

/** One more or less of something that changes nothing but the version. */
function policyYaml(limits: Limits, version: number): string {
  const { cooldownMs, attemptsMax, windowMs, concurrentMax, approvers, approvalMs, handsOffMs, settleMs, windowOpenMs, confirmMs, blockedForMs, stages } =
    limits
  return `apiVersion: homeostat.io/v1
kind: Policy
metadata: {name: sim, description: version ${version}}
spec:
  match: 'cause.signature == "latency"'
  runbooks: [${stages.length > 0 ? 'staged' : 'gentle'}, firm]
  autonomy: ${approvers > 0 ? 'approve' : 'auto'}
  evidence: {causeScoreMin: 0.2}
  confirmFor: ${confirmMs}ms
  cooldown: {initial: ${cooldownMs}ms, factor: 2, max: 60s, jitter: 0}
  attempts: {max: ${attemptsMax}, window: ${windowMs}ms}
  blastRadius: {concurrentMax: ${concurrentMax}}
  ownership: {handsOff: ${handsOffMs}ms}
  deploys: {settle: ${settleMs}ms}
${windowOpenMs > 0 ? `  maintenanceWindows: [{schedule: '*/${WINDOW_EVERY_S} * * * * *', duration: ${windowOpenMs}ms}]\n` : ''}\
  recurrenceWindow: 60s
  escalate: {blockedFor: ${blockedForMs}ms}
${approvers > 0 ? `  approval: {approvers: ${approvers}, expiresAfter: ${approvalMs}ms}\n` : ''}`
}

function load(limits: Limits, version: number): SimPolicy {
  const staged = limits.stages.length > 0 ? [stagedRunbook(limits.stages)] : []
  const loaded = loadPolicySet([policyYaml(limits, version), ...RUNBOOKS, ...staged].map((text, index) => ({ file: `${index}.yaml`, text })))
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return { set: loaded.set, ...limits }
}

/** Each in two versions, so that people can change it. */
export const POLICIES = LIMITS.map(inTwoVersions)
/** The same, which call people soon when nothing is done. */
export const CALLING = LIMITS.map(limits => inTwoVersions({ ...limits, blockedForMs: 3_000 }))
/** For worlds of random alarms: looks for some seconds before it decides. */
export const CONFIRMING = inTwoVersions({ ...LIMITS[1]!, confirmMs: 4_000 })
/** For worlds whose targets are the instances of one service: two at once within a stage, so that stages and not the radius part them. */
export const STAGED = inTwoVersions({ ...LIMITS[0]!, cooldownMs: 5_000, concurrentMax: 2, stages: [1, '50%', '100%'] })

function inTwoVersions(limits: Limits): readonly [SimPolicy, SimPolicy] {
  return [load(limits, 1), load(limits, 2)]
}
