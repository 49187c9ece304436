// CEL: checked when loaded, never throwing when evaluated.

import { expect, test } from 'vitest'
import { compileCondition, compileExpression, evaluateCondition } from '../../../../actuators/cel.ts'
import { AppError } from '../../../../schemas/errors.ts'

const VARIABLES = { incident: 'map', value: 'double', samples: 'int', before: 'dyn' } as const

function errorOf(work: () => unknown): AppError {
  try {
    work()
  } catch (error) {
    if (error instanceof AppError) return error
  }
  throw new Error('an AppError was expected')
}

test('integers and doubles mix as people write them', () => {
  const values = { incident: {}, value: 4, samples: 3, before: 2 }
  for (const text of ['value == 2 * before', 'value <= before * 2', 'value / 2 == 2', 'samples + 1 > 3', 'value != 0', '1.5 * before + 1 == value']) {
    expect(compileExpression(text, VARIABLES).evaluate(values), text).toEqual({ ok: true, value: true })
  }
})

test('an integer result comes back as a number', () => {
  expect(compileExpression('samples + 1', VARIABLES).evaluate({ incident: {}, value: 1, samples: 3 })).toEqual({ ok: true, value: 4 })
})

test('a missing key, a missing variable or a wrong type is a reason and never a throw', () => {
  expect(compileExpression('incident.gone == 1', VARIABLES).evaluate({ incident: {}, value: 1, samples: 1 })).toMatchObject({ ok: false, reason: /gone/ })
  expect(compileExpression('value > 1', VARIABLES).evaluate({ incident: {}, samples: 1 })).toEqual({ ok: false, reason: 'value is not known' })
  expect(compileExpression('value > 1', VARIABLES).evaluate({ incident: {}, value: 'x', samples: 1 }).ok).toBe(false)
  expect(evaluateCondition(compileCondition('incident.gone', VARIABLES), { incident: {}, value: 1, samples: 1 })).toMatchObject({ holds: false })
  expect(evaluateCondition(compileCondition('incident.n', VARIABLES), { incident: { n: 1 }, value: 1, samples: 1 })).toMatchObject({ holds: false })
})

test('what is not known yet is null for a variable that may be', () => {
  expect(compileExpression('before == null || value < before', VARIABLES).evaluate({ incident: {}, value: 1, samples: 1 })).toEqual({ ok: true, value: true })
})

test('bad syntax, unknown variables and type errors are found when compiling, with their offset', () => {
  expect(errorOf(() => compileExpression('value >', VARIABLES))).toMatchObject({ code: 'config_invalid', details: { offset: 7 } })
  const unknown = errorOf(() => compileExpression('samples > 1 && vlaue > 1', VARIABLES))
  expect(unknown.details).toMatchObject({ offset: 15, endOffset: 20 })
  expect(unknown.message).toContain('known are incident, value')
  expect(errorOf(() => compileExpression('"a" + 1', VARIABLES)).code).toBe('config_invalid')
  expect(errorOf(() => compileCondition('samples + 1', VARIABLES)).message).toContain('true or false')
})

test('an endless or overgrown expression is refused when compiling', () => {
  expect(errorOf(() => compileExpression(`${'('.repeat(200)}1${')'.repeat(200)}`, VARIABLES)).code).toBe('config_invalid')
  expect(errorOf(() => compileExpression(`true${' && true'.repeat(1_000)}`, VARIABLES)).code).toBe('config_invalid')
})
