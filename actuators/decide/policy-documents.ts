// The documents of policy files, each by its schema, with the places of their values: what loading and linting begin with.

import { type Policy, policySchema, type Runbook, runbookSchema } from '../../schemas/runbook.ts'
import { type PolicyTest, policyTestSchema } from '../../schemas/policy-test.ts'
import { type ParsedDocument, type Problem, parseYamlDocuments, problemAt } from '../../schemas/yaml.ts'

export interface PolicyFile {
  file: string
  text: string
}
export type PolicyKind = Policy | Runbook | PolicyTest

/** A document and where it stands. */
export interface Found<T extends PolicyKind> {
  file: string
  document: ParsedDocument<T>
}

export interface PolicyDocuments {
  policies: Found<Policy>[]
  runbooks: Found<Runbook>[]
  tests: Found<PolicyTest>[]
}

/** Reads all files. A file with problems gives no documents; problems are those of every file, in file and line order. */
export function readPolicyDocuments(files: readonly PolicyFile[]): { documents: PolicyDocuments; problems: Problem[] } {
  const problems: Problem[] = []
  const documents: PolicyDocuments = { policies: [], runbooks: [], tests: [] }
  for (const { file, text } of files) {
    const parsed = parseYamlDocuments<PolicyKind>(schemaOf, text, file)
    if (!parsed.ok) {
      problems.push(...parsed.problems)
      continue
    }
    for (const document of parsed.documents) {
      const { kind } = document.value
      if (kind === 'Policy') documents.policies.push({ file, document: document as ParsedDocument<Policy> })
      else if (kind === 'Runbook') documents.runbooks.push({ file, document: document as ParsedDocument<Runbook> })
      else documents.tests.push({ file, document: document as ParsedDocument<PolicyTest> })
    }
  }
  problems.push(...duplicates(documents.policies), ...duplicates(documents.runbooks), ...duplicates(documents.tests))
  return { documents, problems }
}

/** A problem at a path of a document, `offset` characters into its value. */
export function problemIn(found: Found<PolicyKind>, path: readonly PropertyKey[], message: string, hint: string, offset = 0): Problem {
  return problemAt(found.file, found.document.positions.at(path, offset), path, message, hint)
}

function schemaOf(raw: unknown) {
  const kind = typeof raw === 'object' && raw !== null ? (raw as { kind?: unknown }).kind : undefined
  if (kind === 'Policy') return policySchema
  if (kind === 'Runbook') return runbookSchema
  if (kind === 'PolicyTest') return policyTestSchema
  return `kind is ${kind === undefined ? 'missing' : JSON.stringify(kind)}: Policy, Runbook or PolicyTest is expected`
}

function duplicates(found: readonly Found<PolicyKind>[]): Problem[] {
  const first = new Map<string, string>()
  return found.flatMap(one => {
    const { kind, metadata } = one.document.value
    const before = first.get(metadata.name)
    if (before === undefined) first.set(metadata.name, one.file)
    return before === undefined
      ? []
      : [problemIn(one, ['metadata', 'name'], `a second ${kind} named ${metadata.name}, the first is in ${before}`, 'Rename one of the two.')]
  })
}
