// Which versions of a service run beside each other: only then are requests counted by version, which is what a canary is judged by.
//
// Flow: spans.ts (server and consumer spans of resources that say `service.version`) -> versions -> homeostat.versions.v1. What is told
// are delta counts of one window, one instance and one shard; who adds them up knows each by these (schemas/version-window.ts).
// State: who was heard when, JSON in the checkpoint of spans.

import { entityService } from '../../schemas/entity.ts'
import type { VersionWindow } from '../../schemas/version-window.ts'
import { exponentialRow } from '../score/histogram-part.ts'
import type { Slot, Source, WindowSettings } from './window.ts'

/** Versions of one service, or of one instance, at once: more than that is no rollout. The one unheard longest makes room. */
export const VERSIONS_MAX = 8
/** Beyond it further services are not compared. */
const SERVICES_MAX = 20_000
/** A version unheard for so long no longer runs beside another: five requests a minute are heard well within it. */
const BESIDE_MS = 600_000

/** Version → when it was last heard, by event time. */
export type HeardVersions = Map<string, number>

export class ServiceVersions {
  readonly #services = new Map<string, HeardVersions>()

  /** The versions of the service that a source belongs to; undefined when too many services are known. */
  of({ environment, entity }: Source): HeardVersions | undefined {
    const name = `${environment}\n${entityService(entity)}`
    const known = this.#services.get(name)
    if (known !== undefined || this.#services.size >= SERVICES_MAX) return known
    const versions: HeardVersions = new Map()
    this.#services.set(name, versions)
    return versions
  }

  toJson(): unknown {
    return [...this.#services].map(([name, versions]) => [name, [...versions]])
  }

  static fromJson(json: unknown): ServiceVersions {
    const made = new ServiceVersions()
    for (const [name, versions] of json as [string, [string, number][]][]) made.#services.set(name, new Map(versions))
    return made
  }
}

/** Notes that `version` served at `atMs`. @returns whether another version of the service did so lately */
export function runsBeside(versions: HeardVersions, version: string, atMs: number): boolean {
  versions.set(version, Math.max(versions.get(version) ?? 0, atMs))
  if (versions.size === 1) return false
  if (versions.size > VERSIONS_MAX) versions.delete(unheardLongest(versions))
  for (const [other, heardMs] of versions) if (other !== version && atMs - heardMs <= BESIDE_MS) return true
  return false
}

function unheardLongest(versions: HeardVersions): string {
  return [...versions].reduce((oldest, one) => (one[1] < oldest[1] ? one : oldest))[0]
}

/** What one version did in the window of a slot. */
export function versionWindow({ entity, environment }: Source, version: string, slot: Slot, { shard, windowMs }: WindowSettings): VersionWindow {
  const { scale, offset, zeroCount, counts } = exponentialRow(slot.duration!)
  return {
    environment,
    service: entityService(entity),
    entity,
    version,
    shard,
    startMs: slot.startMs,
    windowMs,
    requests: slot.count,
    errors: slot.errors,
    duration: { scale, offset, zeroCount, counts }
  }
}
