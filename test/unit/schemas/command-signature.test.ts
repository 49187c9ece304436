// Canonical bytes of a command: equal for equal commands, different for any change, and stable through JSON.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Command, commandSchema } from '../../../schemas/command.ts'
import { commandBytes } from '../../../schemas/command-signature.ts'

const command: Omit<Command, 'signature'> = {
  id: 'c1',
  incidentId: 'i1',
  decisionId: 'd1',
  environment: 'lab',
  target: 'orders@1',
  runbook: 'restart-process',
  runbookVersion: 'v1',
  policy: 'p',
  policyVersion: 'v2',
  attempt: 1,
  risk: 'low',
  cost: 1,
  steps: [{ idempotencyKey: 'k', name: 's', step: { name: 's', action: { driver: 'process', verb: 'restart', args: {} } } as never }],
  incident: { severity: 'critical', nested: { a: [1, null, true] } },
  cause: { entity: 'orders@1', score: 0.1 + 0.2 },
  startedAtMs: 1,
  issuedAtMs: 2,
  expiresAtMs: 3,
  fence: 4,
  nonce: 'n',
  keyId: 'key'
}
const hex = (value: Omit<Command, 'signature'>) => Buffer.from(commandBytes(value)).toString('hex')

test('a command has the same bytes after a way through JSON and with its keys in another order', () => {
  const reversed = Object.fromEntries(Object.entries(JSON.parse(JSON.stringify(command))).reverse()) as typeof command
  expect(hex(reversed)).toBe(hex(command))
})

test('the signature itself is not part of the bytes, every other field is', () => {
  expect(hex({ ...command, signature: 'x' } as never)).toBe(hex(command))
  for (const field of Object.keys(commandSchema.shape).filter(name => name !== 'signature')) {
    const value = command[field as keyof typeof command]
    const changed = typeof value === 'number' ? value + 1 : typeof value === 'string' ? `${value}x` : []
    expect(hex({ ...command, [field]: changed }), field).not.toBe(hex(command))
  }
})

test('text that moves from one field to its neighbour changes the bytes', () => {
  expect(hex({ ...command, policy: 'pv', policyVersion: '2' })).not.toBe(hex({ ...command, policy: 'p', policyVersion: 'v2' }))
  expect(hex({ ...command, fence: '4' as never })).not.toBe(hex(command))
})

test('two different JSON values never share bytes, equal ones always do', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 4 }), (a, b) => {
      const same = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
      expect(hex({ ...command, cause: { v: a } }) === hex({ ...command, cause: { v: b } })).toBe(same)
      expect(hex({ ...command, cause: JSON.parse(JSON.stringify({ v: a })) })).toBe(hex({ ...command, cause: { v: a } }))
    }),
    { numRuns: 500 }
  )
})

test('values without a JSON form and bottomless nesting are refused', () => {
  expect(() => hex({ ...command, cost: Number.NaN })).toThrow(/cost/)
  expect(() => hex({ ...command, nonce: '\ud800' })).toThrow(/Unicode/)
  let deep: unknown = 1
  for (let level = 0; level < 50; level++) deep = [deep]
  expect(() => hex({ ...command, cause: { deep } })).toThrow(/deeper/)
})

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? 0 : value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return { map: entries.map(([key, inner]) => [key, sorted(inner)]) }
}
