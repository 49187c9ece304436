// A decider whose policy goes through the instances of a service in stages, and whoever answers its commands.

import type { UnsignedCommand } from '../../../../actuators/decide/command.ts'
import type { DecideState } from '../../../../actuators/decide/state.ts'
import type { Control } from '../../../../schemas/control.ts'
import type { Outcome, Verdict } from '../../../../schemas/outcome.ts'
import { anIncident, anOutcome, decider, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const AUTO = 'autonomy: auto\ncooldown: {initial: 10s, jitter: 0}\nattempts: {max: 3, window: 1h}\nblastRadius: {concurrentMax: 2}'
export const STAGES = '[1, 50%, 100%]'

export interface StagedOptions {
  spec?: string
  stages?: string
  /** Of the step, as YAML. */
  undo?: string
  runbooks?: string
  members?: number
  /** Said before the incident; instead of who the members are. */
  said?: readonly Control[]
  state?: DecideState
}

/** `lab/orders@orders-1` … */
export const memberNames = (count: number): string[] => Array.from({ length: count }, (_, index) => `lab/orders@orders-${index + 1}`)

export function stagedYaml(stages = STAGES, undo = 'undo: {driver: process, verb: stop}, ', name = 'staged'): string {
  const check = '{name: up, type: http, url: "http://127.0.0.1/"}'
  const step = `{name: act, targets: {group: service}, stages: ${stages}, ${undo}action: {driver: process, verb: restart}, verify: {checks: [${check}]}}`
  return `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: {name: ${name}}\nspec:\n  risk: low\n  signatures: [silent, errors]\n  steps:\n    - ${step}\n`
}

export function group(members: readonly string[], fields: Partial<Extract<Control, { kind: 'group' }>> = {}): Control {
  return { kind: 'group', environment: 'lab', group: 'lab/orders', size: members.length, members: [...members], by: 'ada', atMs: T0, ...fields }
}

/** An incident is open, and a first decision made, unless the members are to be said by the test. */
export function staged(options: StagedOptions = {}) {
  const { spec = AUTO, runbooks = '[staged]', members = 4 } = options
  const texts = [
    stagedYaml(options.stages, options.undo),
    ...(runbooks.includes('restart') ? [runbookYaml()] : []),
    ...(runbooks.includes('spare') ? [runbookYaml('spare', 'risk: medium\nsignatures: [silent]')] : [])
  ]
  const set = policySet(policyYaml(spec, 'orders', 'cause.service == "orders"', runbooks), ...texts)
  const world = decider(set, options.state === undefined ? {} : { state: options.state })
  if (options.state === undefined) {
    for (const control of options.said ?? [group(memberNames(members))]) world.control(control, 0)
    world.tick(0)
    world.incident(anIncident(), 1)
  }
  const command = (member: string): UnsignedCommand => world.commands().findLast(({ target }) => target === nameOf(member))!
  return {
    ...world,
    set,
    command,
    watch: () => world.state.watches['incident-1']!,
    /** `orders-1`, or `-orders-1` for one that takes back. */
    ordered: () => world.commands().map(({ target, undoes }) => `${undoes === undefined ? '' : '-'}${target.slice('lab/orders@'.length)}`),
    /** What became of the last command for a member. */
    answer(member: string, verdict: Verdict, atS: number, fields: Partial<Outcome> = {}) {
      const { id } = command(member)
      const decision = world.decisions().find(({ commandId }) => commandId === id)!
      return world.outcome(anOutcome(decision, verdict, { recordedAtMs: T0 + atS * 1_000, ...fields }), atS)
    }
  }
}

const nameOf = (member: string): string => `lab/orders@${member}`
