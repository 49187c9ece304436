// Entities as the detector knows them: who they are, how far their event time has come, when they were last heard.
//
// Flow: scorer, once per point (by the reader's entity index, so no string is hashed). Bounded; a plain object each,
// since there are few of them beside the series. Part `entities` of the checkpoint: JSON rows.

import { AppError } from '../../schemas/errors.ts'
import type { ResourceView } from '../../schemas/otlp.ts'
import type { Instance } from '../../schemas/topology.ts'

/** Entities of one partition. Beyond it their points are counted as refused, like series beyond the budget. */
const ENTITIES_MAX = 100_000

export interface EntityState {
  index: number
  entity: string
  service: string
  environment: string
  /** Log's clock: when it was first heard. */
  firstSeenMs: number
  /** Log's clock: when it was last heard. What derive/ wrote about it counts by its window instead. */
  lastSeenMs: number
  /** Log's clock: when the last point about it was taken, derived ones included. */
  lastArrivalMs: number
  /** Newest event time of its points. */
  maxEventMs: number
  /** Event time at which its telemetry came back after a silence, its own or ours; 0 = there was none. */
  backMs: number
  /** Usual time between two hearings and its mean absolute deviation, ms; hearings counted. */
  gapMs: number
  gapDeviationMs: number
  hearings: number
  /** It sends metrics of its own, not only spans or logs. */
  hasOwnMetrics: boolean
  /** When the absence began that was told and did not end; 0 = present. */
  absentSinceMs: number
  /** Given up: absent for so long that it counts as removed, until it is heard again. */
  isGone: boolean
  /** What was told about its birth (rules/birth.ts). */
  birth: 'untold' | Instance['state']
  /** First of its series + 1 (chained by nextOfEntity); 0 = none. */
  firstSeries: number
  /** End of the window that learned models see next, event time; 0 = none yet. */
  modelWindowEndMs: number
  /** Rows of its model (multivariate/tier.ts): end of the open one, event time, 0 = none yet; and how many were closed. */
  rowEndMs: number
  rowsSeen: number
  /** Learned detectors with an open anomaly: name -> onset. */
  openModels: Record<string, number>
}

export class EntityTable {
  readonly all: EntityState[] = []
  readonly #byName = new Map<string, EntityState>()
  readonly #byReaderIndex: (EntityState | undefined)[] = []

  /** The entity of a resource, made on first sight; undefined when there are too many. */
  of(resource: ResourceView): EntityState | undefined {
    const cached = this.#byReaderIndex[resource.entityIndex]
    if (cached !== undefined && cached.entity === resource.entity && cached.environment === resource.environment) return cached
    const name = `${resource.environment}\n${resource.entity}`
    let state = this.#byName.get(name)
    if (state === undefined) {
      if (this.all.length >= ENTITIES_MAX) return undefined
      state = newEntity(this.all.length, resource.entity, resource.service, resource.environment)
      this.all.push(state)
      this.#byName.set(name, state)
    }
    this.#byReaderIndex[resource.entityIndex] = state
    return state
  }

  toBytes(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify(this.all))
  }

  /** @throws AppError `checkpoint_invalid` */
  static restore(bytes: Uint8Array | undefined): EntityTable {
    const table = new EntityTable()
    if (bytes === undefined) return table
    try {
      for (const saved of JSON.parse(new TextDecoder().decode(bytes)) as EntityState[]) {
        // An earlier release saved less.
        const state = { ...newEntity(saved.index, saved.entity, saved.service, saved.environment), ...saved }
        table.all.push(state)
        table.#byName.set(`${state.environment}\n${state.entity}`, state)
      }
    } catch (cause) {
      throw new AppError('checkpoint_invalid', 'the entities of a checkpoint cannot be read', { cause })
    }
    return table
  }
}

function newEntity(index: number, entity: string, service: string, environment: string): EntityState {
  return {
    index,
    entity,
    service,
    environment,
    firstSeenMs: 0,
    lastSeenMs: 0,
    lastArrivalMs: 0,
    maxEventMs: 0,
    backMs: 0,
    gapMs: 0,
    gapDeviationMs: 0,
    hearings: 0,
    hasOwnMetrics: false,
    absentSinceMs: 0,
    isGone: false,
    birth: 'untold',
    firstSeries: 0,
    modelWindowEndMs: 0,
    rowEndMs: 0,
    rowsSeen: 0,
    openModels: {}
  }
}

const GAP_WEIGHT = 0.1
/** Hearings closer than this are slices of one export (metrics, then what was derived from spans). */
const GAP_MIN_MS = 200

/** Notes that the entity was heard at `atMs` (the log's clock), and learns its usual interval. */
export function hear(state: EntityState, atMs: number): void {
  if (state.hearings === 0) {
    state.firstSeenMs = atMs
    state.lastSeenMs = atMs
    state.hearings = 1
    return
  }
  const gapMs = atMs - state.lastSeenMs
  if (gapMs < GAP_MIN_MS) return
  state.lastSeenMs = atMs
  state.isGone = false
  if (state.hearings === 1) state.gapMs = gapMs
  // The first gaps weigh fully; one long silence (an outage) must not make the next one look usual.
  const weight = Math.max(1 / state.hearings, GAP_WEIGHT)
  const learned = state.hearings < 5 ? gapMs : Math.min(gapMs, state.gapMs + 3 * Math.max(state.gapDeviationMs, 0.2 * state.gapMs))
  state.hearings++
  state.gapDeviationMs += weight * (Math.abs(learned - state.gapMs) - state.gapDeviationMs)
  state.gapMs += weight * (learned - state.gapMs)
}
