// Opening waits for what may pass by itself, and for nothing else.

import { beforeEach, describe, expect, it, vi } from 'vitest'
import { openPatiently } from '../../../../pipeline/roles/patience.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { quietLogger as logger } from '../../../support/log-tools.ts'
import { type VirtualClock, virtualClock } from '../../../support/virtual-clock.ts'

const away = new AppError('log_unavailable', 'no broker answers')
let clock: VirtualClock
beforeEach(() => {
  clock = virtualClock(0)
})

describe('opening patiently', () => {
  it('comes back with ever longer pauses, up to five seconds, until it succeeds', async () => {
    const triedAtMs: number[] = []
    const opened = openPatiently(
      async () => {
        triedAtMs.push(clock.monotonicMs())
        if (triedAtMs.length < 8) throw away
        return 'open'
      },
      { what: 'the log', clock, logger }
    )
    await clock.advance(60_000)
    expect(await opened).toBe('open')
    expect(triedAtMs).toEqual([0, 250, 750, 1_750, 3_750, 7_750, 12_750, 17_750])
  })

  it('says at once what waiting does not mend', async () => {
    const open = vi.fn(() => Promise.reject(new AppError('config_invalid', 'no such file')))
    await expect(openPatiently(open, { what: 'the log', clock, logger })).rejects.toMatchObject({ code: 'config_invalid' })
    expect(open).toHaveBeenCalledTimes(1)
  })

  it('gives up after the time that it is given', async () => {
    const opened = openPatiently(() => Promise.reject(away), { what: 'ClickHouse', waitMsMax: 1_000, clock, logger })
    const refused = expect(opened).rejects.toBe(away)
    await clock.advance(2_000)
    await refused
  })

  it('gives up when the process is told to stop', async () => {
    const stop = new AbortController()
    const opened = openPatiently(() => Promise.reject(away), { what: 'the log', clock, logger, stop: stop.signal })
    const refused = expect(opened).rejects.toBe(away)
    await clock.advance(100)
    stop.abort()
    await refused
  })
})
