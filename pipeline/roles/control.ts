// The control role: diagnose (anomalies → incidents) and decide (incidents → decisions, signed commands).
//
// Policies and runbooks are read from their folders at the start; a mistake in one of them is named by file, line and column.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { explainDecisions } from '../../actuators/decide/explain-text.ts'
import { type PolicySet, readPolicySet } from '../../actuators/decide/policy-file.ts'
import { decideWorker } from '../../actuators/decide/worker.ts'
import { commandSigner } from '../../actuators/execute/signer.ts'
import { diagnoseWorker } from '../../detectors/diagnose/worker.ts'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Log, Logger, Meter, Random } from '../../schemas/ports.ts'
import type { IncidentStory } from '../console/live-view.ts'
import { checkpointStore } from '../log/checkpoint-store.ts'
import { openEscalations } from './act.ts'
import type { SigningKey } from './keys.ts'

export interface ControlOptions {
  config: Config
  log: Log
  key: SigningKey
  clock: Clock
  random: Random
  logger: Logger
  meter: Meter
}

export async function openControl(options: ControlOptions): Promise<{ explain(story: IncidentStory): string[]; close(): Promise<void> }> {
  const { config, key, ...ports } = options
  const policies = loadPolicySet(config)
  const checkpoints = checkpointStore(ports.log, {})
  const signer = commandSigner(key.privateKeyPem)
  const diagnose = diagnoseWorker({ ...ports, checkpoints, config: config.diagnose })
  const decide = decideWorker({
    ...ports,
    checkpoints,
    config: config.decide,
    policies,
    environments: [config.environment],
    sign: signer,
    escalations: openEscalations(config)
  })
  await diagnose.start()
  await decide.start()
  return {
    explain: story => explainDecisions(story.incident, story.decisions),
    async close() {
      await decide.close()
      await diagnose.close()
    }
  }
}

function loadPolicySet(config: Config): PolicySet {
  const files = [...yamlFiles(config.decide.runbooksDir), ...yamlFiles(config.decide.policiesDir)]
  const read = readPolicySet(files)
  if (!read.ok) throw new AppError('config_invalid', read.problems.join('\n\n'))
  return read.set
}

/** How many policies and runbooks there are, or what is wrong with them: for `homeostat doctor`. */
export function loadRunbookSet(config: Config): { policies: number; runbooks: number; problems: string[] } {
  const files = [...yamlFiles(config.decide.runbooksDir), ...yamlFiles(config.decide.policiesDir)]
  const read = readPolicySet(files)
  return read.ok
    ? { policies: read.set.policies.length, runbooks: read.set.runbooks.size, problems: [] }
    : { policies: 0, runbooks: 0, problems: read.problems }
}

function yamlFiles(folder: string | undefined): { file: string; text: string }[] {
  if (!folder) return []
  return globSync('**/*.{yaml,yml}', { cwd: folder })
    .sort()
    .map(name => ({ file: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
}
