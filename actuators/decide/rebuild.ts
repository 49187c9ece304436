// The state of decide without a readable checkpoint: made from what was published before.
//
// Commands and outcomes give attempts, budgets and fences; decisions the last answers; control records people's words. How far a rollout
// came is not among them: one that had begun is not gone on with, and another runbook, or a person, has the next word.

import { type AuditRow, auditRow } from '../../schemas/audit.ts'
import { type Command, commandRecord } from '../../schemas/command.ts'
import { type Control, controlRecord } from '../../schemas/control.ts'
import { type Decision, decisionRecord } from '../../schemas/decision.ts'
import { decodeRecord, type RecordType } from '../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../schemas/incident.ts'
import { type Outcome, outcomeRecord } from '../../schemas/outcome.ts'
import type { Log, LogRecord, Position } from '../../schemas/ports.ts'
import { readWholeTopic } from '../../schemas/read-whole-topic.ts'
import type { Rebuilt } from '../../schemas/stateful-worker.ts'
import { commandsTopic, TOPICS } from '../../schemas/topics.ts'
import { addAttempt, attemptOf, settleOutcome } from './attempts.ts'
import { applyControl } from './controls.ts'
import { reopenEscalated } from './decide.ts'
import { askSubject } from './guards/approval.ts'
import { answerOf } from './judge.ts'
import { promisedCall, takeAnswer } from './pages.ts'
import type { PolicySet } from './policy-file.ts'
import { addOnset, addOpening, type DecideState, emptyState, lastOf, newWatch, OVER_MAX, targetOf, type Watch } from './state.ts'
import { addTrial, scoreControl, scoreOnset, scoreOutcome, scoreResolution } from './trust.ts'

const UNKNOWN_STAGE = 'decide lost its checkpoint, and how far it came is not known'

/** The state of the environments, and where to go on; every record that is heard for it is not heard once more. */
export async function rebuildState(
  log: Log,
  environments: readonly string[],
  policies: PolicySet,
  listen: (state: DecideState, link: AuditRow) => void
): Promise<Rebuilt<DecideState>> {
  const state = emptyState()
  const inStages: Command[] = []
  const each = <T>(topic: string, type: RecordType<T>, take: (record: T, raw: LogRecord) => void, upTo?: readonly Position[]) =>
    readWholeTopic(
      log,
      topic,
      raw => {
        const decoded = decodeRecord(type, raw)
        if (decoded.ok) take(decoded.record, raw)
      },
      upTo
    )
  for (const environment of environments) {
    await each(commandsTopic(environment), commandRecord, command => {
      const target = targetOf(state, command.environment, command.target)
      target.fence = Math.max(target.fence, command.fence)
      addAttempt(target, attemptOf(command, 0))
      if (command.rollout !== undefined) inStages.push(command)
    })
  }
  const outcomesEnd = await each(TOPICS.outcomes.name, outcomeRecord, (outcome, raw) => {
    settleOutcome(state, outcome)
    const link = auditRow(raw)
    if (link !== undefined) listen(state, link)
  })
  const controlEnd = await each(TOPICS.control.name, controlRecord, control => applyControl(state, control))
  const anomalies = new Map<string, string[]>()
  const incidentsEnd = await each(TOPICS.incidents.name, incidentRecord, incident => {
    const cause = incident.causes[0]
    if (!environments.includes(incident.environment) || state.over.includes(incident.id)) return
    if ((state.watches[incident.id]?.incident.version ?? 0) >= incident.version) return // Published again after a newer one.
    anomalies.set(
      incident.id,
      incident.members.map(member => member.anomalyId)
    )
    addOpening(state, incident)
    if (cause !== undefined) addOnset(targetOf(state, incident.environment, cause.entity), incident)
    if (incident.status === 'resolved') {
      state.over = [...state.over, incident.id].slice(-OVER_MAX)
      delete state.watches[incident.id]
    } else state.watches[incident.id] = { ...newWatch(incident, state), retryAtMs: 0 } // Looked at with the first tick.
  })
  for (const { incidentId, runbook } of inStages) {
    const watch = state.watches[incidentId]
    if (watch !== undefined) watch.stopped = { ...watch.stopped, [runbook]: { why: UNKNOWN_STAGE, isForPeople: true } }
  }
  await each(TOPICS.decisions.name, decisionRecord, decision => {
    if (environments.includes(decision.environment) && !undoes(decision)) addTrial(state, decision, anomalies.get(decision.incidentId) ?? [])
    const watch = state.watches[decision.incidentId]
    if (watch === undefined) return
    watch.sequence++
    watch.answer = answerOf(decision)
    watch.last = lastOf(decision)
    if (decision.outcome === 'ask') watch.ask = { decisionId: decision.id, askedAtMs: decision.decidedAtMs, subject: askSubject(decision, decision.guards) }
    if (decision.commandId !== null) watch.attempts = Math.max(watch.attempts, decision.attempt)
    watch.escalated = decision.outcome === 'escalate' // Once more after that it is decided only when a person released the target.
    if (decision.outcome === 'escalate' || decision.outcome === 'ask' || decision.calledPeople) watch.paged = true
    goOnWaiting(state, watch, decision, policies)
  })
  // What became of the decisions, in the order in which later news overrides earlier.
  const recurrenceMs = (name: string) => policies.policies.find(policy => policy.name === name)?.spec.recurrenceWindow ?? 0
  const scored = (outcome: Outcome): void => {
    if (environments.includes(outcome.environment)) scoreOutcome(state, outcome)
  }
  await each(TOPICS.outcomes.name, outcomeRecord, scored, outcomesEnd)
  const compared = (incident: Incident): void => {
    if (!environments.includes(incident.environment)) return
    scoreOnset(state, incident, recurrenceMs)
    if (incident.status === 'resolved') scoreResolution(state, incident)
  }
  await each(TOPICS.incidents.name, incidentRecord, compared, incidentsEnd)
  const heard = (control: Control): void => {
    scoreControl(state, control)
    if (control.kind === 'autonomy') applyControl(state, control) // It speaks of demotions that are known only now.
    if (control.kind === 'release_target') reopenEscalated(state, control.target, control.atMs)
    if (control.kind === 'acknowledgement') takeAnswer(state, control)
  }
  await each(TOPICS.control.name, controlRecord, heard, controlEnd)
  return { state, positions: [...incidentsEnd, ...outcomesEnd, ...controlEnd] }
}

/** That people will be called later is no news any more when it is due: what was counted goes on, and what was promised is kept. */
function goOnWaiting(state: DecideState, watch: Watch, decision: Decision, { policies }: PolicySet): void {
  const policy = policies.find(({ name }) => name === decision.policy)
  const { callAtMs, outcome, target } = decision
  watch.unattended = null
  if (policy === undefined || target === null || callAtMs == null) return
  if (outcome === 'escalate') promisedCall(state, watch, decision, policy)
  else watch.unattended = { sinceMs: callAtMs - policy.spec.escalate.blockedFor, heldAtMs: null }
}

/** Whether a decision was to take something back: nothing to be scored. */
function undoes({ guards }: Decision): boolean {
  return guards.some(({ guard, inputs }) => guard === 'stages' && inputs.undo === true)
}
