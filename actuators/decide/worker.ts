// The decide worker: incidents, outcomes and people's words in; decisions and signed commands out. Control role: one instance owns
// the state, others stand by (schemas/stateful-worker.ts).
//
// State and input positions are one checkpoint that also holds what was decided and not yet written (schemas/stateful-worker.ts):
// signed, and sealed in its place of the audit chain (audit.ts). A crash repeats the same bytes, never decides anew. Without a
// readable checkpoint the state is rebuilt from what was published (rebuild.ts), and what was read for that is not heard once more:
// a kill switch that is on would be off again on the way.

import { type AuditRow, auditRow, type SealedRecord, sealedInput } from '../../schemas/audit.ts'
import { commandRecord, type Command } from '../../schemas/command.ts'
import type { Config } from '../../schemas/config.ts'
import { controlRecord } from '../../schemas/control.ts'
import { decisionRecord } from '../../schemas/decision.ts'
import { decodeRecord, type RecordType, textRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import type { EscalationRules } from '../../schemas/escalation.ts'
import { incidentRecord } from '../../schemas/incident.ts'
import { outcomeRecord } from '../../schemas/outcome.ts'
import type { Escalation, Log, Logger, LogRecord, Meter, Random } from '../../schemas/ports.ts'
import { type DecodedEvent, type RunningWorker, type StatefulPorts, statefulWorker } from '../../schemas/stateful-worker.ts'
import { commandsTopic, TOPICS } from '../../schemas/topics.ts'
import { callSender } from '../escalate/sender.ts'
import { anchorsDue, anchorsNow, hear, seal, type SignAnchor } from './audit.ts'
import type { UnsignedCommand } from './command.ts'
import { type DecideEffect, type DecideEvent, decide } from './decide.ts'
import type { PolicySet } from './policy-file.ts'
import { rebuildState } from './rebuild.ts'
import { type DecideState, emptyState } from './state.ts'

const VERSION = 1
const TICK_MS = 500 // Cooldowns are seconds at their shortest; half of one is precise enough.

export interface DecideWorkerOptions extends StatefulPorts {
  config: Config['decide']
  policies: PolicySet
  /** Environments whose incidents are decided here. */
  environments: readonly string[]
  /** Adds key id and signature. */
  sign: (command: UnsignedCommand) => Command
  /** Vouches for the head of an audit chain. Absent: nobody does. */
  signAnchor?: SignAnchor | undefined
  /** Channel name → where pages go. */
  escalations: Readonly<Record<string, Escalation>>
  /** Who is on call, and owns what. Absent: the channels that policies name. */
  escalation?: EscalationRules | undefined
  /** The owner that an entity's telemetry names. */
  ownerOf?: ((entity: string, environment: string) => Promise<string | undefined>) | undefined
  random: Random
}

export interface DecideWorker extends RunningWorker {
  /** Other policies from now on; every open incident is judged by them. */
  usePolicies(policies: PolicySet): Promise<void>
}

/** A record that waits to be written. */
interface Publication {
  kind: 'publish'
  topic: string
  record: SealedRecord
}
type UnsealedEffect = Exclude<DecideEffect, { kind: 'ignored' }>
/** What came from the log brings its place in its writer's audit chain. `leaving`: nothing more is signed here. */
type HeardEvent = (DecideEvent & { link?: AuditRow | undefined }) | { kind: 'leaving' }

export function decideWorker(options: DecideWorkerOptions): DecideWorker {
  const { log, checkpoints, clock, random, logger, meter, config, environments } = options
  let policies = options.policies
  const worker = statefulWorker<DecideState, HeardEvent, Publication | UnsealedEffect>({
    name: 'decide',
    group: 'homeostat-decide',
    topics: [TOPICS.incidents.name, TOPICS.outcomes.name, TOPICS.control.name],
    version: VERSION,
    tickMs: TICK_MS,
    log,
    checkpoints,
    clock,
    logger,
    meter,
    // A checkpoint of an earlier release lacks what this one added.
    restore: saved => ({ ...emptyState(), ...(saved as DecideState) }),
    rebuild: () => rebuildState(log, environments, policies, listen),
    snapshot: state => state,
    decode,
    tick: { kind: 'tick' },
    stepped: byMs => ({ kind: 'clock_step', byMs }),
    reduce(state, event, nowMs) {
      const { signAnchor } = options
      if (event.kind === 'leaving') return signAnchor === undefined ? [] : anchorsNow(state.audit, nowMs, signAnchor).map(anchorPublication)
      const effects = decide(state, event, nowMs, random, { config, policies, environments, escalation: options.escalation })
      for (const effect of effects) countEffect(meter, logger, effect)
      if (event.link !== undefined) listen(state, event.link)
      const published = effects.flatMap(effect =>
        effect.kind === 'ignored' ? [] : [publication(effect, (type, record) => seal(state.audit, type, record, nowMs))]
      )
      // After what they vouch for; on a tick everything that was decided before has been written.
      const anchors = event.kind === 'tick' && signAnchor !== undefined ? anchorsDue(state.audit, nowMs, signAnchor) : []
      return [...published, ...anchors.map(anchorPublication)]
    },
    // Checkpoints of releases before the audit chain hold effects that are in none.
    deliver: effects =>
      publish(
        log,
        effects.map(effect => (effect.kind === 'publish' ? effect : publication(effect, textRecord)))
      )
  })

  function listen(state: DecideState, link: AuditRow): void {
    const fault = hear(state.audit, link)
    if (fault === undefined) return
    meter.count('homeostat.decide.audit_breaks')
    logger.error({ chain: link.chain, seq: link.seq, recordId: link.id, fault }, 'an audit chain does not hold: see `homeostat audit verify`')
  }

  function publication(effect: UnsealedEffect, sealed: <T>(type: RecordType<T>, record: T) => SealedRecord): Publication {
    if (effect.kind === 'publish_decision') return { kind: 'publish', topic: TOPICS.decisions.name, record: sealed(decisionRecord, effect.record) }
    return { kind: 'publish', topic: commandsTopic(effect.record.environment), record: sealed(commandRecord, options.sign(effect.record)) }
  }

  const pager = callSender({
    ...{ escalations: options.escalations, rules: options.escalation, ownerOf: options.ownerOf, clock, random, logger, meter },
    state: worker.state,
    sent: id => unlessStandby(worker.submit({ kind: 'page_sent', id })),
    advance: (incidentId, owner) => unlessStandby(worker.submit({ kind: 'call_due', incidentId, ...(owner === undefined ? {} : { owner }) }))
  })
  return {
    async start() {
      await worker.start()
      pager.start()
    },
    usePolicies(changed) {
      policies = changed
      // A standby judges by them when it takes over.
      return worker.state() === undefined ? Promise.resolve() : unlessStandby(worker.submit({ kind: 'policies_changed' }))
    },
    finished: worker.finished,
    async close() {
      await pager.close()
      if (worker.state() !== undefined) await unlessStandby(worker.submit({ kind: 'leaving' }))
      await worker.close()
    }
  }
}

/** Another instance owns the state by now: it judges by its own policies, and repeats a page under the same key. */
async function unlessStandby(submitted: Promise<void>): Promise<void> {
  try {
    await submitted
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'standby')) throw error
  }
}

function decode(record: LogRecord): DecodedEvent<HeardEvent> {
  if (record.topic === TOPICS.incidents.name) return event('incident', decodeRecord(incidentRecord, record))
  if (record.topic === TOPICS.outcomes.name) return event('outcome', decodeRecord(outcomeRecord, record), auditRow(record))
  return event('control', decodeRecord(controlRecord, record))
}

function event(kind: DecideEvent['kind'], decoded: { ok: true; record: unknown } | { ok: false; reason: string }, link?: AuditRow): DecodedEvent<HeardEvent> {
  return decoded.ok ? { ok: true, event: { kind, record: decoded.record, link } as HeardEvent } : decoded
}

const anchorPublication = (record: SealedRecord): Publication => ({ kind: 'publish', topic: TOPICS.anchors.name, record })

/** In the order of the chain, so that a crash in between leaves no hole in it: decisions come before the commands that they explain. */
async function publish(log: Log, publications: readonly Publication[]): Promise<void> {
  for (let from = 0; from < publications.length; ) {
    const { topic } = publications[from]!
    let to = from + 1
    while (to < publications.length && publications[to]!.topic === topic) to++
    await log.append(
      topic,
      publications.slice(from, to).map(({ record }) => sealedInput(record))
    )
    from = to
  }
}

function countEffect(meter: Meter, logger: Logger, effect: DecideEffect): void {
  if (effect.kind === 'ignored') meter.count('homeostat.decide.ignored', 1, { reason: effect.reason })
  else if (effect.kind === 'publish_decision') {
    const { id, incidentId, outcome, policy, runbook, target, reason } = effect.record
    meter.count('homeostat.decide.decisions', 1, { outcome })
    logger.info({ decisionId: id, incidentId, outcome, policy, runbook, target, reason }, 'an incident was decided')
  } else meter.count('homeostat.decide.commands', 1, { risk: effect.record.risk })
}
