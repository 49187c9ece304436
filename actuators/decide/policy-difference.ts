// What two ways of deciding the same incidents differ in: incident by incident, as lines that one has and the other has not.

import type { Incident } from '../../schemas/incident.ts'
import type { RecordedDecision } from './policy-simulate.ts'

export interface DecisionLine {
  side: 'both' | 'before' | 'after'
  decision: RecordedDecision
}
export interface IncidentDifference {
  incidentId: string
  title: string
  openedAtMs: number
  lines: DecisionLine[]
}
export interface DecisionDifferences {
  /** Incidents that were decided by either. */
  incidents: number
  /** In order of their opening. */
  different: IncidentDifference[]
  /** Outcome → how often, on either side. */
  outcomes: Record<string, { before: number; after: number }>
}

/** Decisions kept of an incident for its comparison; the product of both sides is walked. */
const LINES_MAX = 500

export function differenceOf(incidents: readonly Incident[], before: readonly RecordedDecision[], after: readonly RecordedDecision[]): DecisionDifferences {
  const [ofBefore, ofAfter] = [byIncident(before), byIncident(after)]
  const latest = new Map(incidents.map(incident => [incident.id, incident]))
  const ids = [...new Set([...ofBefore.keys(), ...ofAfter.keys()])]
  const different = ids.flatMap(incidentId => {
    const lines = linesOf(ofBefore.get(incidentId) ?? [], ofAfter.get(incidentId) ?? [])
    if (lines.every(({ side }) => side === 'both')) return []
    const incident = latest.get(incidentId)
    return [{ incidentId, title: incident?.title ?? '', openedAtMs: incident?.openedAtMs ?? lines[0]!.decision.decidedAtMs, lines }]
  })
  const outcomes: DecisionDifferences['outcomes'] = {}
  for (const [side, decisions] of [
    ['before', before],
    ['after', after]
  ] as const) {
    for (const { outcome } of decisions) {
      outcomes[outcome] ??= { before: 0, after: 0 }
      outcomes[outcome][side]++
    }
  }
  return { incidents: ids.length, different: different.sort((a, b) => a.openedAtMs - b.openedAtMs || (a.incidentId < b.incidentId ? -1 : 1)), outcomes }
}

function byIncident(decisions: readonly RecordedDecision[]): Map<string, RecordedDecision[]> {
  return Map.groupBy(
    [...decisions].sort((a, b) => a.decidedAtMs - b.decidedAtMs),
    decision => decision.incidentId
  )
}

/** What a decision says, without versions and times. */
function said({ outcome, policy, runbook, target, blockedBy, attempt }: RecordedDecision): string {
  return JSON.stringify([outcome, policy, runbook, target, [...blockedBy].sort(), attempt])
}

/** Longest common subsequence, by dynamic programming: O(n·m) with both at most LINES_MAX. */
function linesOf(before: readonly RecordedDecision[], after: readonly RecordedDecision[]): DecisionLine[] {
  const a = before.slice(0, LINES_MAX)
  const b = after.slice(0, LINES_MAX)
  const common = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0))
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i]![j] = said(a[i]!) === said(b[j]!) ? common[i + 1]![j + 1]! + 1 : Math.max(common[i + 1]![j]!, common[i]![j + 1]!)
  const lines: DecisionLine[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && said(a[i]!) === said(b[j]!)) {
      lines.push({ side: 'both', decision: b[j++]! })
      i++
    } else if (j >= b.length || (i < a.length && common[i + 1]![j]! >= common[i]![j + 1]!)) lines.push({ side: 'before', decision: a[i++]! })
    else lines.push({ side: 'after', decision: b[j++]! })
  }
  return lines
}
