// CEL expressions: compiled and type-checked once when a policy or runbook is loaded, evaluated without ever throwing.
//
// Used by decide (policy match), execute (step conditions) and verify (checks). A guard must not fall over because a
// fact is missing: evaluation answers a value or a reason. Numbers: CEL separates int and double, people do not, so
// mixed arithmetic and equality are defined here, and integers come back as JavaScript numbers.

import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js'
import { AppError } from '../schemas/errors.ts'

export type CelType = 'map' | 'double' | 'int' | 'string' | 'bool' | 'dyn'
export type CelResult = { ok: true; value: unknown } | { ok: false; reason: string }

/** A field of a variable, as in `cause.service`. */
export interface FieldRead {
  variable: string
  field: string
  /** Of the field's name, in characters from the start of the text. */
  offset: number
}

export interface CompiledExpression {
  readonly text: string
  /** Inferred type: `bool`, `dyn`, … */
  readonly type: string
  /** Fields of declared variables that it reads, in the order of the text. */
  readonly reads: readonly FieldRead[]
  /** The value, or why there is none (a missing key, a type that does not fit). Never throws. Variables not given are null when `dyn`. */
  evaluate(values: Readonly<Record<string, unknown>>): CelResult
}

const TEXT_LENGTH_MAX = 4_096 // A condition longer than a page is a program; CEL is not the place for one.
const LIMITS = { maxAstNodes: 2_000, maxDepth: 50, maxListElements: 200, maxMapEntries: 200, maxCallArguments: 16 } // Bounds the cost of one evaluation.
const environments = new Map<string, Environment>()
const ENVIRONMENTS_MAX = 64 // Distinct sets of variables are fixed by our own code; more means a leak.

/**
 * Compiles and type-checks `text` over the declared variables.
 * @throws AppError `config_invalid`; `details` holds `offset` and `endOffset` (characters from the start of `text`)
 */
export function compileExpression(text: string, variables: Readonly<Record<string, CelType>>): CompiledExpression {
  if (text.length > TEXT_LENGTH_MAX)
    throw new AppError('config_invalid', `the expression has ${text.length} characters, at most ${TEXT_LENGTH_MAX} are allowed`)
  let program: ParseResult
  let type: string
  try {
    program = environmentOf(variables).parse(text)
    const check = program.check()
    if (!check.valid) throw check.error ?? new Error('does not type-check')
    type = check.type ?? 'dyn'
  } catch (cause) {
    throw compileError(text, variables, cause)
  }
  return { text, type, reads: readsOf(program.ast, variables), evaluate: values => evaluateProgram(program, variables, values) }
}

/** As compileExpression, and the result must be a truth value (`bool`, or `dyn`, which is only known when it is evaluated). */
export function compileCondition(text: string, variables: Readonly<Record<string, CelType>>): CompiledExpression {
  const compiled = compileExpression(text, variables)
  if (compiled.type === 'bool' || compiled.type === 'dyn') return compiled
  throw new AppError('config_invalid', `the expression gives ${compiled.type} where true or false is expected`, {
    details: { offset: 0, endOffset: text.length }
  })
}

/** A condition's answer: anything but true is false, with the reason when it could not be evaluated. */
export function evaluateCondition(condition: CompiledExpression, values: Readonly<Record<string, unknown>>): { holds: boolean; reason: string } {
  const result = condition.evaluate(values)
  if (!result.ok) return { holds: false, reason: `could not be evaluated: ${result.reason}` }
  if (typeof result.value !== 'boolean') return { holds: false, reason: `gave ${typeof result.value} where true or false is expected` }
  return { holds: result.value, reason: result.value ? 'holds' : 'does not hold' }
}

function evaluateProgram(program: ParseResult, variables: Readonly<Record<string, CelType>>, values: Readonly<Record<string, unknown>>): CelResult {
  const context: Record<string, unknown> = {}
  for (const [name, type] of Object.entries(variables)) {
    const value = values[name]
    if (type === 'int' && typeof value === 'number' && Number.isSafeInteger(value)) context[name] = BigInt(value)
    else if (value === undefined || value === null) {
      if (type !== 'dyn') return { ok: false, reason: `${name} is not known` }
      context[name] = null
    } else context[name] = value
  }
  try {
    return { ok: true, value: plain(program(context)) }
  } catch (error) {
    return { ok: false, reason: summaryOf(error) }
  }
}

/** Within `list.exists(name, …)` the name is an element of the list, whatever else is called so. */
function readsOf(node: unknown, variables: Readonly<Record<string, CelType>>, bound: readonly string[] = []): FieldRead[] {
  if (Array.isArray(node)) return node.flatMap(inner => readsOf(inner, variables, bound))
  if (typeof node !== 'object' || node === null || !('op' in node)) return []
  const { op, args, pos } = node as ASTNode
  if (op === 'rcall' && args[2][0]?.op === 'id') {
    const [, list, [element, ...rest]] = args
    return [...readsOf(list, variables, bound), ...readsOf(rest, variables, [...bound, String(element!.args)])]
  }
  if (op === '.' && args[0].op === 'id') {
    const variable = args[0].args
    return Object.hasOwn(variables, variable) && !bound.includes(variable) ? [{ variable, field: args[1], offset: pos }] : []
  }
  return readsOf(args, variables, bound)
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  return Array.isArray(value) ? value.map(plain) : value
}

function environmentOf(variables: Readonly<Record<string, CelType>>): Environment {
  const key = Object.entries(variables)
    .map(([name, type]) => `${name}:${type}`)
    .sort()
    .join(',')
  let environment = environments.get(key)
  if (environment === undefined) {
    environment = new Environment({ unlistedVariablesAreDyn: false, homogeneousAggregateLiterals: false, limits: LIMITS })
    for (const [name, type] of Object.entries(variables)) environment.registerVariable(name, type)
    registerMixedNumbers(environment)
    if (environments.size < ENVIRONMENTS_MAX) environments.set(key, environment)
  }
  return environment
}

/** `value < before * 2` means what it says, though `2` is an int and `before` a double. */
function registerMixedNumbers(environment: Environment): void {
  const operations: [string, string, (a: number, b: number) => number | boolean][] = [
    ['+', ': double', (a, b) => a + b],
    ['-', ': double', (a, b) => a - b],
    ['*', ': double', (a, b) => a * b],
    ['/', ': double', (a, b) => a / b]
  ]
  for (const [operator, result, apply] of operations) {
    const handler = (a: unknown, b: unknown) => apply(Number(a), Number(b))
    environment.registerOperator(`double ${operator} int${result}`, handler)
    environment.registerOperator(`int ${operator} double${result}`, handler)
  }
  environment.registerOperator('double == int', (a: unknown, b: unknown) => Number(a) === Number(b))
}

function compileError(text: string, variables: Readonly<Record<string, CelType>>, cause: unknown): AppError {
  const range = (cause as { range?: { start: number; end: number } }).range
  const offset = Math.min(range?.start ?? 0, text.length)
  const summary = summaryOf(cause)
  const known = summary.startsWith('Unknown variable') ? `: known are ${Object.keys(variables).join(', ')}` : ''
  return new AppError('config_invalid', `${summary}${known} (at character ${offset + 1} of the expression)`, {
    cause,
    details: { offset, endOffset: Math.max(offset, range?.end ?? offset) }
  })
}

function summaryOf(error: unknown): string {
  if (typeof (error as { summary?: unknown })?.summary === 'string') return (error as { summary: string }).summary
  return error instanceof Error ? error.message.split('\n')[0]! : String(error)
}
