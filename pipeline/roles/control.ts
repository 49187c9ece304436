// The control role: diagnose (anomalies → incidents) and decide (incidents → decisions, signed commands).
//
// Policies and runbooks are read from their folders at the start, where a mistake ends it, and whenever they change, where the
// last good ones go on; either way it is named by file, line and column.

import { decideWorker } from '../../actuators/decide/worker.ts'
import { commandSigner } from '../../actuators/execute/signer.ts'
import { canaryWorker } from '../../detectors/canary/worker.ts'
import { diagnoseWorker } from '../../detectors/diagnose/worker.ts'
import { type Config, environmentsOf } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { checkpointStore } from '../log/checkpoint-store.ts'
import { openEscalations } from './act.ts'
import type { OpenRole, RoleContext } from './context.ts'
import { openSigningKey } from './keys.ts'
import { telemetryOwner } from './owners.ts'
import { configuredPolicyFiles, readPolicySet } from './policies.ts'
import { reloadPolicies } from './policy-reload.ts'

export async function openControl(context: RoleContext): Promise<OpenRole> {
  const { config, log, clock, random, meter } = context
  const files = configuredPolicyFiles(config.decide)
  const read = readPolicySet(files)
  if (!read.ok) throw new AppError('config_invalid', read.problems.join('\n\n'))
  const signer = commandSigner(openSigningKey(config).privateKeyPem)
  const ports = { log, clock, random, meter, logger: context.logger('control'), checkpoints: checkpointStore(log, {}) }
  const canary = canaryWorker(ports)
  const diagnose = diagnoseWorker({ ...ports, config: config.diagnose })
  const decide = decideWorker({
    ...ports,
    config: config.decide,
    policies: read.set,
    environments: environmentsOf(config),
    sign: signer.sign,
    signAnchor: signer.signAnchor,
    escalations: openEscalations(config),
    escalation: config.act.escalation,
    ownerOf: telemetryOwner(context.reads, config.act.escalation.ownerAttributes, clock)
  })
  await canary.start()
  await diagnose.start()
  await decide.start()
  const reload = reloadPolicies({
    ...ports,
    read: () => configuredPolicyFiles(config.decide),
    files,
    inForce: read.set,
    use: set => decide.usePolicies(set),
    warn: problem => context.warn('policies', problem)
  })
  return {
    finished: Promise.all([canary.finished(), diagnose.finished(), decide.finished(), reload.finished]),
    async close() {
      await reload.close()
      await decide.close()
      await diagnose.close()
      await canary.close()
    }
  }
}

/** How many policies and runbooks there are, or what is wrong with them: for `homeostat doctor`. */
export function loadRunbookSet(config: Config): { policies: number; runbooks: number; problems: string[] } {
  const read = readPolicySet(configuredPolicyFiles(config.decide))
  return read.ok
    ? { policies: read.set.policies.length, runbooks: read.set.runbooks.size, problems: [] }
    : { policies: 0, runbooks: 0, problems: read.problems }
}
