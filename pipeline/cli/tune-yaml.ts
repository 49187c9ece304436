// Proposals as a piece of homeostat.yaml, checked against the schema that will read it.

import { parse } from 'yaml'
import { type Config, configSchema } from '../../schemas/config.ts'
import type { Proposal, Tuning } from '../roles/tune.ts'

const HEAD = 'apiVersion: homeostat.io/v1\nkind: Homeostat\n'

/**
 * The `detect` section with what is proposed, to be merged into the user's; uncertain proposals are comments. Lists are whole: they
 * hold the present entries too.
 * @returns '' when nothing is proposed
 */
export function settingsYaml({ proposals }: Pick<Tuning, 'proposals'>, detect: Pick<Config['detect'], 'ignore' | 'important'>): string {
  if (proposals.length === 0) return ''
  const whole = yamlOf(proposals, detect, true)
  const text = proposals.some(({ isCertain }) => isCertain) ? yamlOf(proposals, detect, false) : whole.replaceAll(/^(?=.)/gm, '# ')
  for (const one of [whole, text]) configSchema.parse(parse(HEAD + one))
  return text
}

/** @param isAll uncertain ones are not comments */
function yamlOf(proposals: readonly Proposal[], detect: Pick<Config['detect'], 'ignore' | 'important'>, isAll: boolean): string {
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
  for (const kind of ['ignore', 'important'] as const) {
    const of = proposals.flatMap(proposal => (proposal.kind === kind ? [proposal as Exclude<Proposal, { kind: 'setting' }>] : []))
    if (of.length === 0) continue
    const isListCertain = of.some(({ isCertain }) => isCertain)
    lines.push(`  ${mark(isListCertain)}${kind}:`)
    for (const pattern of detect[kind]) lines.push(`  ${mark(isListCertain)}  - ${quoted(pattern)}`)
    for (const { metric, why, isCertain } of of) lines.push(`  ${mark(isCertain)}  - ${quoted(patternOf(metric))} # ${why}`)
  }
  return `detect:\n${lines.join('\n')}\n`
}

/** Matches this metric alone. */
const patternOf = (metric: string): string => `^${metric.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}$`
/** In single quotes YAML has no escapes but for the quote. */
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`
