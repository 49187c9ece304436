// Values that people write in YAML of every kind: durations and names.

import { z } from 'zod'

const DURATION_FORM = 'a duration such as 500ms, 5s, 10m, 2h or 1d'

/** Durations are written `500ms`, `5s`, `10m`, `2h`, `1d` and read as milliseconds. */
export const durationSchema = z
  .string(DURATION_FORM)
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, DURATION_FORM)
  .transform(parseDuration)

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `"1.5s"` → 1500. The text must fit durationSchema's pattern. */
export function parseDuration(text: string): number {
  const unit = text.replace(/^[\d.]+/, '') as keyof typeof UNIT_MS
  return Math.round(Number.parseFloat(text) * UNIT_MS[unit])
}

/** Of documents, steps, checks. */
export const nameSchema = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,62})$/, 'a name of at most 63 lower-case letters, digits and dashes')
