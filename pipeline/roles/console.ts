// The console role: the live view of the topics, reads of ClickHouse, and the training that people ask for.
//
// What control decided is explained from its records, so control may run anywhere.

import { maintenanceMatchProblem } from '../../actuators/decide/guards/maintenance.ts'
import { explain } from '../../actuators/decide/explain-text.ts'
import { AppError } from '../../schemas/errors.ts'
import { resolveSecret } from '../config/load.ts'
import { openLiveView } from '../console/live-view.ts'
import { openConsole } from '../console/server.ts'
import type { OpenRole, RoleContext } from './context.ts'
import { trainer } from './train.ts'

export async function openConsoleRole(context: RoleContext): Promise<OpenRole> {
  const { config, environment, log, clock, reads, roles, probes } = context
  const logger = context.logger('console')
  const view = await openLiveView({ log, clock, logger })
  try {
    const page = await openConsole({
      listen: config.console.listen,
      tokens: config.console.tokens.map(token => resolveSecret(token, environment)),
      log,
      view,
      signals: reads.signals,
      explain: ({ incident, decisions, outcomes }, options) => explain(incident, decisions, outcomes, options),
      matchProblem: maintenanceMatchProblem,
      sql: reads.sql,
      detectors: await context.openDetectors(),
      probes,
      train: roles.has('train') ? trainer(context) : refuseTraining,
      clock,
      logger
    })
    return {
      addresses: { console: page.address },
      published: { console: page.address },
      async close() {
        await page.close()
        await view.close()
      }
    }
  } catch (cause) {
    await view.close()
    throw cause
  }
}

async function refuseTraining(): Promise<never> {
  throw new AppError('usage', 'this process runs without the role train: start the console as --role console,train')
}
