// The embedded log passes the log's contract, with its writer on a thread (as the product runs it) and inline (as simulations do).

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import type { Clock } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { countingMeter, quietLogger } from '../support/log-tools.ts'
import { type Appender, type LogFixture, type LogLimits, logContract } from './log.ts'

const APPENDER = fileURLToPath(new URL('../support/log-appender.ts', import.meta.url))

logContract('the embedded log', limits => embedded('thread', limits))
logContract('the embedded log with an inline writer', limits => embedded('inline', limits))

async function embedded(writer: 'thread' | 'inline', limits: LogLimits): Promise<LogFixture> {
  const dir = mkdtempSync(join(tmpdir(), 'homeostat-log-'))
  const opened: EmbeddedLog[] = []
  const children: ChildProcess[] = []
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
    startAppender: valueBytes => startAppender(dir, valueBytes, children),
    async close() {
      for (const child of children) child.kill('SIGKILL')
      for (const one of opened) await one.close()
      rmSync(dir, { recursive: true, force: true })
    }
  }
}

async function startAppender(dir: string, valueBytes: number, children: ChildProcess[]): Promise<Appender> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', APPENDER, dir, String(valueBytes)], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const acknowledged: { partition: number; offset: number; name: string }[] = []
  const lines = createInterface({ input: child.stdout! })
  lines.on('line', line => {
    const [partition, offset, name] = line.split(' ')
    // The kill may cut the last line short; an acknowledgement that was not read whole proves nothing.
    if (name?.match(/^\d+-\d+-[01]$/)) acknowledged.push({ partition: Number(partition), offset: Number(offset), name })
  })
  const ended = new Promise<void>(resolve => lines.once('close', () => resolve()))
  return {
    acknowledged: () => acknowledged,
    async kill() {
      child.kill('SIGKILL')
      await ended
    }
  }
}
