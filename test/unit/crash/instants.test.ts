// The plan of a crash run on a cluster: everybody is hit, both ways, and a stopped one sleeps past its session.

import { describe, expect, it } from 'vitest'
import { seeded } from '../../../infra/lab/seeded.ts'
import { planInstants } from '../../crash/instants.ts'

const VICTIMS = ['broker', 'intake', 'detect-1', 'detect-2', 'control-1', 'control-2', 'store', 'console', 'act-lab', 'act-lab-west']
const SESSION_MS = 6_000
const plan = (seed: number) => planInstants({ victims: VICTIMS, kinds: ['kill', 'pause'], count: 100, sessionMs: SESSION_MS, draw: seeded(seed) })

describe('the plan of a crash run', () => {
  it('kills and stops each process five times in a hundred instants', () => {
    const counts = Map.groupBy(plan(1), ({ victim, kind }) => `${kind} ${victim}`)
    expect([...counts.values()].map(instants => instants.length)).toEqual(new Array(2 * VICTIMS.length).fill(5))
  })

  it('is the same for the same seed and another for another', () => {
    expect(plan(7)).toEqual(plan(7))
    expect(plan(8)).not.toEqual(plan(7))
  })

  it('lets a stopped process sleep past its session', () => {
    expect(Math.min(...plan(3).map(({ pauseMs }) => pauseMs))).toBeGreaterThan(SESSION_MS)
  })
})
