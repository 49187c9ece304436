// Static rules: a threshold of the operator's own, held for a time before it alarms, left only beyond a recovery threshold.
//
// Flow: scorer (each value of a series that a rule matches) -> static-rule -> scorer (tells the anomaly `rule:<name>`).
//
//   calm --violated--> pending --violated for `for`--> open --recovered--> calm

import type { Config } from '../../schemas/config.ts'

export type StaticRule = Config['detect']['rules'][number]

export interface RuleState {
  rule: StaticRule
  /** Event time of the first violation of the running spell; 0 = calm. */
  sinceMs: number
  isOpen: boolean
}

export function ruleState(rule: StaticRule): RuleState {
  return { rule, sinceMs: 0, isOpen: false }
}

/** Does the rule speak of this series? `match` compares attributes; `entity` and `service` name the sender. */
export function ruleMatches(
  rule: StaticRule,
  metric: string,
  sender: { entity: string; service: string },
  attributes: Readonly<Record<string, string>>
): boolean {
  if (rule.metric !== metric) return false
  return Object.entries(rule.match).every(([key, value]) => (attributes[key] ?? (key === 'entity' || key === 'service' ? sender[key] : undefined)) === value)
}

/** Folds a value in. @returns what happened to the rule's anomaly */
export function judgeRule(state: RuleState, value: number, timeMs: number): 'nothing' | 'opened' | 'closed' {
  const { above, below, recover } = state.rule
  const isViolated = (above !== undefined && value > above) || (below !== undefined && value < below)
  if (isViolated) {
    if (state.sinceMs === 0) state.sinceMs = timeMs
    if (state.isOpen || timeMs - state.sinceMs < state.rule.for) return 'nothing'
    state.isOpen = true
    return 'opened'
  }
  if (!state.isOpen) {
    state.sinceMs = 0
    return 'nothing'
  }
  const isRecovered = recover === undefined || (above !== undefined ? value <= recover : value >= recover)
  if (!isRecovered) return 'nothing'
  state.isOpen = false
  return 'closed'
}
