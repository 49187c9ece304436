// The ledgers of a world's machines: the real one (pipeline/ledger.ts) on SQLite in memory, which outlives its processes.
//
// A transaction is refused, fails within, or is the last thing that a process does: before it, within it (SQLite rolls
// back), or after its commit. Each committed put is shown to the checker.

import { AppError } from '../../schemas/errors.ts'
import type { LedgerRows, LedgerStore } from '../../schemas/ports.ts'
import { SqliteLedger } from '../../pipeline/ledger.ts'
import type { Put } from './checker.ts'
import type { Marks } from './marks.ts'
import type { SimProcess } from './process.ts'
import type { Stream } from './streams.ts'
import type { Target, Targets } from './targets.ts'

export interface DiskFaults {
  disk: number
  disturb: Stream
}

type Row = Readonly<Record<string, unknown>>

export class Ledgers {
  readonly #stores = new Map<string, SqliteLedger>()
  readonly #targets: Targets
  readonly #marks: Marks
  readonly #machines = new WeakMap<SimProcess, string>()
  readonly #held = new Map<string, Set<string>>()
  readonly #frozen = new Set<string>()
  readonly #open = new Set<string>()
  readonly #accepted = new Set<string>()
  /** Machine, kind and key → the row that was committed last, of steps and commands. */
  readonly #committed = new Map<string, Row>()
  /** Ledger id → machine. */
  readonly #identities = new Map<string, string>()

  constructor(targets: Targets, marks: Marks) {
    this.#targets = targets
    this.#marks = marks
  }

  /** The ledger of a machine, for a process of it. */
  of(machine: string, process: SimProcess, faults: DiskFaults, onCommit: (puts: readonly Put[]) => void): LedgerStore {
    const store = this.#stores.get(machine) ?? SqliteLedger.open({ file: ':memory:', clock: process.clock })
    this.#stores.set(machine, store)
    this.#machines.set(process, machine)
    return {
      transaction: work => {
        process.mustLive('before transaction')
        const { disturb } = faults
        const fails = disturb.chance(faults.disk)
        if (fails) this.#marks.reach('ledger refused a transaction')
        if (fails && disturb.chance(0.5)) throw new AppError('log_full', 'the disk is full')
        const puts: Put[] = []
        const result = store.transaction(rows => work(this.#watched(machine, rows, puts, process, fails)))
        for (const put of puts) this.#note(machine, put)
        if (puts.length > 0) onCommit(puts)
        process.mustLive('after transaction')
        return result
      },
      close: () => {}
    }
  }

  #watched(machine: string, rows: LedgerRows, puts: Put[], process: SimProcess, fails: boolean): LedgerRows {
    return {
      ...rows,
      put: (kind, key, row) => {
        const earlier = puts.findLast(put => put.kind === kind && put.key === key)?.row
        const old = earlier ?? this.#committed.get(`${machine} ${kind} ${key}`)
        rows.put(kind, key, row)
        if (!process.boundary('within transaction')) {
          this.#marks.reach('process died within a transaction')
          process.mustLive('within transaction')
        }
        if (fails) throw new AppError('log_full', 'the disk is full')
        puts.push({ kind, key, old, row: row as Row })
      }
    }
  }

  #note(machine: string, { kind, key, row }: Put): void {
    if (kind === 'command' || kind === 'step') this.#committed.set(`${machine} ${kind} ${key}`, row)
    if (kind === 'command' && row.state === 'accepted') {
      const holders = this.#held.get(key) ?? new Set()
      this.#held.set(key, holders.add(machine))
      this.#accepted.add(key)
    } else if (kind === 'command') this.#held.set(key, this.#held.get(key) ?? new Set([machine]))
    if (kind === 'ledger') this.#identities.set(row.id as string, machine)
    if (kind === 'fence') this.#frozen[row.frozen === null ? 'delete' : 'add'](`${machine} ${key}`)
    if (kind !== 'ledger' && kind !== 'nonce') this.#open[row.open === true ? 'add' : 'delete'](`${machine} ${kind} ${key}`)
  }

  /** Machines whose ledger has the command. */
  holders(commandId: string): string[] {
    return [...(this.#held.get(commandId) ?? [])]
  }

  hasAccepted(commandId: string): boolean {
    return this.#accepted.has(commandId)
  }

  /** Whether that ledger is the one of the process's machine. */
  isOwn(process: SimProcess, ledgerId: string): boolean {
    return this.#identities.get(ledgerId) === this.#machines.get(process)
  }

  isFrozen(process: SimProcess, target: string): boolean {
    return this.#frozen.has(`${this.#machines.get(process)} ${target}`)
  }

  targetOf(entity: string): Target | undefined {
    return this.#targets.of(entity)
  }

  openRows(): number {
    return this.#open.size
  }

  openRowsText(): string {
    return [...this.#open].slice(0, 5).join(', ')
  }

  close(): void {
    for (const store of this.#stores.values()) store.close()
  }
}
