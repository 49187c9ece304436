// Values as ClickHouse's JSONEachRow takes them without loss: times as epoch text, 64-bit counts, floats that JSON cannot say.

import { entityService } from '../../../schemas/entity.ts'
import { bigintOf, type Long64, numberOf } from '../../otlp/decode.ts'

export type Row = Record<string, unknown>
/** A row and where it belongs. */
export interface TableRow {
  table: string
  row: Row
}

const NANOS_MAX = 2n ** 63n - 1n // DateTime64(9) ends in April 2262; OTLP's unsigned nanoseconds go to 2554.
/** Ten digits of seconds, a point, nine of nanoseconds: read as epoch time whatever the server's zone is, and never mistaken for a year. */
const EPOCH_DIGITS = 19
const NANO_DIGITS = 9

/** OTLP nanoseconds as epoch text; later than ClickHouse can say is its latest. 0 (unset) becomes `fallbackMs`, without one 1970. */
export function nanosText(value: Long64 | number, fallbackMs = 0): string {
  const nanos = bigintOf(value)
  if (nanos <= 0n) return msText(fallbackMs)
  const digits = String(nanos > NANOS_MAX ? NANOS_MAX : nanos).padStart(EPOCH_DIGITS, '0')
  return `${digits.slice(0, -NANO_DIGITS)}.${digits.slice(-NANO_DIGITS)}`
}

/** Epoch milliseconds (fractions to the microsecond) as epoch text; before 1970 is 1970. */
export function msText(ms: number): string {
  const micros = Math.max(0, Math.round(ms * 1_000))
  const digits = String(micros).padStart(16, '0')
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`
}

/** Like `msText`; null stays null. */
export function nullableMsText(ms: number | null): string | null {
  return ms === null ? null : msText(ms)
}

/** A float for a Float64 column: NaN as null, infinities as text, since JSON has neither. */
export function float(value: number): number | string | null {
  if (Number.isFinite(value)) return value
  return Number.isNaN(value) ? null : value > 0 ? 'inf' : '-inf'
}

/** An unsigned 64-bit count: a number when exact, else its digits. */
export function count64(value: Long64 | number): number | string {
  const number = numberOf(value)
  return Number.isSafeInteger(number) ? number : String(bigintOf(value))
}

/** A count for an unsigned column of ours: whole, not negative, not beyond what the column can say (ClickHouse would wrap it). */
export function count(value: number, max = 0xffff_ffff): number {
  return Number.isFinite(value) ? Math.min(max, Math.max(0, Math.round(value))) : 0
}

/** `service.name` of an entity, as the telemetry tables have it in ServiceName: `shop/orders@orders-1` → `orders`; '' for a bare host. */
export function serviceName(entity: string): string {
  const service = entityService(entity)
  return service.startsWith('@') ? '' : service.slice(service.lastIndexOf('/') + 1)
}
