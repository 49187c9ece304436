// SQL that people type: one reading statement, on the connection that cannot write.
//
// Two walls. The connection has readonly = 1, which refuses writes, settings and table functions that reach files or networks. What it
// lets through all the same (KILL, INTO OUTFILE, several statements in one text) is refused here, by reading the text.

import { AppError } from '../../schemas/errors.ts'
import { READ_ONLY_ROWS_MAX } from './clickhouse-clients.ts'
import type { ClickHouseStore } from './clickhouse-store.ts'

const READING = new Set(['SELECT', 'WITH', 'SHOW', 'DESCRIBE', 'DESC', 'EXPLAIN', 'EXISTS'])
const CHARS_MAX = 100_000 // A statement that a person writes; ClickHouse itself stops at 262 144.

/**
 * Runs one SELECT, WITH, SHOW, DESCRIBE, EXISTS or EXPLAIN and returns at most `rowsMax` rows.
 * @throws AppError `usage` when it is another statement or more than one, `store_refused`, `store_unavailable`
 */
export async function readOnlyQuery(
  store: Pick<ClickHouseStore, 'queryReadOnly'>,
  sql: string,
  { rowsMax }: { rowsMax: number }
): Promise<Record<string, unknown>[]> {
  const statement = readingStatement(sql)
  const { rows } = await store.queryReadOnly(statement)
  return rows.slice(0, Math.min(rowsMax, READ_ONLY_ROWS_MAX))
}

/** The statement without a closing semicolon. @throws AppError `usage` */
export function readingStatement(sql: string): string {
  if (sql.length > CHARS_MAX) throw new AppError('usage', `the statement has ${sql.length} characters; at most ${CHARS_MAX} are read`)
  const bare = withoutLiterals(sql)
  const end = bare.trimEnd().replace(/(\s*;)+$/, '').length
  const code = bare.slice(0, end)
  const first = /^[\s(]*([A-Za-z]+)/.exec(code)?.[1]?.toUpperCase() ?? ''
  if (!READING.has(first)) {
    throw new AppError('usage', `${first || 'an empty text'} is not allowed here: only SELECT, WITH, SHOW, DESCRIBE, EXISTS and EXPLAIN are`)
  }
  if (code.includes(';')) throw new AppError('usage', 'one statement at a time: there is a semicolon inside')
  const words = code.toUpperCase()
  if (/\bINTO\s+OUTFILE\b/.test(words)) throw new AppError('usage', 'INTO OUTFILE writes a file: leave it out and redirect the output')
  if (/\bFORMAT\s+[A-Z]\w*\s*(SETTINGS\b.*)?$/s.test(words)) throw new AppError('usage', 'leave FORMAT out: the output format is chosen with --json')
  return sql.slice(0, end)
}

/**
 * The text with comments as spaces, strings and quoted names as underscores, of the same length: a comment at the end may be cut
 * off, a string may not. @throws AppError `usage` when one has no end
 */
function withoutLiterals(sql: string): string {
  let bare = ''
  for (let at = 0; at < sql.length; ) {
    const end = literalEnd(sql, at)
    bare += end === at ? sql[at] : (/^(--|#|\/\*)/.test(sql.slice(at, at + 2)) ? ' ' : '_').repeat(end - at)
    at = end === at ? at + 1 : end
  }
  return bare
}

/** Where the comment or literal that begins at `at` ends; `at` itself when none begins there. */
function literalEnd(sql: string, at: number): number {
  const char = sql[at]!
  const pair = sql.slice(at, at + 2)
  if (pair === '--' || char === '#') return lineEnd(sql, at)
  if (pair === '/*') return closing(sql.indexOf('*/', at + 2), 2, 'a comment')
  if (char === '$') {
    const tag = /^\$\w*\$/.exec(sql.slice(at, at + 64))?.[0]
    return tag ? closing(sql.indexOf(tag, at + tag.length), tag.length, 'a heredoc') : at
  }
  if (char !== "'" && char !== '"' && char !== '`') return at
  for (let end = at + 1; end < sql.length; end++) {
    if (sql[end] === '\\') end++
    else if (sql[end] === char) return end + 1 // A doubled quote begins another literal right away, which comes to the same.
  }
  return closing(-1, 1, 'a quoted text')
}

function lineEnd(sql: string, at: number): number {
  const end = sql.indexOf('\n', at)
  return end < 0 ? sql.length : end
}

function closing(at: number, length: number, what: string): number {
  if (at < 0) throw new AppError('usage', `${what} in the statement has no end`)
  return at + length
}
