// The durable table behind the command protocol: what the actuator is about to do, did, and must not do again.
//
// One SQLite file, synchronous=FULL: a transaction that returned survives kill -9 and power loss, one that did not left nothing.
// Rows are JSON by (kind, key). Synchronous, on the actuator's thread: a few commits per command. Terminal rows are pruned:
// steps and commands long after no redelivery can name them, nonces a day after their expiry, fences never (one a target).
// One process at a time: the file is locked until its process is gone, stopped ones included, for two would act on one row.

import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { assert } from '../schemas/errors.ts'
import type { Clock, LedgerKind, LedgerRows, LedgerStore } from '../schemas/ports.ts'
import { logError } from './log/log-error.ts'
import { systemClock } from './system.ts'

const DAY_MS = 86_400_000
const TERMINAL_KEEP_MS = 30 * DAY_MS // As long as the commands topic keeps its records: no redelivery can be older.
const NONCE_KEEP_MS = DAY_MS // Past its expiry; a clock that is set back by less than a day cannot make a used nonce new.
const PRUNE_EVERY_MS = 3_600_000
const PRUNE_ROWS_MAX = 1_000 // A few milliseconds within the transaction that happens to be due.
const BUSY_TIMEOUT_MS = 5_000 // A process that is ending lets go of the file within that.

type Row = Readonly<Record<string, unknown>>

export class SqliteLedger implements LedgerStore {
  #db: DatabaseSync
  #clock: Clock
  #statements: ReturnType<typeof prepareLedger>
  #prunedAtMs = Number.NEGATIVE_INFINITY
  #isOpen = true

  /**
   * Opens the file, creating it and its folder when missing.
   * @param options.clock default: the system's; decides what is old enough to prune
   * @param options.busyTimeoutMs how long another process may take to let go of it
   * @throws AppError `log_unavailable` when the file cannot be opened, or another process has it open
   */
  static open(options: { file: string; clock?: Clock; busyTimeoutMs?: number }): SqliteLedger {
    return new SqliteLedger(options.file, options.clock ?? systemClock, options.busyTimeoutMs ?? BUSY_TIMEOUT_MS)
  }

  private constructor(file: string, clock: Clock, timeout: number) {
    this.#clock = clock
    try {
      mkdirSync(dirname(file), { recursive: true })
      this.#db = new DatabaseSync(file, { timeout })
      this.#db.exec(`
        PRAGMA auto_vacuum = INCREMENTAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        CREATE TABLE IF NOT EXISTS row (
          kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, open INTEGER NOT NULL,
          keep_until_ms INTEGER, PRIMARY KEY (kind, key)
        );
        CREATE INDEX IF NOT EXISTS row_open ON row (kind) WHERE open = 1;
        CREATE INDEX IF NOT EXISTS row_keep ON row (keep_until_ms) WHERE keep_until_ms IS NOT NULL`)
      this.#statements = prepareLedger(this.#db)
    } catch (cause) {
      throw logError(cause, `cannot open the ledger ${file}, which one process at a time may use`)
    }
  }

  /** @throws AppError `log_full` | `log_unavailable` when it could not be made durable; whatever `work` throws, with nothing kept */
  transaction<T>(work: (rows: LedgerRows) => T): T {
    assert(!this.#db.isTransaction, 'a ledger transaction was begun inside another')
    this.#try(() => this.#statements.begin.run())
    try {
      const result = work(this.#rows())
      assert(!isThenable(result), 'a ledger transaction must not wait: it holds the lock of the file')
      this.#prune()
      this.#try(() => this.#statements.commit.run())
      return result
    } catch (cause) {
      // A full disk makes SQLite roll back by itself.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw cause
    }
  }

  /** Safe to call twice. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#db.close()
  }

  #rows(): LedgerRows {
    const { get, put, open, openCount } = this.#statements
    const parse = (row: unknown): Row => JSON.parse((row as { json: string }).json) as Row
    return {
      get: (kind, key) => {
        const row = this.#try(() => get.get(kind, key))
        return row === undefined ? undefined : parse(row)
      },
      put: (kind, key, row) => {
        const isOpen = row.open === true
        this.#try(() => put.run(kind, key, JSON.stringify(row), isOpen ? 1 : 0, isOpen ? null : this.#keepUntilMs(kind, row)))
      },
      open: (kind, rowsMax) => this.#try(() => open.all(kind, rowsMax)).map(parse),
      openCount: kind => (this.#try(() => openCount.get(kind)) as { count: number }).count
    }
  }

  #keepUntilMs(kind: LedgerKind, row: Row): number | null {
    if (kind === 'fence') return null
    if (kind === 'nonce' && typeof row.expiresAtMs === 'number') return Math.ceil(row.expiresAtMs) + NONCE_KEEP_MS
    return this.#nowMs() + TERMINAL_KEEP_MS
  }

  #prune(): void {
    const nowMs = this.#nowMs()
    if (Math.abs(nowMs - this.#prunedAtMs) < PRUNE_EVERY_MS) return
    const { changes } = this.#try(() => this.#statements.prune.run(nowMs, PRUNE_ROWS_MAX))
    // More may be due: the next transaction goes on.
    if (Number(changes) < PRUNE_ROWS_MAX) this.#prunedAtMs = nowMs
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowMs())
  }

  #try<T>(work: () => T): T {
    try {
      return work()
    } catch (cause) {
      throw logError(cause, 'the ledger cannot be read or written')
    }
  }
}

function prepareLedger(db: DatabaseSync) {
  return {
    begin: db.prepare('BEGIN IMMEDIATE'),
    commit: db.prepare('COMMIT'),
    get: db.prepare('SELECT json FROM row WHERE kind = ? AND key = ?'),
    put: db.prepare(`INSERT INTO row (kind, key, json, open, keep_until_ms) VALUES (?, ?, ?, ?, ?)
                     ON CONFLICT (kind, key) DO UPDATE SET json = excluded.json, open = excluded.open, keep_until_ms = excluded.keep_until_ms`),
    // An update keeps the rowid, so open rows are resumed in the order in which they began. `+?`: a plain parameter as the limit makes
    // SQLite (3.47 on) plan the statement anew each time it is bound, which was nine tenths of the call (4 against 0.4 µs).
    open: db.prepare('SELECT json FROM row WHERE kind = ? AND open = 1 ORDER BY rowid LIMIT +?'),
    openCount: db.prepare('SELECT count(*) AS count FROM row WHERE kind = ? AND open = 1'),
    prune: db.prepare('DELETE FROM row WHERE rowid IN (SELECT rowid FROM row WHERE keep_until_ms < ? LIMIT +?)')
  }
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value
}
