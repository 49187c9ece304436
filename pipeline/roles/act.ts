// The act role: the ledger, the drivers that the configuration allows, the channels to people, and the executor.

import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { alertmanagerEscalation } from '../../actuators/drivers/alertmanager.ts'
import { execDriver } from '../../actuators/drivers/exec.ts'
import { httpDriver } from '../../actuators/drivers/http.ts'
import { httpProbe } from '../../actuators/drivers/http-probe.ts'
import { pagerDutyEscalation } from '../../actuators/drivers/pagerduty.ts'
import { processDriver } from '../../actuators/drivers/process.ts'
import { slackEscalation } from '../../actuators/drivers/slack.ts'
import { systemdDriver } from '../../actuators/drivers/systemd.ts'
import { tcpProbe } from '../../actuators/drivers/tcp-probe.ts'
import { webhookEscalation } from '../../actuators/drivers/webhook.ts'
import { actWorker } from '../../actuators/execute/executor.ts'
import { commandVerifier } from '../../actuators/execute/signer.ts'
import { collateralChecks } from '../../actuators/verify/collateral.ts'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Driver, Escalation } from '../../schemas/ports.ts'
import { processDefinitionsSchema } from '../../schemas/process-definitions.ts'
import { formatProblem, parseYaml } from '../../schemas/yaml.ts'
import { resolveSecret } from '../config/load.ts'
import { SqliteLedger } from '../ledger.ts'
import type { OpenRole, RoleContext } from './context.ts'
import { openVerificationKeys } from './keys.ts'

export async function openAct(context: RoleContext): Promise<OpenRole> {
  const { config, roles, log, clock, random, meter } = context
  const logger = context.logger('act')
  const keys = openVerificationKeys(config, roles)
  logger.info({ keys: Object.keys(keys) }, 'commands signed by these keys are believed')
  mkdirSync(config.dataDir, { recursive: true })
  const ledger = SqliteLedger.open({ file: join(config.dataDir, 'ledger.sqlite') })
  const worker = actWorker({
    ...{ log, clock, random, meter, logger, ledger },
    signals: context.reads.signals,
    collateral: collateralChecks({ signals: context.reads.signals, dependentsOf: dependentsIn(context.reads), clock, logger }),
    drivers: openDrivers(config),
    verifier: commandVerifier({ keys }),
    probe: httpProbe({ hosts: config.act.probeHosts }),
    tcpProbe: tcpProbe({ hosts: config.act.probeHosts }),
    // Control calls people once for an incident, whatever its attempts; beside it in one process this would be a second voice.
    escalations: roles.has('control') ? {} : openEscalations(config),
    config: config.act,
    environment: config.environment
  })
  await worker.start()
  return {
    finished: worker.finished,
    async close() {
      await worker.close()
      ledger.close()
    }
  }
}

const DEPENDENTS_SQL = `SELECT DISTINCT Source AS source FROM homeostat_edges_latest
WHERE Environment = {environment:String} AND Target IN {names:Array(String)} AND Timestamp >= now64(9) - INTERVAL 1 DAY ORDER BY source LIMIT 100`

/** Who calls a service, as traces of the last day showed it. What sends no spans is known to its callers by its bare name. */
function dependentsIn({ query }: Pick<RoleContext['reads'], 'query'>): (environment: string, service: string) => Promise<string[]> {
  return async (environment, service) => {
    const names = [service, service.slice(service.indexOf('/') + 1)]
    return (await query<{ source: string }>(DEPENDENTS_SQL, { environment, names })).map(({ source }) => source)
  }
}

/**
 * The drivers that the configuration names, each with its own allow-list.
 * @param secrets false: for asking what they allow; such drivers cannot act where a header needs a secret
 * @throws AppError `config_invalid`
 */
export function openDrivers(config: Config, { secrets }: { secrets: boolean } = { secrets: true }): Record<string, Driver> {
  const { process: supervised, systemd, http, exec } = config.act.drivers
  const drivers: Record<string, Driver> = {}
  if (supervised)
    drivers.process = processDriver({ definitions: readDefinitions(supervised.definitionsFile).processes, runDir: join(config.dataDir, 'processes') })
  if (systemd) drivers.systemd = systemdDriver({ ...systemd, stateDir: join(config.dataDir, 'systemd') })
  if (http) drivers.http = httpDriver({ endpoints: secrets ? withSecrets(http.endpoints) : http.endpoints })
  if (exec) drivers.exec = execDriver(exec)
  return drivers
}

type HttpEndpoints = NonNullable<Config['act']['drivers']['http']>['endpoints']

/** Header values are references; the driver gets what they stand for, and keeps it out of every message. */
function withSecrets(endpoints: HttpEndpoints): HttpEndpoints {
  const resolved = Object.entries(endpoints).map(([name, endpoint]) => {
    const headers = Object.fromEntries(Object.entries(endpoint.headers).map(([header, reference]) => [header, resolveSecret(reference, process.env)]))
    return [name, { ...endpoint, headers }] as const
  })
  return Object.fromEntries(resolved)
}

function readDefinitions(file: string): ReturnType<typeof processDefinitionsSchema.parse> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError('config_invalid', `act.drivers.process.definitionsFile: ${file} cannot be read: create it, or take the driver out`, { cause })
  }
  const parsed = parseYaml(processDefinitionsSchema, text, file)
  if (!parsed.ok) throw new AppError('config_invalid', parsed.problems.map(problem => formatProblem(problem, text)).join('\n\n'))
  return parsed.value
}

/** Channels to people by name. @throws AppError `config_invalid` for a URL that is none, or a secret that is not there */
export function openEscalations({ act }: Pick<Config, 'act'>): Record<string, Escalation> {
  const resolved = (reference: string): string => resolveSecret(reference, process.env)
  const url = (text: string): string => (/^(env|file):/.test(text) ? resolved(text) : text)
  const open = (channel: Config['act']['escalation']['channels'][string]): Escalation => {
    switch (channel.kind) {
      case 'webhook':
        return webhookEscalation({ url: url(channel.url), secret: channel.secret && resolved(channel.secret) })
      case 'slack':
        return slackEscalation({ url: url(channel.url) })
      case 'pagerduty':
        return pagerDutyEscalation({ url: url(channel.url), routingKey: resolved(channel.routingKey) })
      case 'alertmanager':
        return alertmanagerEscalation({ url: url(channel.url), token: channel.token && resolved(channel.token) })
    }
  }
  return Object.fromEntries(Object.entries(act.escalation.channels).map(([name, channel]) => [name, open(channel)]))
}
