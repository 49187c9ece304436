// A LedgerStore in memory for tests: transactions that roll back, rows that are copies, and a crash at will.
//
// `crashAt(n)`: the n-th transaction from now throws (before it, or after its commit) and everything that holds this
// handle is dead from then on, as a process is after kill -9. `reopen()` is the next process with the same rows.

import type { LedgerKind, LedgerRows, LedgerStore } from '../../schemas/ports.ts'

type Row = Readonly<Record<string, unknown>>

export interface MemoryLedger extends LedgerStore {
  /** Transactions so far. */
  readonly transactions: number
  /** Called with each transaction's number; throwing here is a crash before it, or after its commit. */
  onTransaction: (number: number, when: 'before' | 'after') => void
  rows(kind: LedgerKind): Row[]
  /** The same rows for another process. */
  reopen(): MemoryLedger
}

export function memoryLedger(kinds: Map<string, Row> = new Map()): MemoryLedger {
  let transactions = 0
  const ledger: MemoryLedger = {
    get transactions() {
      return transactions
    },
    onTransaction: () => {},
    transaction(work) {
      const number = ++transactions
      ledger.onTransaction(number, 'before')
      const changed = new Map<string, Row>()
      const read = (kind: LedgerKind, key: string): Row | undefined => changed.get(`${kind}/${key}`) ?? kinds.get(`${kind}/${key}`)
      const openRows = (kind: LedgerKind): Row[] =>
        [...new Map([...kinds, ...changed])].flatMap(([key, row]) => (key.startsWith(`${kind}/`) && row.open === true ? [row] : []))
      const rows: LedgerRows = {
        get: (kind, key) => copy(read(kind, key)),
        put: (kind, key, row) => void changed.set(`${kind}/${key}`, copy(row)!),
        open: (kind, rowsMax) =>
          openRows(kind)
            .slice(0, rowsMax)
            .map(row => copy(row)!),
        openCount: kind => openRows(kind).length
      }
      const result = work(rows)
      for (const [key, row] of changed) kinds.set(key, row)
      ledger.onTransaction(number, 'after')
      return result
    },
    rows: kind => [...kinds].filter(([key]) => key.startsWith(`${kind}/`)).map(([, row]) => copy(row)!),
    reopen: () => memoryLedger(kinds),
    close: () => {}
  }
  return ledger
}

// Through JSON, as the real one: what does not survive it must not be relied upon.
const copy = (row: Row | undefined): Row | undefined => (row === undefined ? undefined : (JSON.parse(JSON.stringify(row)) as Row))
