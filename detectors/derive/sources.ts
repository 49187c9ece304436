// The entities that a shard of spans or logs derives counts for: found by the reader's index, bounded, first seen first.

import type { ResourceView } from '../../schemas/otlp.ts'
import { newSource, type Source } from './window.ts'

/** Beyond this a new entity is refused and counted; each costs a few counters of windows. */
const SOURCES_MAX = 20_000

export class SourceTable<Kind extends Source> {
  readonly #make: (source: Source) => Kind
  readonly #byName = new Map<string, Kind>()
  /** A hint only: the reader's numbering may have begun anew. */
  readonly #byReaderIndex: (Kind | undefined)[] = []

  /** @param make adds what spans or logs keep of an entity */
  constructor(make: (source: Source) => Kind) {
    this.#make = make
  }

  /** The source of a resource, made at first sight; undefined when the table is full. */
  of(resource: ResourceView): Kind | undefined {
    const cached = this.#byReaderIndex[resource.entityIndex]
    if (cached !== undefined && cached.entity === resource.entity && cached.environment === resource.environment) return cached
    const source =
      this.#byName.get(`${resource.environment}\n${resource.entity}`) ?? this.add(newSource(resource.entity, resource.service, resource.environment))
    if (source !== undefined) this.#byReaderIndex[resource.entityIndex] = source
    return source
  }

  /** Takes a new one in, as it was in a checkpoint. @returns undefined when the table is full */
  add(source: Source): Kind | undefined {
    if (this.#byName.size >= SOURCES_MAX) return undefined
    const added = this.#make(source)
    this.#byName.set(`${source.environment}\n${source.entity}`, added)
    return added
  }

  values(): IterableIterator<Kind> {
    return this.#byName.values()
  }
}
