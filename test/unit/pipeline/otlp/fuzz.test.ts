import { expect, test } from 'vitest'
import { fuzzOtlpReader } from '../../../fuzz/otlp-reader.ts'

test('mutated requests are read or refused as malformed, quickly, and nothing else happens', () => {
  const summary = fuzzOtlpReader({ inputs: 20_000, seed: 20_261 })
  expect(summary.findings).toEqual([])
  expect(summary.read, 'some mutants are still readable').toBeGreaterThan(1000)
  expect(summary.malformed, 'many are not').toBeGreaterThan(5000)
})
