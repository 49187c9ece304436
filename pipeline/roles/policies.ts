// Policies and runbooks as files: what the control role and the command line (which may not know the domain) read of them.

import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type PolicyDocuments, type PolicyFile, readPolicyDocuments } from '../../actuators/decide/policy-documents.ts'
import { loadPolicySet, type PolicySet } from '../../actuators/decide/policy-file.ts'
import type { LintFacts } from '../../actuators/decide/policy-lint.ts'
import { type PolicyTestResult, policyTestProblems, runPolicyTests } from '../../actuators/decide/policy-test.ts'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { formatProblem, type Problem } from '../../schemas/yaml.ts'
import { openDrivers } from './act.ts'

export type { PolicyDocuments, PolicyFile } from '../../actuators/decide/policy-documents.ts'
export { type DecisionDifferences, differenceOf } from '../../actuators/decide/policy-difference.ts'
export { explainPolicy, type ExplainedLimit, type PolicyExplanation } from '../../actuators/decide/policy-explain.ts'
export { type Finding, inOrder } from '../../actuators/decide/policy-finding.ts'
export { lintPolicies } from '../../actuators/decide/policy-lint.ts'
export { type RecordedDecision, type RecordedHistory, type Simulation, simulatePolicies } from '../../actuators/decide/policy-simulate.ts'
export type { PolicyTestResult } from '../../actuators/decide/policy-test.ts'
export { didYouMean } from '../../actuators/decide/policy-file.ts'
export { lintAgainstHistory, type MetricAnswer, type MetricQuestion, metricQuestions } from '../../actuators/decide/policy-lint-history.ts'

const YAML_FILES = '**/*.{yaml,yml}'

/** Every file of the two folders. @throws AppError `config_invalid` when a folder is not there */
export function configuredPolicyFiles({ runbooksDir, policiesDir }: Config['decide']): PolicyFile[] {
  // One folder may hold both.
  const folders = new Map([
    [runbooksDir, 'decide.runbooksDir'],
    [policiesDir, 'decide.policiesDir']
  ])
  return [...folders].flatMap(([folder, key]) => {
    if (!folder) return []
    if (!existsSync(folder)) throw new AppError('config_invalid', `${key}: there is no folder ${folder}: create it, or take the key out`)
    return filesIn(folder)
  })
}

/** Files that are named, and those of folders that are named; each once. @throws AppError `not_found` */
export function policyFilesAt(paths: readonly string[]): PolicyFile[] {
  const files = paths.flatMap(path => {
    if (!existsSync(path)) throw new AppError('not_found', `there is no file or folder ${path}`)
    return statSync(path).isDirectory() ? filesIn(path) : [{ file: path, text: readFileSync(path, 'utf8') }]
  })
  return [...new Map(files.map(file => [file.file, file])).values()]
}

function filesIn(folder: string): PolicyFile[] {
  return globSync(YAML_FILES, { cwd: folder })
    .sort()
    .map(name => ({ file: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
}

/** The set, or what is wrong with the files: each problem with its line and what to do. */
export function readPolicySet(files: readonly PolicyFile[]): { ok: true; set: PolicySet } | { ok: false; problems: string[] } {
  const loaded = loadPolicySet(files)
  return loaded.ok ? loaded : { ok: false, problems: problemTexts(files, loaded.problems) }
}

/** The set with the documents that it was made of. @throws AppError `config_invalid` with every problem */
export function loadedPolicies(files: readonly PolicyFile[]): { set: PolicySet; documents: PolicyDocuments } {
  const read = readPolicySet(files)
  if (!read.ok) throw new AppError('config_invalid', read.problems.join('\n\n'))
  return { set: read.set, documents: readPolicyDocuments(files).documents }
}

/**
 * Every case of the files, decided by the policies of the files, or by those of `others` where they hold none.
 * @throws AppError `config_invalid` when something does not load, or names what is not there
 */
export function testPolicies(files: readonly PolicyFile[], others: () => readonly PolicyFile[]): { set: PolicySet; results: PolicyTestResult[] } {
  const { documents } = readPolicyDocuments(files)
  const { set } = loadedPolicies(documents.policies.length > 0 ? files : [...others(), ...files])
  const problems = policyTestProblems(set, documents.tests)
  if (problems.length > 0) throw new AppError('config_invalid', problemTexts(files, problems).join('\n\n'))
  return { set, results: runPolicyTests(set, documents.tests) }
}

function problemTexts(files: readonly PolicyFile[], problems: readonly Problem[]): string[] {
  const texts = new Map(files.map(({ file, text }) => [file, text]))
  return problems.map(problem => formatProblem(problem, texts.get(problem.file) ?? ''))
}

/** What lint may hold policies against: without a configuration file only its defaults for times. @throws AppError `config_invalid` */
export function lintFacts(config: Config, isConfigured: boolean): LintFacts {
  const { decide, detect, act } = config
  const times = { derivedIntervalMs: detect.window }
  if (!isConfigured) return times
  const { channels, onCall } = act.escalation
  const { exec, http } = act.drivers
  return {
    ...times,
    channels: Object.keys(channels),
    isSomebodyOnCall: Object.keys(onCall).length > 0 || Object.hasOwn(channels, 'default'),
    drivers: new Map(Object.entries(openDrivers(config, { secrets: false }))),
    actTimeoutMs: (driver, verb) => (driver === 'exec' ? exec?.commands[verb] : driver === 'http' ? http?.endpoints[verb] : undefined)?.timeout,
    probeHosts: act.probeHosts,
    queue: { expiryMs: decide.commandExpiry, concurrencyMax: act.concurrencyMax }
  }
}
