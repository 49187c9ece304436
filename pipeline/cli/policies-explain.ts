// `homeostat policies explain`: one policy in words, with every limit and where it comes from.

import type { Command } from 'commander'
import { AppError } from '../../schemas/errors.ts'
import { didYouMean, type ExplainedLimit, explainPolicy, loadedPolicies, type PolicyExplanation } from '../roles/policies.ts'
import { paint, wrapped } from './output.ts'
import { chosenFiles, type PoliciesPorts } from './policies.ts'

/** Adds the command to `policies`. */
export function registerPoliciesExplain(policies: Command, ports: PoliciesPorts): void {
  policies
    .command('explain')
    .description('one policy in words: what it matches, what it may do, when it asks, every limit and where it comes from')
    .argument('<policy>', 'its name')
    .argument('[paths...]', 'files and folders (default: decide.runbooksDir and decide.policiesDir)')
    .action((name: string, paths: string[]) => {
      const { set, documents } = loadedPolicies(chosenFiles(ports.loaded(), paths))
      const explanation = explainPolicy(name, documents, set)
      if (explanation === undefined) {
        const names = set.policies.map(policy => policy.name)
        throw new AppError('not_found', `there is no policy ${name}. ${didYouMean('Policies', name, names)}`)
      }
      ports.output().result(explanation, explanationText(explanation))
    })
}

const INDENT = '  '

export function explanationText(explanation: PolicyExplanation): string {
  const { name, version, file, line, description, match, matchLine, decidedBefore, runbooks, acting, limits } = explanation
  const before =
    decidedBefore.length === 0
      ? 'No other policy comes first for anything that it matches.'
      : `The first by name decides: ${decidedBefore.join(', ')} ${decidedBefore.length === 1 ? 'comes' : 'come'} before it for some of that.`
  return [
    `${paint('bold', name)}  version ${version}  ${file}:${line}`,
    ...(description === '' ? [] : [wrapped(description, '')]),
    heading('What it matches'),
    `${INDENT}${match}  (line ${matchLine})`,
    wrapped(before, INDENT),
    heading('What it may do, ranked by what healed before, then lightest first'),
    ...runbooks.flatMap(runbookLines),
    heading('When it acts, and when it asks'),
    ...acting.map(sentence => wrapped(sentence, INDENT)),
    heading('Limits'),
    ...limitLines(limits)
  ].join('\n')
}

function heading(text: string): string {
  return `\n${paint('bold', text)}`
}

function runbookLines({ name, version, description, risk, cost, signatures, steps }: PolicyExplanation['runbooks'][number]): string[] {
  return [
    `${INDENT}${paint('bold', name)}  version ${version}, ${risk} risk, cost ${cost}; answers ${signatures.join(', ')}`,
    ...(description === '' ? [] : [wrapped(description, INDENT + INDENT)]),
    ...steps.flatMap((step, index) => [`${INDENT}${INDENT}${index + 1}. ${step.name}`, ...step.does.map(sentence => wrapped(sentence, '       '))])
  ]
}

/** Name, value, `line 12` or `default`, and the meaning beside them. */
function limitLines(groups: PolicyExplanation['limits']): string[] {
  const all = groups.flatMap(({ limits }) => limits)
  const widest = (text: (limit: ExplainedLimit) => string, max: number): number => Math.min(max, Math.max(...all.map(limit => text(limit).length)))
  const widths = [widest(({ key }) => key, 34), widest(({ value }) => value, 16), widest(from, 9)]
  return groups.flatMap(({ group, meaning, limits }) => [
    ...(group === '' || limits[0]?.key === group ? [] : [`\n${INDENT}${paint('dim', meaning)}`]),
    ...limits.map(limit => limitLine(limit, widths))
  ])
}

function limitLine(limit: ExplainedLimit, widths: readonly number[]): string {
  const [keyWidth, valueWidth, fromWidth] = widths as [number, number, number]
  const columns = `${INDENT}${limit.key.padEnd(keyWidth)}  ${limit.value.padEnd(valueWidth)}  ${from(limit).padEnd(fromWidth)}`
  const rest = wrapped(limit.meaning, ' '.repeat(INDENT.length + keyWidth + valueWidth + fromWidth + 6))
  // A long value pushes its meaning to the next line.
  return limit.value.length > valueWidth ? `${columns}\n${rest}` : `${columns}  ${rest.trimStart()}`
}

function from({ line }: ExplainedLimit): string {
  return line === null ? 'default' : `line ${line}`
}
