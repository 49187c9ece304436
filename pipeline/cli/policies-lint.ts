// `homeostat policies lint`: what cannot work, or is hardly meant, with its place and what to do. Exit code 1 on errors.

import type { Command } from 'commander'
import { AppError } from '../../schemas/errors.ts'
import { formatProblem } from '../../schemas/yaml.ts'
import { type Finding, inOrder, lintAgainstHistory, lintFacts, lintPolicies, type PolicyDocuments, type PolicyFile } from '../roles/policies.ts'
import type { LoadedConfig } from '../config/load.ts'
import { counted, paint, wrapped } from './output.ts'
import { chosenFiles, type PoliciesPorts } from './policies.ts'
import { askHistory, LOOKBACK_MS } from './policies-history.ts'

/** Adds the command to `policies`. */
export function registerPoliciesLint(policies: Command, ports: PoliciesPorts): void {
  policies
    .command('lint')
    .description('find what cannot work or is hardly meant: selectors, times, drivers, channels, checks that never saw data')
    .argument('[paths...]', 'files and folders (default: decide.runbooksDir and decide.policiesDir)')
    .option('--offline', 'do not ask ClickHouse whether the checks ever saw data')
    .addHelpText('after', NOTES)
    .action((paths: string[], options: { offline?: boolean }) => lint(ports, paths, options.offline === true))
}

const NOTES = `
Errors will fail when they are needed; warnings are worth a look. Exit code 1 when there is an error.
Drivers, channels and hosts are held against the configuration, checks against the telemetry of the last day.

Examples:
  homeostat policies lint
  homeostat policies lint policies/ runbooks/web.yaml --offline`

async function lint(ports: PoliciesPorts, paths: readonly string[], offline: boolean): Promise<void> {
  const loaded = ports.loaded()
  const output = ports.output()
  const files = chosenFiles(loaded, paths)
  const isConfigured = loaded.file !== undefined
  const { findings, documents } = lintPolicies(files, lintFacts(loaded.config, isConfigured))
  const history = offline ? '--offline' : await historyFindings(ports, loaded, documents)
  const all = typeof history === 'string' ? findings : inOrder([...findings, ...history], files)
  const errors = all.filter(({ severity }) => severity === 'error').length
  if (!isConfigured) output.say('no configuration file: drivers, channels and hosts are not checked')
  if (typeof history === 'string') output.say(`whether checks ever saw data was not looked at: ${history}`)
  const counts = { files: files.length, policies: documents.policies.length, runbooks: documents.runbooks.length, tests: documents.tests.length }
  const result = {
    errors,
    warnings: all.length - errors,
    ...counts,
    configuration: loaded.file ?? null,
    history: typeof history === 'string' ? history : 'asked',
    findings: all
  }
  output.result(
    result,
    lintText(all, files, `${counted(counts.policies, 'policy', 'policies')}, ${counted(counts.runbooks, 'runbook')} in ${counted(counts.files, 'file')}`)
  )
  if (errors > 0) process.exitCode = 1
}

/** Findings, or why history was not asked. */
async function historyFindings(ports: PoliciesPorts, loaded: LoadedConfig, documents: PolicyDocuments): Promise<Finding[] | string> {
  try {
    const { answers, metrics } = await askHistory(ports, loaded, documents)
    return lintAgainstHistory(documents, answers, metrics, LOOKBACK_MS)
  } catch (error) {
    if (error instanceof AppError) return error.message
    throw error
  }
}

/** Findings for people, and what it comes to. */
export function lintText(findings: readonly Finding[], files: readonly PolicyFile[], looked: string): string {
  const texts = new Map(files.map(({ file, text }) => [file, text]))
  const errors = findings.filter(({ severity }) => severity === 'error').length
  const sum = `${counted(errors, 'error')}, ${counted(findings.length - errors, 'warning')}: ${looked}`
  return [...findings.map(one => `${findingText(one, texts.get(one.file) ?? '')}\n`), paint(errors > 0 ? 'red' : 'green', sum)].join('\n')
}

function findingText(found: Finding, text: string): string {
  // The line with its caret, as every problem of a YAML file shows it.
  const excerpt = formatProblem({ ...found, hint: '' }, text)
    .split('\n')
    .slice(1)
  const head = `${found.file}:${found.line}:${found.column}  ${paint(found.severity === 'error' ? 'red' : 'yellow', found.severity)}  ${found.rule}`
  const message = wrapped(`${found.path === '' ? '' : `${found.path}: `}${found.message}`, '  ')
  return [head, message, ...excerpt, ...(found.hint === '' ? [] : [wrapped(found.hint, '  ')])].join('\n')
}
