// What `homeostat sql` lets through: one reading statement, whole.

import { describe, expect, it } from 'vitest'
import { readingStatement } from '../../../../pipeline/store/read-only.ts'

describe('a statement that people type', () => {
  it.each(["SELECT count() FROM t WHERE status = 'resolved'", 'SELECT 1 AS "a name"', 'SELECT $$a; b$$', "SELECT 'it''s; fine' FROM `odd table`"])(
    'is passed on whole when it ends in a literal: %s',
    sql => {
      expect(readingStatement(sql)).toBe(sql)
      expect(readingStatement(`${sql} ; `)).toBe(`${sql}`)
    }
  )

  it('loses a comment at its end', () => {
    expect(readingStatement('SELECT 1 -- the rest')).toBe('SELECT 1')
  })

  it.each(['SELECT 1; DROP TABLE t', "SELECT 1 INTO OUTFILE 'x'", 'SELECT 1 FORMAT CSV', 'INSERT INTO t VALUES (1)', "SELECT 'open", ''])(
    'is refused: %s',
    sql => {
      expect(() => readingStatement(sql)).toThrow()
    }
  )
})
