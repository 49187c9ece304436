// The log that the configuration asks for. Every thread opens its own; they share the files.

import { join } from 'node:path'
import type { Config } from '../../schemas/config.ts'
import type { Clock, Logger, Meter } from '../../schemas/ports.ts'
import { EmbeddedLog } from '../log/embedded-log.ts'

export function openLog(config: Config, ports: { clock: Clock; logger: Logger; meter: Meter }): Promise<EmbeddedLog> {
  return EmbeddedLog.open({ ...ports, dir: join(config.dataDir, 'log'), bytesMax: config.log.bytesMax, groupCommitMs: config.log.groupCommit })
}
