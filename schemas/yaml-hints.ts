// "Did you mean …": the nearest known name, and the keys a zod schema knows at a path. Used by the YAML reader's hints.

import type { z } from 'zod'

const DISTANCE_MAX_RATIO = 0.4 // More than two edits in five letters is another word, and a wrong hint is worse than none.
const NAME_LENGTH_MAX = 64 // The edit distance is quadratic; no key of ours is longer.

/** The candidate with the least edit distance to `name` (case and separators ignored), or undefined when none is near. */
export function closestName(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  const wanted = folded(name)
  if (wanted === '' || wanted.length > NAME_LENGTH_MAX) return undefined
  for (const candidate of candidates) {
    const other = folded(candidate)
    if (other === '' || other.length > NAME_LENGTH_MAX) continue
    const distance = editDistance(wanted, other)
    if (distance < bestDistance && distance <= Math.max(1, Math.floor(Math.max(wanted.length, other.length) * DISTANCE_MAX_RATIO))) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/**
 * Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
 * Source: Damerau (1964) in the optimal string alignment form; O(|a|·|b|).
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, replace)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, beforeLast[j - 2]! + 1)
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** The keys an object schema knows at `path`; of a union, those of the branches that the value's discriminator allows. */
export function schemaKeysAt(schema: z.ZodType, path: readonly PropertyKey[], raw: unknown): string[] {
  let schemas = flatten(schema, raw)
  let value = raw
  for (const key of path) {
    value = typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined
    schemas = schemas.flatMap(current => childOf(current, key)).flatMap(child => flatten(child, value))
  }
  return [...new Set(schemas.flatMap(current => Object.keys(definition(current).shape ?? {})))]
}

interface Definition {
  type: string
  shape?: Record<string, z.ZodType>
  innerType?: z.ZodType
  in?: z.ZodType
  element?: z.ZodType
  valueType?: z.ZodType
  options?: readonly z.ZodType[]
  discriminator?: string
  values?: readonly unknown[]
}

function definition(schema: z.ZodType): Definition {
  return schema.def as unknown as Definition
}

/** Wrappers (optional, default, pipe, …) and unions taken off: the schemas that really describe the value. */
function flatten(schema: z.ZodType, value: unknown): z.ZodType[] {
  const def = definition(schema)
  if (def.innerType !== undefined) return flatten(def.innerType, value)
  if (def.in !== undefined) return flatten(def.in, value)
  if (def.options === undefined) return [schema]
  const all = def.options.flatMap(option => flatten(option, value))
  if (def.discriminator === undefined || typeof value !== 'object' || value === null) return all
  const tag = (value as Record<string, unknown>)[def.discriminator]
  return all.filter(option => {
    const literal = definition(option).shape?.[def.discriminator!]
    return literal === undefined || (definition(literal).values ?? [tag]).includes(tag)
  })
}

function childOf(schema: z.ZodType, key: PropertyKey): z.ZodType[] {
  const def = definition(schema)
  const child = def.shape?.[String(key)] ?? (def.type === 'array' ? def.element : def.type === 'record' ? def.valueType : undefined)
  return child === undefined ? [] : [child]
}

function folded(name: string): string {
  return name.toLowerCase().replaceAll(/[-_. ]/g, '')
}
