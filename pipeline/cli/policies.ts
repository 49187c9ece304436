// `homeostat policies …`: lint, test, explain and simulate what people wrote. Reads files and history; changes nothing.

import { relative } from 'node:path'
import type { Command } from 'commander'
import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import type { LoadedConfig } from '../config/load.ts'
import { configuredPolicyFiles, type PolicyFile, policyFilesAt } from '../roles/policies.ts'
import type { History } from './backtest-history.ts'
import type { Output } from './output.ts'
import { registerPoliciesExplain } from './policies-explain.ts'
import { registerPoliciesLint } from './policies-lint.ts'
import { registerPoliciesSimulate } from './policies-simulate.ts'
import { registerPoliciesTest } from './policies-test.ts'

export interface PoliciesPorts {
  loaded(): LoadedConfig
  output(): Output
  openHistory(loaded: LoadedConfig): Promise<History>
  clock: Clock
  stderr: NodeJS.WriteStream
}

/** Adds the commands to `program`. */
export function registerPolicies(program: Command, ports: PoliciesPorts): void {
  const policies = program.command('policies').description('policies and runbooks as code: lint, test, explain, simulate')
  registerPoliciesLint(policies, ports)
  registerPoliciesTest(policies, ports)
  registerPoliciesExplain(policies, ports)
  registerPoliciesSimulate(policies, ports)
}

/** The files that are named, else those of the configured folders. @throws AppError `usage`, `not_found`, `config_invalid` */
export function chosenFiles({ config }: LoadedConfig, paths: readonly string[]): PolicyFile[] {
  const files = paths.length > 0 ? policyFilesAt(paths) : configuredPolicyFiles(config.decide)
  if (files.length > 0) return files.map(({ file, text }) => ({ file: asSeenFrom(process.cwd(), file), text }))
  const hint = 'name files or folders, or set decide.policiesDir and decide.runbooksDir'
  throw new AppError('usage', paths.length > 0 ? `no .yaml or .yml file in ${paths.join(', ')}` : `no policies are configured: ${hint}`)
}

/** Relative where that says more: below the folder. */
function asSeenFrom(folder: string, file: string): string {
  const below = relative(folder, file)
  return below.startsWith('..') ? file : below
}
