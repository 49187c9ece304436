// The log for commands, and the cluster below it: opened straight by the configuration, since they must work while nothing of ours runs.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Log } from '../../schemas/ports.ts'
import { resolveSecret } from '../config/load.ts'
import type { KafkaAdmin } from '../log/kafka/kafka-client.ts'
import { openKafkaClient } from '../log/kafka/open-client.ts'
import { openLog } from '../roles/log.ts'
import { openLogger } from '../self/logger.ts'
import { memoryMeter } from '../self/meter.ts'
import { systemClock } from '../system.ts'

/** The configured log, which must be there: looking makes no new one. @throws AppError `not_found`, `log_unavailable` */
export async function openExistingLog(config: Config): Promise<Log> {
  if (config.log.kind === 'embedded' && !existsSync(join(config.dataDir, 'log'))) {
    throw new AppError('not_found', `there is no log below ${config.dataDir}: name the configuration of a Homeostat that has run with --config`)
  }
  return await openLog(config, { clock: systemClock, logger: openLogger({ level: 'warn', role: 'cli' }), meter: memoryMeter() })
}

/** Administration of the cluster that the configuration names. @throws AppError `config_invalid`, `log_unavailable` */
export async function openKafkaAdmin(config: Config): Promise<KafkaAdmin> {
  const client = await openKafkaClient(config, {
    secret: reference => resolveSecret(reference, process.env),
    role: 'cli',
    logger: openLogger({ level: 'warn', role: 'cli' }),
    meter: memoryMeter()
  })
  return await client.openAdmin()
}

/** The answer of the person at the terminal; undefined when there is none. */
export async function confirmAtTerminal(question: string): Promise<boolean | undefined> {
  if (process.stdin.isTTY !== true) return undefined
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim())
  } finally {
    terminal.close()
  }
}
