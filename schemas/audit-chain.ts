// One audit chain under verification: its rows by growing seq in, findings out, a summary at the end. See audit-verify.ts.
//
// What a finding rests upon, in this order: the row's own hash (its contents or its link were changed), the neighbours' links (the row
// was written anew together with its hash), a signed anchor (the end of the chain was cut off or written anew).

import type { Anchor } from './anchor.ts'
import { AUDIT_GENESIS, type AuditHead, type AuditRow, auditHash } from './audit.ts'

export type AuditFault =
  /** The record's contents or its link are not what was sealed. */
  | 'changed'
  /** Records of the chain are missing before this one. `seq` is the first of them. */
  | 'removed'
  /** The chain does not know this record. */
  | 'inserted'
  /** The record stands in another's place. */
  | 'reordered'
  /** Two records claim one place, and nothing tells which is the right one. */
  | 'forked'
  /** Records at the end that a signed anchor vouches for are missing. `seq` is the first of them. */
  | 'cut_off'
  /** Records at the end that no anchor vouches for although one is long overdue. `seq` is the first of them. */
  | 'unvouched'

export interface AuditFinding {
  chain: string
  seq: number
  /** Of the record; '' where there is none. */
  id: string
  type: string
  /** When the record says that it was made, epoch ms; null where there is none. */
  atMs: number | null
  fault: AuditFault
  /** One sentence. */
  detail: string
}

export interface AuditChainReport {
  chain: string
  /** Records, each once. */
  rows: number
  firstSeq: number
  firstAtMs: number
  lastAtMs: number
  head: AuditHead
  /** The last anchor that fits the chain; null: nobody vouches for it. */
  anchor: { seq: number; atMs: number; keyId: string } | null
}

export interface AuditVerifyOptions {
  /** Whose signatures were checked. */
  anchors: readonly Anchor[]
  /** Whether every chain must begin at 1: false when only a part of it is looked at. */
  fromBeginning: boolean
  /** Records older than this must have an anchor, epoch ms. Absent: not asked for. */
  vouchedBeforeMs?: number
}

/** Listed in a report; a table that was rewritten has as many as rows. */
export const FINDINGS_MAX = 1_000
/** Rows with a false hash that are held against each other, to tell moved from changed. */
const SWAP_CANDIDATES_MAX = 100
const FALSE_HASH = 'its hash does not fit what it says'

export interface ChainVerifier {
  name: string
  take(row: AuditRow): void
  /** The places after the one taken last and before `next` hold and are linked, `next` to the last of them: somebody else looked at each. */
  pass(next: AuditRow): void
  /** @returns undefined when there was no row */
  end(): AuditChainReport | undefined
}

/** A row with whether its own hash fits it. */
interface Judged extends AuditRow {
  fits: boolean
}

/** @param anchors of this chain, by growing seq; their signatures were checked */
export function chainVerifier(name: string, anchors: readonly Anchor[], options: AuditVerifyOptions, report: (finding: AuditFinding) => void): ChainVerifier {
  /** Rows of the place that is read now, each once. */
  let group: Judged[] = []
  /** Those of the place before; more than one: a fork that its successor decides. */
  let before: readonly Judged[] = []
  /** Two neighbours that do not fit, each by itself sound: which of them is wrong, the next one tells. */
  let doubt: { earlier: Judged; later: Judged } | undefined
  let broken: Judged[] = []
  /** Places that a finding names already: one fault shows in several ways. */
  const told = new Set<string>()
  let rows = 0
  let first: AuditRow | undefined
  let head: AuditHead = { chain: name, seq: 0, hash: AUDIT_GENESIS }
  let lastAtMs = 0
  let nextAnchor = 0
  let vouched: Anchor | undefined
  /** The end disagrees with an anchor: said once, until one agrees again. */
  let isDenied = false
  let unvouched: AuditRow | undefined

  const isTold = (row: AuditRow): boolean => told.has(`${row.seq} ${row.digest} ${row.hash}`)
  const find = (fault: AuditFault, row: AuditRow, detail: string): void => {
    if (isTold(row)) return
    if (told.size < FINDINGS_MAX) told.add(`${row.seq} ${row.digest} ${row.hash}`)
    report({ chain: name, seq: row.seq, id: row.id, type: row.type, atMs: row.atMs, fault, detail })
  }
  const miss = (fault: AuditFault, seq: number, detail: string): void => report({ chain: name, seq, id: '', type: '', atMs: null, fault, detail })

  function take(row: AuditRow): void {
    if (group.length > 0 && group[0]!.seq !== row.seq) closeGroup()
    if (group.some(known => isSame(known, row))) return // Delivered or stored twice.
    group.push({ ...row, fits: auditHash(row) === row.hash })
  }

  function pass(next: AuditRow): void {
    closeGroup()
    settleDoubt('later')
    rows += next.seq - 1 - head.seq
    head = { chain: name, seq: next.seq - 1, hash: next.prev }
    before = [{ ...next, ...head, fits: true }] // Of the record before, its hash is all that is asked.
  }

  function closeGroup(): void {
    const seq = group[0]!.seq
    rows += group.length
    first ??= group[0]!
    if (group.some(row => row.fits)) {
      for (const row of group) if (!row.fits) find('inserted', row, 'its hash does not fit what it says, and another record has this place')
      group = group.filter(row => row.fits)
    }
    if (seq > head.seq + 1) gap(seq)
    else if (seq === 1) fitBeginning()
    else fitNeighbours()
    const sound = group.filter(row => row.fits)
    if (sound.length === 0) breakAt(group)
    const anchored = takeAnchors(sound, seq)
    const last = anchored ?? group[0]!
    if (anchored !== undefined)
      for (const row of sound) if (row !== anchored) find('inserted', row, `a signed anchor vouches for record ${anchored.id} in this place`)
    before = anchored === undefined ? group : [anchored]
    head = { chain: name, seq, hash: last.hash }
    lastAtMs = last.atMs
    if (vouched?.seq === seq) unvouched = undefined
    else unvouched ??= last
    group = []
  }

  function gap(seq: number): void {
    settleDoubt()
    settleFork()
    const from = head.seq + 1
    const isBeginning = head.seq === 0
    const vouching = anchors.find(anchor => anchor.seq === seq - 1)
    if (isBeginning && !options.fromBeginning) {
      const denied = vouching !== undefined && group.every(row => row.fits && row.prev !== vouching.hash)
      if (denied) find('changed', group[0]!, 'a signed anchor vouches for another record before it')
    } else miss('removed', from, seq - from === 1 ? 'the record is missing' : `the records up to ${seq - 1} are missing`)
  }

  function fitBeginning(): void {
    for (const row of group) if (row.fits && row.prev !== AUDIT_GENESIS) find('changed', row, 'the first record names one before it')
  }

  /** Holds the rows of this place against those of the place before. */
  function fitNeighbours(): void {
    const followed = before.filter(row => group.some(next => next.prev === row.hash))
    if (followed.length > 0) {
      settleDoubt('later')
      for (const row of before) if (row.fits && !followed.includes(row)) find('inserted', row, 'its successor follows another record in this place')
      settleFork(followed.filter(row => row.fits))
      const isFollower = (row: Judged): boolean => followed.some(known => known.hash === row.prev)
      for (const row of group) if (row.fits && !isFollower(row)) find('inserted', row, 'it follows no record of the chain')
      group = group.filter(row => !row.fits || isFollower(row))
      return
    }
    const later = group.find(row => row.fits)
    const earlier = before.find(row => row.fits)
    // Nobody follows the later one of a doubt either: it is the one that was written anew, and fits neither neighbour.
    const wasDoubted = doubt !== undefined && later !== undefined
    settleDoubt(wasDoubted ? 'earlier' : undefined)
    settleFork()
    if (later !== undefined && earlier !== undefined && !wasDoubted) doubt = { earlier, later }
  }

  /** @param right which of the two is as it was; absent: what anchors say, else the later one, for one row is easier to write anew than two */
  function settleDoubt(right?: 'earlier' | 'later'): void {
    if (doubt === undefined) return
    const { earlier, later } = doubt
    doubt = undefined
    if (isTold(earlier) || isTold(later)) return
    const isEarlierRight = right === 'earlier' || vouched?.hash === earlier.hash
    if (isEarlierRight) find('changed', later, 'it does not follow the record before it: it was written anew together with its hash')
    else find('changed', earlier, 'its successor follows another record: it was written anew together with its hash')
  }

  /** Several sound rows in one place, and no successor that follows one of them. */
  function settleFork(rivals: readonly Judged[] = before.filter(row => row.fits)): void {
    if (rivals.length < 2) return
    for (const row of rivals.slice(1)) find('forked', row, `record ${rivals[0]!.id} claims the same place`)
  }

  /** @returns the row of this place that an anchor vouches for */
  function takeAnchors(sound: readonly Judged[], seq: number): Judged | undefined {
    let anchored: Judged | undefined
    for (; nextAnchor < anchors.length && anchors[nextAnchor]!.seq <= seq; nextAnchor++) {
      const anchor = anchors[nextAnchor]!
      if (anchor.seq < seq) continue // Of a place that is missing, or before what is looked at.
      const fitting = sound.find(row => row.hash === anchor.hash)
      if (fitting !== undefined) {
        anchored ??= fitting
        vouched = anchor
        isDenied = false
      } else if (sound.length > 0 && !isDenied) {
        isDenied = true
        const since = vouched === undefined ? 'it, or records before it, were' : `it, or records after ${vouched.seq}, were`
        find('changed', sound[0]!, `the anchor of ${new Date(anchor.atMs).toISOString()} vouches for another record here: ${since} written anew`)
      }
    }
    return anchored
  }

  /** Rows whose hash is false; they wait until all are known, for one may belong in the place of another. */
  function breakAt(rowsOfPlace: readonly Judged[]): void {
    if (broken.length < SWAP_CANDIDATES_MAX) broken.push(...rowsOfPlace)
    else for (const row of rowsOfPlace) find('changed', row, FALSE_HASH)
  }

  function tellBroken(): void {
    for (const row of broken) {
      const home = broken.find(other => other !== row && (fitsPlace(row, other) || fitsContents(row, other)))
      if (home === undefined) find('changed', row, FALSE_HASH)
      else find('reordered', row, `it, or what it says, belongs in place ${home.seq}`)
    }
    broken = []
  }

  function end(): AuditChainReport | undefined {
    if (group.length > 0) closeGroup()
    settleDoubt()
    settleFork()
    tellBroken()
    const last = anchors.at(-1)
    const { vouchedBeforeMs } = options
    if (last !== undefined && last.seq > head.seq) {
      const at = new Date(last.atMs).toISOString()
      miss('cut_off', head.seq + 1, `the anchor of ${at} vouches for records up to ${last.seq}: they are missing`)
    } else if (unvouched !== undefined && vouchedBeforeMs !== undefined && unvouched.atMs < vouchedBeforeMs)
      find('unvouched', unvouched, 'no anchor vouches for it and what follows, though one is long overdue: control was away, or it was added')
    if (first === undefined) return undefined
    const anchor = vouched === undefined ? null : { seq: vouched.seq, atMs: vouched.atMs, keyId: vouched.keyId }
    return { chain: name, rows, firstSeq: first.seq, firstAtMs: first.atMs, lastAtMs, head, anchor }
  }

  return { name, take, pass, end }
}

function isSame(a: AuditRow, b: AuditRow): boolean {
  return a.hash === b.hash && a.prev === b.prev && a.digest === b.digest && a.id === b.id && a.key === b.key && a.type === b.type
}

/** Whether the row was sealed for the place of the other. */
function fitsPlace(row: AuditRow, { seq, prev }: AuditRow): boolean {
  return auditHash({ ...row, seq }) === row.hash || auditHash({ ...row, seq, prev }) === row.hash
}

/** Whether the row's link is of what the other says. */
function fitsContents(row: AuditRow, { type, id, key, digest }: AuditRow): boolean {
  return auditHash({ ...row, type, id, key, digest }) === row.hash
}
