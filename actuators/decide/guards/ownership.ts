// Ownership: one command in flight per target. Two at once would judge each other's effect. A service and an instance of it
// overlap: `shop/orders` in flight holds `shop/orders@orders-1` too.

import { entityService } from '../../../schemas/entity.ts'
import { allow, type Guard, wait } from './guard.ts'

export const ownership: Guard = ({ target, inFlight }) => {
  const running = inFlight.find(attempt => overlap(attempt.target, target))
  const inputs = { target, commandInFlight: running?.commandId ?? null, runbookInFlight: running?.runbook ?? null, deadlineMs: running?.deadlineMs ?? null }
  if (running === undefined) return allow('ownership', inputs, 'no command is in flight for the target')
  return wait('ownership', inputs, `${running.runbook} is in flight for ${running.target}`, 'The outcome of the command in flight.', running.deadlineMs)
}

function overlap(a: string, b: string): boolean {
  return a === b || entityService(a) === b || entityService(b) === a
}
