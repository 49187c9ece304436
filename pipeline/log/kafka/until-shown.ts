// The controller answers before every broker has heard of a change: an admin call returns only when the cluster shows what it did.

import { AppError } from '../../../schemas/errors.ts'
import { systemClock } from '../../system.ts'

const SHOWN_MS = 10_000
const POLL_MS = 50

/** Asks until `isShown` says yes. @throws AppError `log_unavailable` with the text of `otherwise` after 10 s */
export async function untilShown(otherwise: string, isShown: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
  const endMs = systemClock.monotonicMs() + SHOWN_MS
  while (!(await isShown())) {
    if (systemClock.monotonicMs() > endMs) throw new AppError('log_unavailable', otherwise)
    await systemClock.sleep(POLL_MS, signal)
  }
}
