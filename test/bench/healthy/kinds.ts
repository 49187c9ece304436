// What a service of the healthy fleet is like, and the step in which its time goes on.

export const STEP_MS = 10_000
export const STEP_S = STEP_MS / 1_000
export const STEPS_PER_HOUR = 3_600_000 / STEP_MS
/** After its start an instance is slow and busy for about so long. */
export const COLD_S = 60

export interface ServiceKind {
  name: string
  /** Requests per second and instance when load is 1. */
  rate: number
  /** Shares of the requests, by route. */
  routes: Readonly<Record<string, number>>
  /** Median duration, seconds, and the spread of its logarithm. */
  median: number
  sigma: number
  /** Processor seconds of a request. */
  cost: number
  /** Live memory, bytes. */
  memory: number
  peers: readonly string[]
  /** Of its own metrics, ms. */
  intervalMs: number
  hasQueue: boolean
  fault?: Fault
}

/** A share of the requests fails from `fromMs` to `toMs`. Nothing of a healthy fleet: what must be seen and acted upon. */
export interface Fault {
  errorShare: number
  fromMs: number
  toMs: number
}

/** What a release changes. */
export interface Release {
  memory: number
  duration: number
  cost: number
}
export const FIRST_RELEASE: Release = { memory: 1, duration: 1, cost: 1 }
