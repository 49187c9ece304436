// A lab that was killed cannot stop its fleet, so every process of the fleet looks whether the lab still lives.

import type { LabLayout } from '../layout.ts'

const POLL_MS = 3_000

/** Ends this process within POLL_MS after the lab's; `before` is done first. */
export function endWithLab({ labPid }: Pick<LabLayout, 'labPid'>, before: () => void = () => undefined): void {
  setInterval(() => {
    try {
      process.kill(labPid, 0)
    } catch {
      before()
      process.exit(0)
    }
  }, POLL_MS).unref()
}
