// The broker that coordinates one consumer group: found when it is needed, forgotten when it answers that it is not the one, or not at all.

import { type API, type Broker, FindCoordinatorKeyTypes, findCoordinatorV4 } from '@platformatic/kafka'
import { errorIds, type Wire } from './platformatic-wire.ts'

/** Errors that are no word about the group, only about this broker's part in it. */
const MOVED = ['NOT_COORDINATOR', 'COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_LOAD_IN_PROGRESS', 'REQUEST_TIMED_OUT']

export interface Coordinator {
  /** One request to the group's coordinator, over the wire given. @throws what the library throws */
  ask<A extends unknown[], R>(wire: Wire, api: API<A, R>, ...args: A): Promise<R>
}

export function openCoordinator(group: string): Coordinator {
  let broker: Broker | undefined
  return {
    async ask(wire, api, ...args) {
      try {
        if (broker === undefined) {
          const { coordinators } = await wire.ask('any', findCoordinatorV4.api, FindCoordinatorKeyTypes.GROUP, [group])
          const { host, port } = coordinators[0]!
          broker = { host, port }
        }
        return await wire.ask(broker, api, ...args)
      } catch (error) {
        if (isPassing(error)) broker = undefined
        throw error
      }
    }
  }
}

/** True when the request may succeed elsewhere or later: no answer at all, or a coordinator that moved or is loading. */
export function isPassing(error: unknown): boolean {
  const ids = errorIds(error)
  return ids.size === 0 || MOVED.some(id => ids.has(id))
}
