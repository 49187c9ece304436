import { describe, expect, it } from 'vitest'
import { startFields, untilDecided } from '../../../../pipeline/cli/canary.ts'
import type { Client } from '../../../../pipeline/cli/client.ts'
import { controlSchema } from '../../../../schemas/control.ts'
import { playCanary } from '../../../support/canary-run.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

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

  it.each([{ samples: '199' }, { errors: '0' }, { latency: '1' }])('refuses %j', wrong => {
    expect(parsed({ ...NAMED, ...wrong }).success).toBe(false)
  })

  it('refuses a time or a number that is none', () => {
    expect(() => startFields({ ...NAMED, samples: 'many' })).toThrow('--samples: a number is expected, not "many"')
    expect(() => startFields({ ...NAMED, within: 'soon' })).toThrow(/within/)
  })
})

describe('homeostat canary wait', () => {
  const running = playCanary(1, { requestsPerWindow: 10, windows: 2, errorRatio: { canary: 0, baseline: 0 } }).record

  it('asks again while it is compared or held, and ends with the verdict', async () => {
    const clock = virtualClock(0)
    const states = ['running', 'paused', 'running', 'passed'] as const
    let asked = 0
    const client = { get: async () => [{ ...running, state: states[Math.min(asked++, 3)]! }] } as Partial<Client> as Client
    const decided = untilDecided(client, 'c1', clock)
    for (let poll = 0; poll < 3; poll++) await clock.advance(2_000)
    expect((await decided).state).toBe('passed')
    expect(asked).toBe(4)
  })

  it('says so when there is no such canary', async () => {
    const client = { get: async () => [] } as Partial<Client> as Client
    await expect(untilDecided(client, 'c9', virtualClock(0))).rejects.toMatchObject({ code: 'not_found' })
  })
})
