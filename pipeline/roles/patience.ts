// Opens what may be away for a while: a broker or a ClickHouse server that is still starting, an engine whose lock a killed
// predecessor holds. Only what may pass by itself is waited for; a wrong password or address in the wrong form ends the wait at once.

import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger } from '../../schemas/ports.ts'

/** Doubles from the one to the other: a lock is free within a moment, a cluster comes back when it does. */
const PAUSE_MIN_MS = 250
const PAUSE_MAX_MS = 5_000

/**
 * Repeats `open` until it succeeds.
 * @param options.what for the log: "the log", "ClickHouse"
 * @param options.waitMsMax gives up after this; absent: waits for as long as it takes
 * @param options.stop gives up
 * @throws what `open` threw last
 */
export async function openPatiently<Part>(
  open: () => Promise<Part>,
  options: { what: string; waitMsMax?: number; clock: Clock; logger: Logger; stop?: AbortSignal | undefined }
): Promise<Part> {
  const { what, waitMsMax = Number.POSITIVE_INFINITY, clock, logger, stop } = options
  const begunMs = clock.monotonicMs()
  for (let pauseMs = PAUSE_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS)) {
    try {
      return await open()
    } catch (cause) {
      const mayPass = cause instanceof AppError && cause.retriable
      if (!mayPass || stop?.aborted || clock.monotonicMs() - begunMs > waitMsMax) throw cause
      logger.warn({ what, code: cause.code, reason: cause.message, pauseMs }, 'not to be had yet, trying again')
      await clock.sleep(pauseMs, stop)
    }
  }
}
