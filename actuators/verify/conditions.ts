// Conditions of runbook steps and checks: which variables they see, and a bounded cache of their compiled forms.
//
// A condition has three answers: it holds, it does not, or it cannot be known (a missing fact, a null compared). The
// third is never the first: an unknown precondition stops a command and an unknown check is `no_data`.

import { type CelType, type CompiledExpression, compileCondition, type FieldRead } from '../cel.ts'

/** What `when` of a step sees: facts are read again at the moment of acting and hold `state` beside the driver's own. */
export const STEP_VARIABLES = { incident: 'map', cause: 'map', target: 'string', facts: 'map' } as const satisfies Record<string, CelType>
/** What `expect` of a metric check sees: `before` is null where nothing was measured before the onset. */
export const METRIC_VARIABLES = { incident: 'map', cause: 'map', target: 'string', value: 'double', samples: 'int', before: 'dyn' } as const satisfies Record<
  string,
  CelType
>
/** What `expect` of a state check sees. */
export const STATE_VARIABLES = STEP_VARIABLES

export interface Answer {
  answer: 'yes' | 'no' | 'unknown'
  reason: string
  /** Fields that it was read from; none where it could not be read. */
  reads: readonly FieldRead[]
}
export type Values = Readonly<Record<string, unknown>>

export interface Conditions {
  ask(text: string, variables: Readonly<Record<string, CelType>>, values: Values): Answer
}

const COMPILED_MAX = 500 // Conditions of all runbooks in use; a cache that is full starts anew.

export function conditions(): Conditions {
  const compiled = new Map<string, CompiledExpression | { fault: string }>()

  function compile(text: string, variables: Readonly<Record<string, CelType>>): CompiledExpression | { fault: string } {
    const key = `${Object.keys(variables).join(',')} ${text}`
    let known = compiled.get(key)
    if (known === undefined) {
      try {
        known = compileCondition(text, variables)
      } catch (error) {
        known = { fault: error instanceof Error ? error.message : String(error) }
      }
      if (compiled.size >= COMPILED_MAX) compiled.clear()
      compiled.set(key, known)
    }
    return known
  }

  return {
    ask(text, variables, values) {
      const condition = compile(text, variables)
      if ('fault' in condition) return { answer: 'unknown', reason: condition.fault, reads: [] }
      const { reads } = condition
      const result = condition.evaluate(values)
      if (!result.ok) return { answer: 'unknown', reason: result.reason, reads }
      if (typeof result.value !== 'boolean') return { answer: 'unknown', reason: `gave ${typeof result.value} where true or false is expected`, reads }
      return result.value ? { answer: 'yes', reason: 'holds', reads } : { answer: 'no', reason: 'does not hold', reads }
    }
  }
}
