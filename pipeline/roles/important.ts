// Metrics that runbooks check: detection looks at them before others, since a verdict will be made of them.
//
// Only where the detect role can read decide.runbooksDir and decide.policiesDir; elsewhere detect.important says it. What is wrong in
// a file is told by the control role, which has to understand all of it.

import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import type { Config } from '../../schemas/config.ts'

/** Patterns of detect.important, and one for each metric that a check of a runbook or policy reads. */
export function importantMetrics({ detect, decide }: Pick<Config, 'detect' | 'decide'>): string[] {
  const named = new Set<string>()
  for (const folder of [decide.runbooksDir, decide.policiesDir]) {
    if (folder === undefined || !existsSync(folder)) continue
    for (const file of globSync('**/*.{yaml,yml}', { cwd: folder }).sort()) {
      for (const document of parseAllDocuments(readFileSync(join(folder, file), 'utf8'))) {
        if ('errors' in document && document.errors.length === 0) collect(document.toJS(), named)
      }
    }
  }
  return [...detect.important, ...[...named].map(name => `^${name.replaceAll(/[^\w]/g, String.raw`\$&`)}$`)]
}

/** Values of every key `metric`. */
function collect(node: unknown, named: Set<string>): void {
  if (typeof node !== 'object' || node === null) return
  for (const [key, value] of Object.entries(node)) {
    if (key === 'metric' && typeof value === 'string') named.add(value)
    else collect(value, named)
  }
}
