// The pods of the case and what runs them know each other by these names, files and ports.

import { join } from 'node:path'
import { NAMESPACE } from '../../layout.ts'
import type { RigLayout } from '../rig.ts'

export const SERVICE = 'checkout'
export const PODS = ['checkout-1', 'checkout-2', 'checkout-3'] as const
export type Pod = (typeof PODS)[number]

/** The dependency, as the pods' spans name it. */
export const LEDGER = 'ledger'

export const entityOf = (pod: Pod): string => `${NAMESPACE}/${SERVICE}@${pod}`

/** The pod of an entity or of its own name. */
export function podOf(target: string): Pod | undefined {
  const name = target.slice(target.indexOf('@') + 1)
  return PODS.find(pod => pod === name)
}

/** The port's name in the rig, which rules can spell. */
export const portName = (pod: Pod): string => pod.replace(`${SERVICE}-`, 'pod')

/** Read by a pod at its start: one with `"rate": "a word"` is broken. */
export const configFile = ({ folder }: Pick<RigLayout, 'folder'>, pod: Pod): string => join(folder, `${pod}.json`)
export const GOOD_CONFIG = '{"rate": 5}'
export const BAD_CONFIG = '{"rate": "five"}'

/** What a pod went through, in the runtime's own words: one JSON line each in `runtime.jsonl`. */
export interface PodEvent {
  atMs: number
  pod: Pod
  event: 'start' | 'exit' | 'ready' | 'unready'
  /** Restarts of this pod so far; a replaced pod begins at 0. */
  restarts: number
  /** Until the next start; at `exit`. */
  backoffMs?: number
}

export const eventsFile = ({ folder }: Pick<RigLayout, 'folder'>): string => join(folder, 'runtime.jsonl')
