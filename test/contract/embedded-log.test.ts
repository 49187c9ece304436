// The embedded log passes the log's contract, with its writer on a thread (as the product runs it) and inline (as simulations do).

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import type { Clock } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { startAppenderProcess } from '../support/appender-process.ts'
import { countingMeter, quietLogger } from '../support/log-tools.ts'
import { type Appender, type LogFixture, type LogLimits, logContract } from './log.ts'

logContract('the embedded log', limits => embedded('thread', limits))
logContract('the embedded log with an inline writer', limits => embedded('inline', limits))

async function embedded(writer: 'thread' | 'inline', limits: LogLimits): Promise<LogFixture> {
  const dir = mkdtempSync(join(tmpdir(), 'homeostat-log-'))
  const opened: EmbeddedLog[] = []
  const appenders: Appender[] = []
  let shiftMs = 0
  const clock: Clock = { ...systemClock, nowMs: () => Date.now() + shiftMs }

  async function open(): Promise<EmbeddedLog> {
    const log = await EmbeddedLog.open({
      dir,
      clock,
      logger: quietLogger,
      meter: countingMeter(),
      bytesMax: 256 * 2 ** 20,
      groupCommitMs: 1,
      writer,
      retention: { [TOPICS.anomalies.name]: limits }
    })
    opened.push(log)
    return log
  }

  const log = await open()
  return {
    log,
    another: open,
    async reopen() {
      await log.close()
      return open()
    },
    async maintain(laterMs = 0) {
      shiftMs += laterMs
      await log.maintain()
      shiftMs -= laterMs
    },
    async startAppender(valueBytes) {
      const appender = startAppenderProcess('./log-appender.ts', [dir, String(valueBytes)])
      appenders.push(appender)
      return appender
    },
    async close() {
      for (const appender of appenders) await appender.kill()
      for (const one of opened) await one.close()
      rmSync(dir, { recursive: true, force: true })
    }
  }
}
