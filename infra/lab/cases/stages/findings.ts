// What this case asserts beside the six: that stages were kept, by the witness, the kernel's process table, the lab's own eyes and ClickHouse.
//
// Pure. A member is in flight from the end of its old process, as that process itself wrote it, until its outcome was recorded, as ClickHouse
// has it. That it was well by then is asked of the lab's own eyes (watcher.ts), not of the verdict.

import { undoKey } from '../../../../actuators/execute/ledger.ts'
import type { Verdict } from '../../../../schemas/outcome.ts'
import { type Assertion, that } from '../assertions.ts'
import type { Effect } from '../effects.ts'
import { memberOf } from './layout.ts'
import type { MemberSight } from './watcher.ts'

/** Of `homeostat_outcomes`, of a command that acted. */
export interface OutcomeRow {
  target: string
  verdict: Verdict
  recordedAtMs: number
  keys: readonly string[]
}

/** One command's stay at a member. */
export interface Flight {
  member: string
  verdict: Verdict
  awayAtMs: number
  verifiedAtMs: number
  /** The restart that acts; false: one that only takes back. */
  isAct: boolean
}

/** In the order in which they began. @param witnessed every line, those of ends too */
export function flightsOf(witnessed: readonly Effect[], rows: readonly OutcomeRow[]): Flight[] {
  const flights = rows.flatMap(({ target, verdict, recordedAtMs, keys }): Flight[] => {
    const member = memberOf(target)
    const own = [...keys, ...keys.map(undoKey)]
    const start = witnessed.find(({ key }) => own.includes(key))
    if (start === undefined) return []
    const end = witnessed.findLast(({ target: of, what, atMs }) => of === member && what === 'stop' && atMs <= start.atMs)
    return [{ member, verdict, awayAtMs: end?.atMs ?? start.atMs, verifiedAtMs: recordedAtMs, isAct: start.what === 'start bounded' }]
  })
  return flights.sort((a, b) => a.awayAtMs - b.awayAtMs)
}

/** Members of each stage of one, half and all, in the order of acting. */
export function stagesOf(members: readonly string[]): string[][] {
  const ends = [1, Math.ceil(members.length / 2), members.length]
  return ends.map((end, index) => members.slice(index === 0 ? 0 : ends[index - 1], end))
}

/** At no instant more members in flight or unverified than the policy and their stage allow. */
export function neverMore(flights: readonly Flight[], stages: readonly (readonly string[])[], concurrentMax: number): Assertion {
  const over = flights.flatMap(({ awayAtMs, member }) => {
    const stage = stages.findIndex(members => members.includes(member))
    const allowed = Math.min(concurrentMax, stages[stage]?.length ?? 0)
    const count = flights.filter(other => other.awayAtMs <= awayAtMs && awayAtMs < other.verifiedAtMs).length
    return count <= allowed ? [] : [`${count} of ${allowed} when ${member} of stage ${stage + 1} ended`]
  })
  const most = Math.max(0, ...flights.map(({ awayAtMs: atMs }) => flights.filter(other => other.awayAtMs <= atMs && atMs < other.verifiedAtMs).length))
  return that('in flight', over.length === 0 && flights.length > 0, over[0] ?? `${most} at once at most, of ${flights.length}`)
}

/** Members were acted on stage by stage; a stage began when all of the one before were recorded as verified, and were well by the lab's own eyes. */
export function stageByStage(flights: readonly Flight[], stages: readonly (readonly string[])[], sights: readonly MemberSight[]): Assertion {
  const acts = flights.filter(({ isAct }) => isAct)
  const problems = stages.flatMap((members, index) => {
    const begunAtMs = Math.min(...acts.filter(({ member }) => members.includes(member)).map(({ awayAtMs }) => awayAtMs))
    if (begunAtMs === Number.POSITIVE_INFINITY) return []
    return stages.slice(0, index).flatMap(before =>
      before.flatMap(member => {
        const own = acts.find(act => act.member === member)
        const isWell = sights.some(sight => sight.member === member && sight.recoveredAtMs.some(atMs => atMs <= begunAtMs))
        if (own === undefined) return [`stage ${index + 1} began without ${member}`]
        if (own.verifiedAtMs > begunAtMs) return [`stage ${index + 1} began ${own.verifiedAtMs - begunAtMs} ms before ${member} was verified`]
        return isWell ? [] : [`stage ${index + 1} began before ${member} was seen to be well`]
      })
    )
  })
  const order = stages
    .map(members =>
      acts
        .filter(({ member }) => members.includes(member))
        .map(({ member }) => member)
        .join(' ')
    )
    .filter(text => text !== '')
  return that('stages', problems.length === 0 && acts.length > 0, problems[0] ?? `${order.join(' | ')}, each when the one before was verified and well`)
}

/** By the kernel: each of these members was so many processes, one after the other. */
export function processesEach(name: string, sights: readonly MemberSight[], members: readonly string[], count: number): Assertion {
  const seen = members.map(member => ({ member, count: sights.find(sight => sight.member === member)?.incarnations.length ?? 0 }))
  const other = seen.filter(each => each.count !== count)
  const detail = other.length === 0 ? `${members.join(', ')} were ${count} each` : other.map(each => `${each.member} was ${each.count} of ${count}`).join(', ')
  return that(name, members.length > 0 && other.length === 0, detail)
}
