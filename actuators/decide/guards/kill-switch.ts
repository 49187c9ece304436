// Kill switch: a person's order to stop, for everything, one environment or one policy. The actuator reads it again before acting.

import { allow, type Guard, refuse, time } from './guard.ts'

export const killSwitch: Guard = ({ incident, policy, state }) => {
  for (const scope of ['global', `environment/${incident.environment}`, `policy/${policy.name}`]) {
    const set = state.killSwitches[scope]
    if (!set?.on) continue
    const inputs = { scope, on: true, by: set.by, sinceMs: set.atMs, reason: set.reason }
    return refuse('kill_switch', inputs, `${set.by} stopped ${scope} at ${time(set.atMs)}: ${set.reason}`, `The kill switch ${scope} turned off.`)
  }
  return allow('kill_switch', { scope: null, on: false }, 'no kill switch is on')
}
