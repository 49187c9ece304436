// The embedded log's database: tables, pragmas, and how a connection to it is opened.
//
//   <dir>/log.db            index, small values, consumer groups, leases (SQLite, WAL)
//   <dir>/segments/<id>.seg large values, one after another, nothing else; what a row points at is durable before the row is
//
// A record's id is `partition.id * 2^40 + offset`: one B-tree, in order within a partition. Every thread and process opens its
// own connections; SQLite's locks keep them apart. Bytes of a segment behind `end_bytes` belong to nobody (a torn append).

import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { AppError } from '../../schemas/errors.ts'
import { logError } from './log-error.ts'

/** Offsets of one partition; 10^12 records at 10,000 a second last three years, and 2^13 partitions fit beside it in a safe integer. */
export const OFFSETS_PER_PARTITION = 2 ** 40

const FORMAT_VERSION = '1'
const BUSY_TIMEOUT_MS = 10_000 // A commit takes milliseconds; ten seconds mean a disk that does not answer.
const OPEN_ATTEMPTS_MAX = 50 // Switching a new file to WAL needs it alone and ignores the busy timeout; openers take turns.
const OPEN_WAIT_MS = 20
const WAL_BYTES_MAX = 4 * 2 ** 20 // The WAL is cut back to this after a checkpoint, so that a burst does not keep the disk.
const CHECKPOINT_PAGES = 500 // 2 MB: small enough that a checkpoint is not felt by the appends that wait for it.

const DDL = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS partition (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL,
    next_offset INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, number)
  );
  CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY, key TEXT, headers TEXT, appended_at_ms INTEGER NOT NULL, size INTEGER NOT NULL,
    value_size INTEGER NOT NULL, value BLOB, segment INTEGER, position INTEGER, crc INTEGER
  );
  CREATE INDEX IF NOT EXISTS record_segment ON record (segment) WHERE segment IS NOT NULL;
  CREATE TABLE IF NOT EXISTS latest (partition_id INTEGER, key TEXT, id INTEGER NOT NULL, tombstone INTEGER NOT NULL, PRIMARY KEY (partition_id, key)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS latest_tombstone ON latest (id) WHERE tombstone = 1;
  CREATE TABLE IF NOT EXISTS superseded (id INTEGER PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS segment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, owner TEXT NOT NULL, sealed INTEGER NOT NULL DEFAULT 0,
    end_bytes INTEGER NOT NULL DEFAULT 0, live_count INTEGER NOT NULL DEFAULT 0, live_bytes INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE IF NOT EXISTS consumer_group (name TEXT PRIMARY KEY, active_at_ms INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS member (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, group_name TEXT NOT NULL, owner TEXT NOT NULL, topics TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL, UNIQUE (group_name, owner)
  );
  CREATE TABLE IF NOT EXISTS lease (
    group_name TEXT, partition_id INTEGER, owner TEXT, generation INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL,
    committed INTEGER NOT NULL, PRIMARY KEY (group_name, partition_id)
  ) WITHOUT ROWID;
`

/** Folder of the segment files below the log's folder. */
export const segmentsDir = (dir: string): string => join(dir, 'segments')
export const segmentFile = (dir: string, id: number): string => join(segmentsDir(dir), `${id}.seg`)

/**
 * Opens a connection, creating folder, file and tables on first use. Safe against other openers of the same folder.
 * @param mode `write` commits durably (synchronous=FULL); `read` refuses statements that change anything
 * @throws AppError `log_unavailable` when the file cannot be opened or has another format
 */
export function openDatabase(dir: string, mode: 'read' | 'write'): DatabaseSync {
  for (let attempt = 1; ; attempt++) {
    let db: DatabaseSync | undefined
    try {
      mkdirSync(segmentsDir(dir), { recursive: true })
      db = new DatabaseSync(join(dir, 'log.db'), { timeout: BUSY_TIMEOUT_MS })
      prepare(db, dir)
      db.exec(mode === 'read' ? 'PRAGMA query_only = 1' : `PRAGMA journal_size_limit = ${WAL_BYTES_MAX}; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
      return db
    } catch (cause) {
      db?.close()
      if (cause instanceof AppError) throw cause
      const busy = (cause as { errcode?: number }).errcode === 5
      if (!busy || attempt === OPEN_ATTEMPTS_MAX) throw logError(cause, `cannot open the log in ${dir}`)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, OPEN_WAIT_MS)
    }
  }
}

/** Runs `work` as one transaction, begun with the write lock so that it cannot fail halfway for another writer. */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (cause) {
    // A full disk makes SQLite roll back by itself.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw cause
  }
}

/** Makes the names in a folder durable. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function prepare(db: DatabaseSync, dir: string): void {
  db.exec('PRAGMA auto_vacuum = INCREMENTAL') // Takes effect on a new file only; given back space needs it.
  db.exec('PRAGMA journal_mode = WAL')
  db.exec('PRAGMA synchronous = FULL')
  const version = formatVersion(db)
  if (version === undefined) {
    transaction(db, () => {
      db.exec(DDL)
      db.prepare("INSERT OR IGNORE INTO meta VALUES ('format', ?), ('maintained_at_ms', '0')").run(FORMAT_VERSION)
    })
    // The files' names must be as durable as what will be acknowledged in them.
    for (const folder of [segmentsDir(dir), dir, dirname(dir)]) syncFolder(folder)
  } else if (version !== FORMAT_VERSION) {
    throw new AppError('log_unavailable', `the log in ${dir} has format ${version}, this program reads format ${FORMAT_VERSION}: use the program that wrote it`)
  }
}

function formatVersion(db: DatabaseSync): string | undefined {
  if (db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get() === undefined) return undefined
  return (db.prepare("SELECT value FROM meta WHERE key = 'format'").get() as { value: string } | undefined)?.value
}
