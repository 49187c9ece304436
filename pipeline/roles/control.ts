// The control role: diagnose (anomalies → incidents) and decide (incidents → decisions, signed commands).
//
// Policies and runbooks are read from their folders at the start; a mistake in one of them is named by file, line and column.

import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadPolicySet, type PolicyFile, type PolicySet } from '../../actuators/decide/policy-file.ts'
import { decideWorker } from '../../actuators/decide/worker.ts'
import { commandSigner } from '../../actuators/execute/signer.ts'
import { diagnoseWorker } from '../../detectors/diagnose/worker.ts'
import { type Config, environmentsOf } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { formatProblem } from '../../schemas/yaml.ts'
import { checkpointStore } from '../log/checkpoint-store.ts'
import { openEscalations } from './act.ts'
import type { OpenRole, RoleContext } from './context.ts'
import { openSigningKey } from './keys.ts'
import { telemetryOwner } from './owners.ts'

export async function openControl(context: RoleContext): Promise<OpenRole> {
  const { config, log, clock, random, meter } = context
  const policies = openPolicies(config)
  const ports = { log, clock, random, meter, logger: context.logger('control'), checkpoints: checkpointStore(log, {}) }
  const diagnose = diagnoseWorker({ ...ports, config: config.diagnose })
  const decide = decideWorker({
    ...ports,
    config: config.decide,
    policies,
    environments: environmentsOf(config),
    sign: commandSigner(openSigningKey(config).privateKeyPem).sign,
    escalations: openEscalations(config),
    escalation: config.act.escalation,
    ownerOf: telemetryOwner(context.reads, config.act.escalation.ownerAttributes, clock)
  })
  await diagnose.start()
  await decide.start()
  return {
    finished: Promise.all([diagnose.finished(), decide.finished()]),
    async close() {
      await decide.close()
      await diagnose.close()
    }
  }
}

function openPolicies(config: Config): PolicySet {
  const read = readPolicies(config)
  if (!read.ok) throw new AppError('config_invalid', read.problems.join('\n\n'))
  return read.set
}

/** How many policies and runbooks there are, or what is wrong with them: for `homeostat doctor`. */
export function loadRunbookSet(config: Config): { policies: number; runbooks: number; problems: string[] } {
  const read = readPolicies(config)
  return read.ok
    ? { policies: read.set.policies.length, runbooks: read.set.runbooks.size, problems: [] }
    : { policies: 0, runbooks: 0, problems: read.problems }
}

function readPolicies(config: Config): { ok: true; set: PolicySet } | { ok: false; problems: string[] } {
  const files = [...yamlFiles('decide.runbooksDir', config.decide.runbooksDir), ...yamlFiles('decide.policiesDir', config.decide.policiesDir)]
  const loaded = loadPolicySet(files)
  if (loaded.ok) return loaded
  const texts = new Map(files.map(({ file, text }) => [file, text]))
  return { ok: false, problems: loaded.problems.map(problem => formatProblem(problem, texts.get(problem.file) ?? '')) }
}

function yamlFiles(key: string, folder: string | undefined): PolicyFile[] {
  if (!folder) return []
  if (!existsSync(folder)) throw new AppError('config_invalid', `${key}: there is no folder ${folder}: create it, or take the key out`)
  return globSync('**/*.{yaml,yml}', { cwd: folder })
    .sort()
    .map(name => ({ file: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
}
