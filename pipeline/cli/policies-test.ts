// `homeostat policies test`: cases beside the policies, decided by the deciding code itself. Exit code 1 when one differs.

import type { Command } from 'commander'
import { AppError } from '../../schemas/errors.ts'
import { configuredPolicyFiles, type PolicyTestResult, testPolicies } from '../roles/policies.ts'
import { counted, paint, wrapped } from './output.ts'
import { chosenFiles, type PoliciesPorts } from './policies.ts'

const MARKS = { allow: '+', wait: '~', ask: '?', refuse: '-' } as const

/** Adds the command to `policies`. */
export function registerPoliciesTest(policies: Command, ports: PoliciesPorts): void {
  policies
    .command('test')
    .description('decide the cases of PolicyTest documents, and compare with what they expect')
    .argument('[paths...]', 'files and folders (default: decide.runbooksDir and decide.policiesDir)')
    .addHelpText('after', NOTES)
    .action((paths: string[]) => {
      const loaded = ports.loaded()
      const output = ports.output()
      const { set, results } = testPolicies(chosenFiles(loaded, paths), () => configuredPolicyFiles(loaded.config.decide))
      if (results.length === 0)
        throw new AppError('not_found', 'there is no case: write a document of kind PolicyTest (infra/docs/policies.md) beside the policies')
      const decided = new Set(results.map(({ decision }) => decision.policy))
      const untested = set.policies.flatMap(({ name }) => (decided.has(name) ? [] : [name]))
      if (untested.length > 0) output.say(`without a case: ${untested.join(', ')}`)
      output.result({ passed: results.filter(isPassed).length, failed: results.filter(one => !isPassed(one)).length, untested, results }, testText(results))
      if (!results.every(isPassed)) process.exitCode = 1
    })
}

const NOTES = `
Runs nothing and asks nobody: a case says what was found and what happened before, and what the decision must be. Where the files
that are named hold no policy, those of the configuration decide.

Examples:
  homeostat policies test
  homeostat policies test actuators/runbooks`

function isPassed({ differences }: PolicyTestResult): boolean {
  return differences.length === 0
}

/** Every case with a mark; of those that differ what was expected and what was decided, and why. */
export function testText(results: readonly PolicyTestResult[]): string {
  const lines = results.flatMap(one => [
    `${isPassed(one) ? paint('green', '✓') : paint('red', '✗')} ${one.test}: ${one.name}`,
    ...(isPassed(one) ? [] : failureLines(one))
  ])
  const failed = results.filter(one => !isPassed(one)).length
  const sum = `${counted(results.length - failed, 'case')} passed, ${failed} failed`
  return [...lines, '', paint(failed > 0 ? 'red' : 'green', sum)].join('\n')
}

function failureLines({ file, line, differences, decision }: PolicyTestResult): string[] {
  const width = Math.max(...differences.map(({ what }) => what.length))
  const expectedWidth = Math.max(0, ...differences.flatMap(({ what, expected }) => (what === 'reason' ? [] : [expected.length])))
  return [
    `    ${file}:${line}`,
    ...differences.map(({ what, expected, was }) =>
      // What the reason was stands in the line below.
      what === 'reason'
        ? wrapped(`${what.padEnd(width)}  expected ${expected}`, '    ')
        : `    ${what.padEnd(width)}  expected ${paint('green', expected.padEnd(expectedWidth))}  was ${paint('red', was)}`
    ),
    wrapped(`decided: ${decision.reason}`, '    '),
    ...decision.guards
      .filter(({ verdict }) => verdict !== 'allow')
      .map(({ guard, verdict, reason }) => wrapped(`${MARKS[verdict]} ${guard}: ${reason}`, '      '))
  ]
}
