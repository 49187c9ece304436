// Ownership: one command in flight per target. Two at once would judge each other's effect.

import { allow, type Guard, wait } from './guard.ts'

export const ownership: Guard = ({ target, targetState }) => {
  const running = targetState.attempts.find(attempt => attempt.verdict === null)
  const inputs = { target, commandInFlight: running?.commandId ?? null, runbookInFlight: running?.runbook ?? null, deadlineMs: running?.deadlineMs ?? null }
  if (running === undefined) return allow('ownership', inputs, 'no command is in flight for the target')
  return wait('ownership', inputs, `${running.runbook} is in flight for ${target}`, 'The outcome of the command in flight.', running.deadlineMs)
}
