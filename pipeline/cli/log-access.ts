// The log for commands: opened straight by the configuration, since they must work while nothing of ours runs.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Log } from '../../schemas/ports.ts'
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
