// What scoring CSV files found, in words and a table.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { formatTable, formatUtcSecond, paint } from './output.ts'
import { type ScoredFile, strength } from './score-file.ts'

const FILES_SHOWN_MAX = 60
/** Anomalies that are told of all files together. */
const ANOMALIES_SHOWN_MAX = 15
/** Of one among several: scores grow with how still a series was, and one file would fill the list. */
const ANOMALIES_OF_FILE_MAX = 2

export function scoreText(files: readonly ScoredFile[]): string {
  const rows = files.map(({ file, timeForm, rows, scored, late, duplicate, empty, notNumeric, anomalies, warnings, anomalousRows }) => ({
    ...{ file, timestamps: timeForm, rows, 'values scored': scored, late, duplicate, empty, 'not numeric': notNumeric },
    ...{ anomalies, 'of them warnings': warnings, 'rows anomalous': anomalousRows }
  }))
  const lines = [formatTable(rows.slice(0, FILES_SHOWN_MAX), Object.keys(rows[0]!))]
  if (rows.length > FILES_SHOWN_MAX) lines.push(`… and ${rows.length - FILES_SHOWN_MAX} more: see --json`)
  const all = files.reduce((sum, { anomalies }) => sum + anomalies, 0)
  if (all === 0) return [...lines, '', 'no anomalies'].join('\n')
  const byStrength = (anomalies: readonly Anomaly[]): Anomaly[] => [...anomalies].sort((a, b) => strength(b) - strength(a))
  const perFile = files.length === 1 ? ANOMALIES_SHOWN_MAX : ANOMALIES_OF_FILE_MAX
  const shown = byStrength(files.flatMap(({ strongest }) => byStrength(strongest).slice(0, perFile))).slice(0, ANOMALIES_SHOWN_MAX)
  const order = new Map(files.flatMap(({ strongest }) => strongest).map((anomaly, index) => [anomaly.id, index]))
  lines.push('', paint('bold', shown.length === all ? 'Anomalies' : `${shown.length} of the strongest of ${all} anomalies`))
  for (const { id, sinceMs, score, severity, detector, reason } of shown.sort((a, b) => order.get(a.id)! - order.get(b.id)!))
    lines.push(`${formatUtcSecond(sinceMs)}  ${id.slice(0, 8)}  score ${score.toFixed(1)}  ${severity}, ${detector}`, `  ${reason}`)
  return lines.join('\n')
}

/** What a user should know and might change; what is true of several files is said once. */
export function hints(files: readonly ScoredFile[]): string[] {
  const said = files.flatMap(({ file, columns }) => {
    const ignored = columns.filter(({ isJudged }) => !isJudged).map(({ metric }) => metric)
    const small = columns.filter(({ isJudged, deviationMin, deviationMax }) => isJudged && deviationMax > 0 && deviationMax < deviationMin)
    const texts = [...Map.groupBy(small, ({ deviationMin }) => deviationMin)].map(
      ([least, of]) =>
        `no anomaly of its own is possible for ${few(of.map(({ metric }) => metric))}: no value lay ${least} or more from what was expected, the least that matters; if that is much, name the unit with --unit, or set detect.metrics[].deviationMin`
    )
    if (ignored.length > 0) texts.push(`not judged: ${few(ignored)} (detect.ignore names it, or detect.memoryMax is used up)`)
    return texts.map(text => ({ file, text }))
  })
  return [
    ...files.flatMap(({ file, firstNotNumeric: first, notNumeric }) =>
      first === undefined
        ? []
        : [
            `${file}: values that are no numbers were left out: ${notNumeric}, the first in line ${first.line}, column ${first.column}: ${JSON.stringify(first.text)}`
          ]
    ),
    ...[...Map.groupBy(said, ({ text }) => text)].map(([text, of]) => `${few(of.map(({ file }) => file))}: ${text}`)
  ]
}

const SHOWN_MAX = 3
function few(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_MAX).join(', ')
  return names.length > SHOWN_MAX ? `${shown} and ${names.length - SHOWN_MAX} more` : shown
}
