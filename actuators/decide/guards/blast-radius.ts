// Blast radius: how many targets of the environment may be under treatment at once. In flight counts, and so does what was
// done and never verified: until someone knows, it may be down.

import { allow, type Guard, wait } from './guard.ts'

export const blastRadius: Guard = ({ nowMs, incident, policy, target, state, inFlight }) => {
  const { concurrentMax } = policy.spec.blastRadius
  const prefix = `${incident.environment}|`
  const running = new Set(inFlight.filter(attempt => attempt.target !== target).map(attempt => attempt.target))
  const unverified = new Set<string>()
  for (const [key, other] of Object.entries(state.targets)) {
    const name = key.slice(prefix.length)
    if (!key.startsWith(prefix) || name === target || running.has(name)) continue
    const last = other.attempts.at(-1)
    const doubtful = last?.verdict === 'inconclusive' && nowMs - (last.endedAtMs ?? last.issuedAtMs) < policy.spec.recurrenceWindow
    if (other.frozen !== null || doubtful) unverified.add(name)
  }
  const total = running.size + unverified.size
  const inputs = { inFlight: running.size, unverified: unverified.size, concurrentMax, others: [...running, ...unverified].slice(0, 5).join(', ') }
  if (total < concurrentMax) return allow('blast_radius', inputs, `${total} other targets under treatment, ${concurrentMax} at once are allowed`)
  const reason = `${inputs.others} ${total === 1 ? 'is' : 'are'} in flight or unverified: ${total} of ${concurrentMax} at once`
  return wait(
    'blast_radius',
    inputs,
    reason,
    `An outcome there, or blastRadius.concurrentMax above ${total}.`,
    unverified.size > 0 ? nowMs + policy.spec.recurrenceWindow : null
  )
}
