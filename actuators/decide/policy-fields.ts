// Fields that a selector reads, against those that there are: a misspelt one selects nothing, and nobody would be told.

import { causeSchema, incidentSchema } from '../../schemas/incident.ts'
import { closestName } from '../../schemas/yaml-hints.ts'
import type { CelType, CompiledExpression } from '../cel.ts'

/** What a policy's `match` sees. */
export const POLICY_VARIABLES = { incident: 'map', cause: 'map' } as const satisfies Record<string, CelType>

const FIELDS: Readonly<Record<string, readonly string[]>> = { incident: Object.keys(incidentSchema.shape), cause: Object.keys(causeSchema.shape) }

/** Fields of `incident` and `cause` that no incident and no cause has; `offset` in characters from the start of the selector. */
export function unknownFields(match: CompiledExpression): { message: string; hint: string; offset: number }[] {
  return match.reads.flatMap(({ variable, field, offset }) => {
    const known = FIELDS[variable] ?? []
    if (known.includes(field)) return []
    const elsewhere = Object.keys(FIELDS).find(other => FIELDS[other]!.includes(field))
    const near = closestName(field, known)
    const hint =
      elsewhere !== undefined
        ? `Did you mean ${elsewhere}.${field}?`
        : near !== undefined
          ? `Did you mean ${variable}.${near}?`
          : `Fields: ${known.join(', ')}.`
    return [{ message: `${variable} has no field ${field}`, hint, offset }]
  })
}
