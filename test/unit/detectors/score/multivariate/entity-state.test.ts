import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contributions } from '../../../../../detectors/score/multivariate/contributions.ts'
import { entityBytes, type EntityState, entityStateFrom, METRICS_MAX, newEntityState } from '../../../../../detectors/score/multivariate/entity-state.ts'
import { updateEntity } from '../../../../../detectors/score/multivariate/update.ts'
import { chance } from '../../builders.ts'
import { aService, MINUTE_MS, START_MS } from './fleet.ts'

const BUDGET_BYTES = 350_000
const bytesOf = ({ buffer }: EntityState): Uint8Array => new Uint8Array(buffer.slice(0))

describe('the state of an entity', () => {
  it('of 38 metrics fits the budget, and its size is what it says', () => {
    expect(entityBytes(38)).toBeLessThanOrEqual(BUDGET_BYTES)
    expect(newEntityState(38).buffer.byteLength).toBe(entityBytes(38))
  })

  it('refuses a number of metrics that it cannot hold', () => {
    for (const metrics of [0, 1.5, METRICS_MAX + 1, Number.NaN]) expect(() => newEntityState(metrics)).toThrow(RangeError)
  })

  it('comes back from its bytes and scores bit for bit as if it had never stopped, wherever it was cut', () => {
    fc.assert(
      fc.property(fc.nat(400), fc.integer({ min: 1, max: 150 }), fc.nat(1_000), (before, after, seed) => {
        const row = aService(seed)
        const { uniform } = chance(seed + 1)
        const values = (k: number) => row(k).map(value => (uniform() < 0.02 ? Number.NaN : value))
        const running = newEntityState(5)
        // Before every hundredth row there is a silence, so that blocks also end early.
        const timeMs = (k: number) => START_MS + (k + 9 * Math.floor(k / 100)) * MINUTE_MS
        for (let k = 0; k < before; k++) updateEntity(running, values(k), timeMs(k))
        const restored = entityStateFrom(bytesOf(running))
        for (let k = before; k < before + after; k++) {
          const next = values(k)
          expect(updateEntity(restored, next, timeMs(k))).toBe(updateEntity(running, next, timeMs(k)))
        }
        for (const column of [running.scalars, running.metric32, running.lags, ...running.moments, ...running.factors])
          expect(column.some(Number.isNaN)).toBe(false)
        expect(contributions(restored)).toEqual(contributions(running))
        expect(Buffer.from(restored.buffer).equals(Buffer.from(running.buffer))).toBe(true)
      }),
      { numRuns: 25 }
    )
  })

  it('comes back from bytes in the middle of a larger buffer', () => {
    const bytes = bytesOf(newEntityState(3))
    const shifted = new Uint8Array(bytes.byteLength + 3)
    shifted.set(bytes, 3)
    expect(entityStateFrom(shifted.subarray(3)).metrics).toBe(3)
  })

  it.each([
    ['another magic', 0, 0x12345678],
    ['another version', 1, 999],
    ['another number of metrics', 2, 4],
    ['no metrics', 2, 0],
    ['more metrics than there may be', 2, METRICS_MAX + 1]
  ])('is refused with %s', (_, word, value) => {
    const bytes = bytesOf(newEntityState(3))
    new Uint32Array(bytes.buffer)[word] = value
    expect(() => entityStateFrom(bytes)).toThrow(expect.objectContaining({ code: 'checkpoint_invalid' }))
  })

  it('is refused when cut short or too long', () => {
    const bytes = bytesOf(newEntityState(3))
    for (const wrong of [bytes.subarray(0, 10), bytes.subarray(0, bytes.byteLength - 8), new Uint8Array([...bytes, 0, 0, 0, 0])]) {
      expect(() => entityStateFrom(wrong)).toThrow(expect.objectContaining({ code: 'checkpoint_invalid' }))
    }
  })
})
