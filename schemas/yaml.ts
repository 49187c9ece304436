// YAML that people write → a checked value, or every problem with file, line, column and a hint.
//
// Configuration, policies and runbooks come through here. A problem is found by the `yaml` parser (syntax, duplicate
// keys, dangling aliases) or by the zod schema, whose issue paths are mapped back to the node that caused them.
// Pure: text in, value or problems out; nothing here reads a file.

import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments, type Scalar } from 'yaml'
import type { z } from 'zod'
import { isAboutSecret, wordsOf } from './issue-words.ts'
import { closestName, schemaKeysAt } from './yaml-hints.ts'

export interface Problem {
  file: string
  /** From 1. */
  line: number
  /** From 1, in UTF-16 units. */
  column: number
  /** Dotted path in the document, '' for the document itself. */
  path: string
  message: string
  /** What to do; '' when the message says it all. */
  hint: string
  /** The line is not to be shown: a secret stands in it. */
  isSecret?: true
}

export interface Place {
  line: number
  column: number
}

/** Where the values of one document stand in the text. */
export interface Positions {
  /** Place of the value at `path`, `offset` characters into it when it is a scalar; of its nearest ancestor when it is missing. */
  at(path: readonly PropertyKey[], offset?: number): Place
  /** Whether somebody wrote the value at `path`; else it is a default, or not there. */
  has(path: readonly PropertyKey[]): boolean
  /** Place of the key that holds the value at `path`. */
  keyAt(path: readonly PropertyKey[]): Place
}

export interface ParsedDocument<T> {
  value: T
  positions: Positions
}
export type ParsedYaml<T> = ({ ok: true } & ParsedDocument<T>) | { ok: false; problems: Problem[] }
export type ParsedYamlDocuments<T> = { ok: true; documents: ParsedDocument<T>[] } | { ok: false; problems: Problem[] }

const TEXT_LENGTH_MAX = 4 * 2 ** 20 // People write these files; a larger one is a mistake or an attack on the parser.
const DOCUMENTS_MAX = 1_000 // Of one file; each costs a schema walk.
const PROBLEMS_MAX = 100 // Enough to repair a file by; a wholly wrong one would print thousands.
const ALIASES_MAX = 100 // Expansion bound of the parser ("billion laughs").

/** The one document of `text`, checked. More than one document is a problem. */
export function parseYaml<T>(schema: z.ZodType<T>, text: string, file: string): ParsedYaml<T> {
  const parsed = parseYamlDocuments(() => schema, text, file)
  if (!parsed.ok) return parsed
  const [first, second] = parsed.documents
  if (first === undefined) return { ok: false, problems: [problemAt(file, { line: 1, column: 1 }, [], 'the file has no content', '')] }
  if (second === undefined) return { ok: true, ...first }
  return { ok: false, problems: [problemAt(file, second.positions.at([]), [], 'a second document where one is expected', 'Split the file.')] }
}

/**
 * Every document of `text` (separated by `---`), each checked by the schema that `schemaFor` picks from its raw value.
 * Documents without content (a trailing `---`, comments only) are skipped. All or nothing: one problem refuses the file.
 * @param schemaFor a schema, or a message that says why this document has none
 */
export function parseYamlDocuments<T>(schemaFor: (raw: unknown) => z.ZodType<T> | string, text: string, file: string): ParsedYamlDocuments<T> {
  const start = { line: 1, column: 1 }
  if (text.length > TEXT_LENGTH_MAX) {
    return { ok: false, problems: [problemAt(file, start, [], `the file has ${text.length} characters, at most ${TEXT_LENGTH_MAX} are read`, 'Split it.')] }
  }
  const lines = new LineCounter()
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, stringKeys: true, logLevel: 'silent' })
  const nodes = Array.isArray(parsed) ? parsed : []
  if (nodes.length > DOCUMENTS_MAX) {
    return { ok: false, problems: [problemAt(file, start, [], `the file has ${nodes.length} documents, at most ${DOCUMENTS_MAX} are read`, 'Split it.')] }
  }
  const problems: Problem[] = []
  const documents: ParsedDocument<T>[] = []
  for (const document of nodes) {
    const root = document.contents as Node | null
    const positions = positionsOf(root, text, lines)
    for (const error of document.errors) problems.push(problemAt(file, placeOf(lines, error.pos[0]), [], syntaxMessage(error.message), syntaxHint(error.code)))
    if (document.errors.length > 0) continue
    let raw: unknown
    try {
      raw = document.toJS({ maxAliasCount: ALIASES_MAX })
    } catch (error) {
      problems.push(problemAt(file, positions.at([]), [], error instanceof Error ? error.message : String(error), ''))
      continue
    }
    if (raw === null && (root === null || (isScalar(root) && root.source === ''))) continue
    const schema = schemaFor(raw)
    if (typeof schema === 'string') {
      problems.push(problemAt(file, positions.at([]), [], schema, ''))
      continue
    }
    const checked = schema.safeParse(raw)
    if (checked.success) documents.push({ value: checked.data, positions })
    else for (const issue of checked.error.issues) problems.push(...issueProblems(issue, schema, raw, positions, file))
  }
  return problems.length === 0 ? { ok: true, documents } : { ok: false, problems: inOrder(problems).slice(0, PROBLEMS_MAX) }
}

/** `file:line:column: path: message`, the source line with a caret below it, and the hint. */
export function formatProblem(problem: Problem, text: string): string {
  const head = `${problem.file}:${problem.line}:${problem.column}: ${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`
  const source = text.split('\n', problem.line)[problem.line - 1]?.replace(/\r$/, '')
  const number = String(problem.line)
  const excerpt =
    source === undefined || source === '' || problem.isSecret
      ? []
      : // Tabs are kept below the caret's way, so that the caret stands under its column in any terminal.
        [`  ${number} | ${source}`, `  ${' '.repeat(number.length)} | ${source.slice(0, problem.column - 1).replaceAll(/[^\t]/g, ' ')}^`]
  return [head, ...excerpt, ...(problem.hint === '' ? [] : [`  ${problem.hint}`])].join('\n')
}

/** A problem at a place that the caller found (a reference that leads nowhere, an expression that does not compile). */
export function problemAt(file: string, place: Place, path: readonly PropertyKey[], message: string, hint: string): Problem {
  return { file, line: place.line, column: place.column, path: dotted(path), message, hint }
}

type Issue = z.core.$ZodIssue

function issueProblems(issue: Issue, schema: z.ZodType, raw: unknown, positions: Positions, file: string): Problem[] {
  const path = issue.path
  if (issue.code === 'unrecognized_keys') {
    const known = schemaKeysAt(schema, path, raw)
    return issue.keys.map(key => {
      const near = closestName(key, known)
      const hint = near === undefined ? (known.length === 0 ? '' : `Known keys: ${known.join(', ')}.`) : `Did you mean ${near}?`
      return problemAt(file, positions.keyAt([...path, key]), [...path, key], 'unknown key', hint)
    })
  }
  if (issue.code === 'invalid_key') {
    const reason = issue.issues.map(inner => wordsOf(inner, path.at(-1)).message).join('; ')
    return [problemAt(file, positions.keyAt(path), path, `this key is not allowed: ${reason}`, '')]
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // Of the alternatives, the one that came furthest is the one that was meant.
    const depth = (branch: Issue[]) => Math.max(0, ...branch.map(inner => inner.path.length))
    const branch = issue.errors.toSorted((a, b) => depth(b) - depth(a))[0]!
    return branch.flatMap(inner => issueProblems({ ...inner, path: [...path, ...inner.path] } as Issue, schema, raw, positions, file))
  }
  const { message, hint } = wordsOf(issue, raw)
  return [{ ...problemAt(file, positions.at(path), path, message, hint), ...(isAboutSecret(issue) && { isSecret: true as const }) }]
}

function positionsOf(root: Node | null, text: string, lines: LineCounter): Positions {
  const place = (node: Node | null | undefined) => placeOf(lines, node?.range?.[0] ?? root?.range?.[0] ?? 0)
  return {
    at(path, offset = 0) {
      const { node, complete } = nodeAt(root, path)
      return complete && offset > 0 && isScalar(node) ? placeInScalar(node, offset, text, lines) : place(node)
    },
    has: path => nodeAt(root, path).complete,
    keyAt(path) {
      const pair = pairAt(root, path)
      return place((pair?.key as Node | undefined) ?? nodeAt(root, path).node)
    }
  }
}

function nodeAt(root: Node | null, path: readonly PropertyKey[]): { node: Node | null; complete: boolean } {
  let node = root
  for (const key of path) {
    const next: unknown = isMap(node) || isSeq(node) ? node.get(key, true) : undefined
    if (next === undefined || next === null) return { node, complete: false }
    node = next as Node
  }
  return { node, complete: true }
}

function pairAt(root: Node | null, path: readonly PropertyKey[]): Pair | undefined {
  const parent = nodeAt(root, path.slice(0, -1))
  if (!parent.complete || !isMap(parent.node)) return undefined
  return parent.node.items.find(pair => isScalar(pair.key) && pair.key.value === path.at(-1))
}

/** Exact for plain, quoted and literal block scalars without escapes; otherwise where the scalar starts. */
function placeInScalar(node: Scalar, offset: number, text: string, lines: LineCounter): Place {
  const from = node.range?.[0] ?? 0
  const value = String(node.value)
  const before = value.slice(0, offset)
  for (const start of [from, from + 1]) {
    if (text.startsWith(before, start) && !before.includes('\n')) return placeOf(lines, start + offset)
  }
  if (node.type !== 'BLOCK_LITERAL') return placeOf(lines, from)
  const header = placeOf(lines, from)
  const row = before.split('\n').length // The text starts on the line below the header.
  const firstLine = text.split('\n', header.line + 1)[header.line] ?? ''
  const indent = firstLine.length - firstLine.trimStart().length
  return { line: header.line + row, column: indent + before.length - before.lastIndexOf('\n') }
}

function placeOf(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

function syntaxMessage(message: string): string {
  return message.split('\n')[0]!
}

function syntaxHint(code: string): string {
  if (code === 'DUPLICATE_KEY') return 'Remove one of the two.'
  if (code === 'TAB_AS_INDENT') return 'Indent with spaces.'
  return ''
}

function dotted(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`), '')
}

function inOrder(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column)
}
