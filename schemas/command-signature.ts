// The bytes of a command that its signature covers: what decide signs and act verifies, byte for byte.
//
// Every field but `signature`, in the order of commandSchema, each value tagged and length-prefixed, so that no two
// different commands share bytes ('ab','c' against 'a','bc') and no field can be swapped, added or dropped unseen.
// Format: "homeostat.command.v1" LF, then value := 'n' | 't' | 'f' | 'd' number ';' | 's' length ':' utf8
//         | 'l' count ':' value* | 'm' count ':' (string value)* with keys in UTF-16 order.
// Numbers are written as ECMAScript prints them (shortest form that reads back equal), so JSON carries them unchanged.

import { type Command, commandSchema } from './command.ts'
import { AppError } from './errors.ts'

const HEADER = 'homeostat.command.v1\n'
const DEPTH_MAX = 32 // A command nests to about 10; a deeper one is an attack on the stack.
const FIELDS = Object.keys(commandSchema.shape).filter(field => field !== 'signature') as (keyof Omit<Command, 'signature'>)[]
const encoder = new TextEncoder()

/**
 * Canonical bytes of everything but the signature. Fields that are `undefined` count as absent, exactly as JSON drops them.
 * @throws AppError `command_refused` when a value has no JSON form (a function, NaN) or nests too deep
 */
export function commandBytes(command: Omit<Command, 'signature'>): Uint8Array {
  const out: string[] = [HEADER]
  const fields = command as Readonly<Record<string, unknown>>
  const present = FIELDS.filter(field => fields[field] !== undefined)
  out.push(`m${present.length}:`)
  for (const field of present) {
    writeText(out, field)
    writeValue(out, fields[field], field, 0)
  }
  return encoder.encode(out.join(''))
}

function writeValue(out: string[], value: unknown, where: string, depth: number): void {
  if (depth > DEPTH_MAX) throw new AppError('command_refused', `${where}: the command nests deeper than ${DEPTH_MAX}: it was not made by us`)
  if (value === null) out.push('n')
  else if (typeof value === 'boolean') out.push(value ? 't' : 'f')
  else if (typeof value === 'number' && Number.isFinite(value)) out.push(`d${Object.is(value, -0) ? 0 : value};`)
  else if (typeof value === 'string') writeText(out, value)
  else if (Array.isArray(value)) {
    out.push(`l${value.length}:`)
    // JSON writes a hole or undefined in a list as null.
    for (const item of value) writeValue(out, item === undefined ? null : item, where, depth + 1)
  } else if (typeof value === 'object') writeMap(out, value as Readonly<Record<string, unknown>>, where, depth)
  else throw new AppError('command_refused', `${where}: a ${typeof value} cannot be signed: only JSON values can`)
}

function writeMap(out: string[], map: Readonly<Record<string, unknown>>, where: string, depth: number): void {
  const keys = Object.keys(map)
    .filter(key => map[key] !== undefined)
    .sort(byCodeUnit)
  out.push(`m${keys.length}:`)
  for (const key of keys) {
    writeText(out, key)
    writeValue(out, map[key], `${where}.${key}`, depth + 1)
  }
}

function writeText(out: string[], text: string): void {
  // A lone surrogate would be replaced on encoding, and two texts would share bytes.
  if (!text.isWellFormed()) throw new AppError('command_refused', 'a text of the command is not valid Unicode: it was not made by us')
  out.push(`s${Buffer.byteLength(text)}:`, text)
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
