// Proposals as a piece of homeostat.yaml, checked against the schema that will read it.

import { parse } from 'yaml'
import { type Config, configSchema } from '../../schemas/config.ts'
import type { MetricRule, Proposal, Tuning } from '../roles/tune.ts'

type Lists = Pick<Config['detect'], 'ignore' | 'important' | 'metrics'>

const HEAD = 'apiVersion: homeostat.io/v1\nkind: Homeostat\n'

/**
 * The `detect` section with what is proposed, to be merged into the user's; uncertain proposals are comments. Lists are whole: they
 * hold the present entries too.
 * @returns '' when nothing is proposed
 */
export function settingsYaml({ proposals }: Pick<Tuning, 'proposals'>, detect: Lists): string {
  if (proposals.length === 0) return ''
  const whole = yamlOf(proposals, detect, true)
  const text = proposals.some(({ isCertain }) => isCertain) ? yamlOf(proposals, detect, false) : whole.replaceAll(/^(?=.)/gm, '# ')
  for (const one of [whole, text]) configSchema.parse(parse(HEAD + one))
  return text
}

/** @param isAll uncertain ones are not comments */
function yamlOf(proposals: readonly Proposal[], detect: Lists, isAll: boolean): string {
  const mark = (isCertain: boolean): string => (isCertain || isAll ? '' : '# ')
  const lines: string[] = []
  for (const proposal of proposals) {
    if (proposal.kind !== 'setting') continue
    const { change, why, isCertain } = proposal
    const [section, name] = change.setting.includes('.') ? change.setting.split('.') : [undefined, change.setting]
    lines.push(`  # ${why}`)
    if (section !== undefined) lines.push(`  ${mark(isCertain)}${section}:`)
    lines.push(`  ${mark(isCertain)}${section === undefined ? '' : '  '}${name}: ${change.to}`)
  }
  const list = (name: string, own: readonly { text: string; why: string; isCertain: boolean }[], known: readonly string[]): void => {
    if (own.length === 0) return
    const isListCertain = own.some(({ isCertain }) => isCertain)
    lines.push(`  ${mark(isListCertain)}${name}:`)
    for (const { text, why, isCertain } of own) lines.push(`  ${mark(isCertain)}  - ${text} # ${why}`)
    for (const text of known) lines.push(`  ${mark(isListCertain)}  - ${text}`)
  }
  const metrics = proposals.flatMap(proposal => (proposal.kind === 'metric' ? [{ ...proposal, text: ruleText(proposal) }] : []))
  // The first match counts: what is known stays for the other metrics that it matches.
  list('metrics', metrics, detect.metrics.map(flow))
  for (const kind of ['ignore', 'important'] as const) {
    const own = proposals.flatMap(proposal => (proposal.kind === kind ? [{ ...proposal, text: quoted(patternOf(proposal.metric)) }] : []))
    list(kind, own, detect[kind].map(quoted))
  }
  return `detect:\n${lines.join('\n')}\n`
}

const ruleText = ({ metric, direction, deviationMinRelative }: MetricRule): string =>
  `{ ${[`metric: ${quoted(patternOf(metric))}`, ...(direction ? [`direction: ${direction}`] : []), ...(deviationMinRelative ? [`deviationMinRelative: ${deviationMinRelative}`] : [])].join(', ')} }`
/** JSON is YAML. */
const flow = (rule: Lists['metrics'][number]): string => JSON.stringify(rule)

/** Matches this metric alone. */
const patternOf = (metric: string): string => `^${metric.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}$`
/** In single quotes YAML has no escapes but for the quote. */
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`
