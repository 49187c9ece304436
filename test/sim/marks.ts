// Situations that must have occurred: a run over many seeds that never reached one of them has proved less than it says.

/** What 1,000 seeds must reach. */
export const MARKS = [
  'crash between begun and its result',
  'effect of a process that died meanwhile',
  'begun again',
  'zombie apply refused by its fence',
  'command of another ledger left alone',
  'command published again',
  'outcome published again',
  'blocked, then acted',
  'undo',
  'unknown: target frozen',
  'target released',
  'healed',
  'blocked by storm',
  'blocked by cooldown',
  'blocked by attempt_budget',
  'blocked by flapping',
  'blocked by blast_radius',
  'blocked by maintenance_window',
  'blocked by deploy_window',
  'blocked by ownership',
  'blocked by kill_switch',
  'blocked by target_frozen',
  'blocked by evidence',
  'quarantine',
  'approved',
  'approval expired',
  'approval denied',
  'refused by kill_switch',
  'refused by maintenance_window',
  'refused by deploy_window',
  'refused by ownership',
  'refused by cleared',
  'refused by evidence',
  'refused by signature',
  'refused by key_id',
  'refused by environment',
  'refused by expiry',
  'refused by nonce',
  'refused by fence',
  'dead letter',
  'verdict partial',
  'verdict ineffective',
  'verdict harmful',
  'verdict inconclusive',
  'verdict unknown',
  'verdict refused',
  'verdict undone',
  'second stage',
  'decision escalate',
  'called for what stays blocked',
  'orphan',
  'state worker fenced',
  'session lost and regained',
  'ledger refused a transaction',
  'process died within a transaction',
  'policy changed'
] as const

export class Marks {
  readonly counts = new Map<string, number>()

  reach(mark: string): void {
    this.counts.set(mark, (this.counts.get(mark) ?? 0) + 1)
  }

  add(other: Marks): void {
    for (const [mark, count] of other.counts) this.counts.set(mark, (this.counts.get(mark) ?? 0) + count)
  }

  missing(): string[] {
    return MARKS.filter(mark => !this.counts.has(mark))
  }
}
