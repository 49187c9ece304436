import { describe, expect, it } from 'vitest'
import { canaryOrder } from '../../../../pipeline/console/canary-orders.ts'
import type { LiveView } from '../../../../pipeline/console/live-view.ts'
import type { Canary } from '../../../../schemas/canary.ts'
import { controlSchema } from '../../../../schemas/control.ts'
import { anOrder, playCanary } from '../../../support/canary-run.ts'

const FAILED = playCanary(1, { requestsPerWindow: 50, windows: 40, errorRatio: { canary: 0.3, baseline: 0 } }).record

function aView(canaries: readonly Canary[]): LiveView {
  return { controls: () => [anOrder({ samplesMin: 300 })], canaries: () => [...canaries] } as Partial<LiveView> as LiveView
}

describe('an order for a canary', () => {
  it('takes from the order before it what it does not say', () => {
    const order = canaryOrder(aView([]), { kind: 'canary', id: 'c1', order: 'abort', by: 'bea' })
    expect(controlSchema.parse(order)).toEqual({ ...anOrder({ samplesMin: 300 }), order: 'abort', by: 'bea' })
  })

  it('is refused for a canary that nobody started', () => {
    expect(() => canaryOrder(aView([]), { kind: 'canary', id: 'c9', order: 'pause' })).toThrow(expect.objectContaining({ code: 'not_found' }))
  })

  it('to start a quarantined version is refused, and says who may release it', () => {
    expect(FAILED.state).toBe('failed')
    const start = { ...anOrder({ id: 'c2' }) }
    expect(() => canaryOrder(aView([FAILED]), start)).toThrow(
      expect.objectContaining({ code: 'canary_refused', message: expect.stringContaining('canary release c1') })
    )
    expect(canaryOrder(aView([FAILED]), { ...start, canary: '2.0.1' })).toMatchObject({ canary: '2.0.1' })
    expect(canaryOrder(aView([{ ...FAILED, quarantined: false }]), start)).toMatchObject({ canary: '2.0.0' })
  })
})
