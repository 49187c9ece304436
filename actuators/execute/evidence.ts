// Evidence captured before the first act: what the signals, logs, spans and the target itself looked like.
//
// Bounded in rows, bytes and time. An act never waits long for it and never fails for want of it: what could not be
// read is left out and counted, for the outcome is read by people after the fact.

import type { Command } from '../../schemas/command.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { Clock, Logger, Meter, Signals } from '../../schemas/ports.ts'

const MEMBERS_MAX = 8 // Signals kept; the first members are the first to have deviated.
const POINTS_MAX = 60 // A minute at one a second; a chart needs no more.
const ROWS_MAX = 50 // Log lines and spans, newest.
const TEXT_LENGTH_MAX = 500
const LOOKBACK_MS = 60_000 // Before the onset, to show what normal was.
const ANSWER_MS_MAX = 3_000 // A store that is slower than this delays healing more than its rows help.

interface Member {
  entity: string
  metric: string
  attributes: Readonly<Record<string, string>>
}

export interface EvidencePorts {
  signals: Signals
  clock: Clock
  logger: Logger
  meter: Meter
}

/** @param facts of the target, read by its driver at the moment of acting */
export async function captureEvidence(
  ports: EvidencePorts,
  command: Command,
  facts: Readonly<Record<string, string | number | boolean>>
): Promise<Outcome['evidence']> {
  const toMs = ports.clock.nowMs()
  const fromMs = Math.min(command.startedAtMs, toMs) - LOOKBACK_MS
  const attempt = <T>(what: string, read: () => Promise<T>, without: T) => inTime(ports, command, what, read, without)
  const [signals, logs, spans] = await Promise.all([
    Promise.all(
      membersOf(command).map(async member => {
        const points = await attempt('series', () => ports.signals.series({ ...member, environment: command.environment, fromMs, toMs }), [])
        return { metric: member.metric, points: points.slice(-POINTS_MAX).map(({ atMs, value }): [number, number] => [atMs, value]) }
      })
    ),
    attempt('logs', () => ports.signals.logs(command.target, fromMs, toMs, ROWS_MAX, command.environment), []),
    attempt('spans', () => ports.signals.spans(command.target, fromMs, toMs, ROWS_MAX, command.environment), [])
  ])
  return {
    signals: signals.map(({ metric, points }) => ({ metric, points: points.filter(([, value]) => Number.isFinite(value)) })),
    logs: logs.slice(-ROWS_MAX).map(({ atMs, severity, body }) => ({ atMs, severity, body: body.slice(0, TEXT_LENGTH_MAX) })),
    spans: spans.slice(-ROWS_MAX).map(({ atMs, name, durationMs, status }) => ({ atMs, name: name.slice(0, TEXT_LENGTH_MAX), durationMs, status })),
    facts: { ...facts }
  }
}

/** The empty evidence of a command that never began. */
export const noEvidence = (): Outcome['evidence'] => ({ signals: [], logs: [], spans: [], facts: {} })

function membersOf(command: Command): Member[] {
  const members = (command.incident as { members?: unknown }).members
  if (!Array.isArray(members)) return []
  return members
    .filter((member): member is Member => typeof member?.entity === 'string' && typeof member?.metric === 'string')
    .slice(0, MEMBERS_MAX)
    .map(({ entity, metric, attributes }) => ({ entity, metric, attributes: attributes ?? {} }))
}

async function inTime<T>(ports: EvidencePorts, command: Command, what: string, read: () => Promise<T>, without: T): Promise<T> {
  const abort = new AbortController()
  try {
    const late = ports.clock.sleep(ANSWER_MS_MAX, abort.signal).then((): T => {
      if (abort.signal.aborted) return without // Nobody waits for it any more.
      throw new Error(`no answer within ${ANSWER_MS_MAX} ms`)
    })
    late.catch(() => undefined) // The one that lost the race has nobody to tell.
    return await Promise.race([read(), late])
  } catch (error) {
    ports.meter.count('homeostat.act.evidence.missing', 1, { what })
    ports.logger.warn({ commandId: command.id, what, error }, 'evidence could not be read; acting without it')
    return without
  } finally {
    abort.abort('answered') // A reason of our own: the default one is an exception with a stack.
  }
}
