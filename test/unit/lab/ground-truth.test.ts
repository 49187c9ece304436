// The lab's own measurements: the plan repeats by seed, and the end of an outage is read right from probes.

import { describe, expect, it } from 'vitest'
import { FAULTS, planFaults } from '../../../infra/lab/faults.ts'
import { type LabLayout, serviceOf } from '../../../infra/lab/layout.ts'
import { healthyAgainMs, type Sample } from '../../../infra/lab/probes.ts'
import { seeded } from '../../../infra/lab/seeded.ts'

const fleets = [{ folder: '/nowhere', environment: 'lab', seed: 1 }] as LabLayout[]
const planned = (seed: number) => planFaults(fleets, seeded(seed)).map(({ name, target, delayMs, cause }) => ({ name, target, delayMs, cause }))

/** `.` good, `x` bad, `s` slow, one sample each 200 ms from time 0. */
const samples = (text: string): Sample[] =>
  [...text].map((mark, index) => ({ sentAtMs: index * 200, ok: mark === '.', isSlow: mark === 's', durationMs: 1, detail: '' }))

describe('the plan of a run', () => {
  it('is the same for the same seed', () => {
    expect(planned(7)).toEqual(planned(7))
  })

  it('has each fault once, whatever the seed', () => {
    for (let seed = 0; seed < 50; seed++)
      expect(
        planned(seed)
          .map(({ name }) => name)
          .sort()
      ).toEqual([...FAULTS].sort())
  })

  it('differs in order and targets between seeds', () => {
    const plans = Array.from({ length: 20 }, (_, seed) => planned(seed))
    expect(new Set(plans.map(plan => plan.map(({ name }) => name).join())).size).toBeGreaterThan(10)
    expect(new Set(plans.flatMap(plan => plan.filter(({ name }) => name === 'hang').map(({ target }) => target)))).toEqual(
      new Set(['orders', 'payments', 'store'])
    )
  })

  it('draws a fault alike whether or not the others run', () => {
    const [alone] = planFaults(fleets, seeded(3), ['error_burst'])
    expect(alone).toMatchObject(planned(3).find(({ name }) => name === 'error_burst')!)
  })

  it('lets two fleets take turns, and the seed says who begins', () => {
    const two = [...fleets, { folder: '/elsewhere', environment: 'lab-west', seed: 1 } as LabLayout]
    const environments = (seed: number) => planFaults(two, seeded(seed)).map(({ layout }) => layout.environment)
    const begun = new Set(Array.from({ length: 20 }, (_, seed) => environments(seed).join()))
    expect(begun).toEqual(new Set(['lab,lab-west,lab,lab-west,lab', 'lab-west,lab,lab-west,lab,lab-west']))
  })
})

describe('the end of an outage', () => {
  it('is the first good sample of the run that lasts', () => {
    expect(healthyAgainMs(samples('..xxxx......'), 0, 4_200, 3_000)).toBe(1_200)
  })

  it('is not known before the run has lasted', () => {
    expect(healthyAgainMs(samples('..xxxx......'), 0, 4_199, 3_000)).toBe(null)
  })

  it('starts anew when trouble comes back', () => {
    expect(healthyAgainMs(samples('xx....xx....'), 0, 9_000, 3_000)).toBe(1_600)
  })

  it('is not moved by one slow answer between good ones', () => {
    expect(healthyAgainMs(samples('xxx...x.....'), 0, 9_000, 3_000)).toBe(600)
  })

  it('is not moved by a second of slow answers between good ones, but by more, and by a failure among them', () => {
    expect(healthyAgainMs(samples('xxx...sssss.....'), 0, 9_000, 3_000)).toBe(600)
    expect(healthyAgainMs(samples('xxx...ssssss.....'), 0, 9_000, 3_000)).toBe(2_400)
    expect(healthyAgainMs(samples('xxx...ssxss.....'), 0, 9_000, 3_000)).toBe(2_200)
    expect(healthyAgainMs(samples('ssssss....'), 0, 9_000, 3_000)).toBe(1_200)
  })

  it('does not exist while nothing was ever bad, or while the last sample is', () => {
    expect(healthyAgainMs(samples('......'), 0, 9_000, 3_000)).toBe(null)
    expect(healthyAgainMs(samples('xx...x'), 0, 9_000, 3_000)).toBe(null)
  })

  it('does not look before the injection', () => {
    expect(healthyAgainMs(samples('xx....xx..'), 1_000, 9_000, 3_000)).toBe(1_600)
    expect(healthyAgainMs(samples('xx.......'), 1_000, 9_000, 3_000)).toBe(null)
  })
})

describe('serviceOf', () => {
  it('knows a service by its entity, its service and its name', () => {
    expect(['lab/orders@orders-1', 'lab/orders', 'orders', 'homeostat@host', '@host'].map(serviceOf)).toEqual([
      'orders',
      'orders',
      'orders',
      undefined,
      undefined
    ])
  })
})
