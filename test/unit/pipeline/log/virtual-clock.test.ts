import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../../pipeline/system.ts'
import { seededRandom, virtualClock } from '../../../support/virtual-clock.ts'

describe('virtual clock', () => {
  test('sleepers wake in order of time, then of registration, each with its own time on the clock', async () => {
    const clock = virtualClock(1_000)
    const woken: [string, number][] = []
    const sleeper = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms)
      woken.push([name, clock.nowMs()])
    }
    void sleeper('late', 30)
    void sleeper('first', 10)
    void sleeper('second', 10)
    await clock.advance(20)
    expect(woken).toEqual([
      ['first', 1_010],
      ['second', 1_010]
    ])
    expect(clock.monotonicMs()).toBe(20)
    await clock.advance(10)
    expect(woken.at(-1)).toEqual(['late', 1_030])
  })

  test('a sleep that is started by a woken sleeper runs within the same advance', async () => {
    const clock = virtualClock(0)
    let ticks = 0
    void (async () => {
      for (;;) {
        await clock.sleep(10)
        ticks++
      }
    })()
    await clock.advance(100)
    expect(ticks).toBe(10)
  })

  test('an aborted sleep ends early and leaves nobody waiting', async () => {
    const clock = virtualClock(0)
    const controller = new AbortController()
    const slept = clock.sleep(1_000, controller.signal)
    controller.abort()
    await slept
    expect(clock.sleeping).toBe(0)
    expect(clock.monotonicMs()).toBe(0)
  })

  test('setting the wall clock back does not touch the monotonic one', async () => {
    const clock = virtualClock(5_000)
    await clock.advance(100)
    clock.setWallMs(10)
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([10, 100])
  })
})

describe('seeded random', () => {
  test('the same seed repeats numbers and ids, another seed does not', () => {
    const draw = (seed: number): unknown[] => {
      const random = seededRandom(seed)
      return [random.next(), random.next(), random.uuid()]
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
  })

  test('numbers lie in [0, 1) and are spread evenly', () => {
    const random = seededRandom(1)
    let sum = 0
    for (let i = 0; i < 10_000; i++) {
      const value = random.next()
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThan(1)
      sum += value
    }
    expect(sum / 10_000).toBeCloseTo(0.5, 1)
  })
})

describe('system clock', () => {
  test('an aborted sleep of a year ends at once', async () => {
    const controller = new AbortController()
    const slept = systemClock.sleep(365 * 86_400_000, controller.signal)
    controller.abort()
    await slept
  })
})
