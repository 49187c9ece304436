import { describe, expect, it } from 'vitest'
import { startFields } from '../../../../pipeline/cli/canary.ts'
import { controlSchema } from '../../../../schemas/control.ts'

const NAMED = { environment: 'prod', service: 'shop/orders', canary: '1.5.0', baseline: '1.4.0', by: 'ann' }
const parsed = (options: Parameters<typeof startFields>[0]) => controlSchema.safeParse({ id: 'c1', ...startFields(options), atMs: 1 })

describe('homeostat canary start', () => {
  it('says what it is about and leaves the rest to the defaults', () => {
    expect(parsed(NAMED).data).toMatchObject({
      kind: 'canary',
      order: 'start',
      samplesMin: 200,
      errorDifference: 0.02,
      latencyRatio: 1.5,
      decideWithinMs: 3_600_000
    })
  })

  it('takes tolerances and a time to decide', () => {
    expect(parsed({ ...NAMED, samples: '500', errors: '0.01', latency: '2', within: '30m' }).data).toMatchObject({
      samplesMin: 500,
      errorDifference: 0.01,
      latencyRatio: 2,
      decideWithinMs: 1_800_000
    })
  })

  it.each([{ samples: '199' }, { samples: 'many' }, { errors: '0' }, { latency: '1' }])('refuses %j', wrong => {
    expect(parsed({ ...NAMED, ...wrong }).success).toBe(false)
  })

  it('refuses a time that is none', () => {
    expect(() => startFields({ ...NAMED, within: 'soon' })).toThrow(/within/)
  })
})
