// Names that the processes of this case share, and the roll-outs that it plays.

import { NAMESPACE } from '../../layout.ts'

export const SERVICE = 'checkout'
export const DEPENDENCY = 'pricing'
export const PROXY = 'proxy'
export const STABLE = '1.0.0'
/** The old version, started with the canaries: the same code under a name of its own. */
export const BASELINE = '1.0.0+baseline'

/** What a runbook acts on: `lab/checkout@2.0.0`. */
export const targetOf = (version: string): string => `${NAMESPACE}/${SERVICE}@${version}`
export const versionOf = (target: string): string => target.slice(target.indexOf('@') + 1)

/** Canaries by the play that each is for; a version that was rolled back is never used again. */
export const CANARIES = { bad: '2.0.0', equal: '2.0.1', paused: '2.0.2', quiet: '2.0.3', starved: '2.0.4' } as const
export type CanaryName = keyof typeof CANARIES

/** Share of requests that the bad canary fails. */
export const BAD_ERROR_RATIO = 0.08

/** Name of a version's port and program. */
export const armName = (version: string): string => `arm-${version.replaceAll(/\W/g, '-')}`

/** What the proxy counted of a version since the last reset: the lab's own numbers, not Homeostat's. */
export interface VersionCount {
  weight: number
  requests: number
  errors: number
  /** When it had answered `SAMPLES_MIN` requests; null before. */
  reachedAtMs: number | null
}
export const SAMPLES_MIN = 200
