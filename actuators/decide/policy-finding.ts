// What lint found: a problem with its severity and its kind.

import type { Problem } from '../../schemas/yaml.ts'
import { type PolicyFile, problemIn } from './policy-documents.ts'

export interface Finding extends Problem {
  severity: 'error' | 'warning'
  /** What kind of finding it is; `load`: the set is refused because of it. */
  rule: string
}

/** A finding at a path of a document. */
export function finding(severity: Finding['severity'], rule: string, ...place: Parameters<typeof problemIn>): Finding {
  return { ...problemIn(...place), severity, rule }
}

/** By file as given, then line; the same place once, the error first. */
export function inOrder(findings: readonly Finding[], files: readonly PolicyFile[]): Finding[] {
  const rank = new Map(files.map(({ file }, index) => [file, index]))
  return findings.toSorted((a, b) => rank.get(a.file)! - rank.get(b.file)! || a.line - b.line || a.column - b.column || (a.severity < b.severity ? -1 : 1))
}
