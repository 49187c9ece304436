// The kill switch goes straight into the log: it works while the console is down, hung, or not started yet.

import { type Control, controlRecord, KILL_SCOPE } from '../../schemas/control.ts'
import type { Config } from '../../schemas/config.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { openLog } from '../roles/log.ts'
import { openLogger } from '../self/logger.ts'
import { memoryMeter } from '../self/meter.ts'
import { systemClock } from '../system.ts'

/** Appends the record; it is durable when this resolves, and every role sees it within the log's wake-up time. */
export async function writeKillSwitch(config: Config, order: { scope: string; on: boolean; reason: string; by: string }): Promise<Control> {
  if (!KILL_SCOPE.test(order.scope)) throw new AppError('usage', `the scope ${order.scope} is none of: global, environment/<name>, policy/<name>`)
  const log = await openLog(config, { clock: systemClock, logger: openLogger({ level: 'warn', role: 'cli' }), meter: memoryMeter() })
  try {
    // Opening takes a moment: the record says when it was written, as those who obey it see it.
    const record: Control = { kind: 'kill_switch', ...order, atMs: systemClock.nowMs() }
    await log.append(TOPICS.control.name, [encodeRecord(controlRecord, record)])
    return record
  } finally {
    await log.close()
  }
}
