// `homeostat announce`: fields as people type them become a control record.

import { expect, test } from 'vitest'
import { announcement } from '../../../../pipeline/cli/announce.ts'
import { controlSchema } from '../../../../schemas/control.ts'

const NOW_MS = Date.parse('2026-03-01T12:00:00Z')
const record = (kind: string, pairs: string[]) => controlSchema.parse({ kind, id: 'x', by: 'ada', atMs: NOW_MS, ...announcement(kind, pairs, NOW_MS) })

test('a deploy that goes on, and its end', () => {
  const fields = ['target=shop/orders', 'actor=ci', 'what=deploy', 'environment=prod', 'id=deploy-481']
  expect(record('change', fields)).toMatchObject({ id: 'deploy-481', target: 'shop/orders', fromMs: NOW_MS, toMs: null })
  expect(record('change', [...fields, 'from=2026-03-01T11:50Z', 'to=now'])).toMatchObject({ fromMs: NOW_MS - 600_000, toMs: NOW_MS })
})

test('maintenance, sizes, budgets and trust; a match may hold an equals sign', () => {
  expect(record('maintenance', ['match=cause.service == "orders"', 'to=2h'])).toMatchObject({ match: 'cause.service == "orders"', toMs: NOW_MS + 7_200_000 })
  expect(record('group', ['environment=prod', 'group=7', 'size=12'])).toMatchObject({ group: '7', size: 12 })
  const members = ['shop/web@1', 'shop/web@2']
  expect(record('group', ['environment=prod', 'group=shop/web', 'size=2', `members=${members.join(', ')}`])).toMatchObject({ size: 2, members })
  expect(record('error_budget', ['environment=prod', 'service=*', 'remainingRatio=-0.1', 'burnRate=2'])).toMatchObject({ remainingRatio: -0.1, burnRate: 2 })
  expect(record('autonomy', ['policy=restart', 'reason=looked at it'])).toMatchObject({ policy: 'restart' })
})

test('what is no pair, no time and no number is said', () => {
  expect(() => announcement('change', ['deploy'], NOW_MS)).toThrow('deploy: give fields as name=value')
  expect(() => announcement('change', ['to=soon'], NOW_MS)).toThrow(/to soon: give a duration/)
  expect(() => announcement('group', ['size=many'], NOW_MS)).toThrow('size: a number is expected, not "many"')
  expect(() => announcement('group', ['size='], NOW_MS)).toThrow('size: a number is expected, not ""')
})
