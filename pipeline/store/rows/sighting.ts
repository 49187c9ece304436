// A sighting: this entity sent this kind of signal at that time. Rows of homeostat_entities, from which SLI coverage (M9) is read.

import { entityIdentity } from '../../../schemas/entity.ts'

export interface Sighting {
  environment: string
  entity: string
  service: string
  signal: 'metric' | 'span' | 'log'
  /** Newest event time seen, epoch ms. */
  atMs: number
}

/** The sighting of a resource by its attributes. */
export function sightingOf(
  signal: Sighting['signal'],
  attributes: Readonly<Record<string, string>>,
  defaults: { entity: string; environment: string },
  atMs: number
): Sighting {
  const { entity, service, environment } = entityIdentity(name => attributes[name], defaults)
  return { environment, entity, service, signal, atMs }
}
