// Spells a protobuf message differently without changing what it says: what the wire format allows and no encoder we know does.
//
// Fields in another order (repeated ones keep theirs), packed numbers split into packs and single fields, lengths spelled
// too long, fields that nobody knows of every wire type between them.

import type { Type } from 'protobufjs'
import { makeProtoWriter } from '../../../../../pipeline/otlp/proto-writer.ts'

interface RawField {
  number: number
  wire: number
  /** Content: the varint's value as bytes, the fixed bytes, or what the length delimits. */
  content: Uint8Array
}

/**
 * @param random uniform in [0, 1)
 * @param spared types whose content stays as it is
 */
export function scramble(type: Type, message: Uint8Array, random: () => number, spared: readonly string[] = []): Uint8Array {
  if (spared.includes(type.name)) return message
  const fields = splitFields(message).flatMap(field => rewrite(type, field, random, spared))
  const runs = new Map<number, RawField[]>()
  for (const field of fields) runs.set(field.number, [...(runs.get(field.number) ?? []), field])
  if (random() < 0.3) runs.set(-1, [strange(random)])
  const out: Uint8Array[] = []
  while (runs.size > 0) {
    const keys = [...runs.keys()]
    const key = keys[Math.floor(random() * keys.length)]!
    const run = runs.get(key)!
    out.push(spell(run.shift()!, random))
    if (run.length === 0) runs.delete(key)
  }
  return Buffer.concat(out)
}

function rewrite(type: Type, field: RawField, random: () => number, spared: readonly string[]): RawField[] {
  const known = type.fieldsById[field.number]
  const nested = known?.resolve().resolvedType
  if (field.wire !== 2 || !known) return [field]
  if (nested && 'fieldsArray' in nested) return [{ ...field, content: scramble(nested, field.content, random, spared) }]
  if (known.repeated && known.type !== 'string') return unpack(field, known.type, random)
  return [field]
}

/** Splits a pack into chunks; chunks of one become single fields. */
function unpack(field: RawField, type: string, random: () => number): RawField[] {
  const isVarint = type === 'uint64'
  const items: Uint8Array[] = []
  for (let at = 0; at < field.content.length; ) {
    let end = at + 8
    if (isVarint) for (end = at + 1; field.content[end - 1]! > 127; ) end++
    items.push(field.content.subarray(at, end))
    at = end
  }
  const out: RawField[] = []
  while (items.length > 0) {
    const chunk = items.splice(0, 1 + Math.floor(random() * 5))
    if (chunk.length === 1) out.push({ number: field.number, wire: isVarint ? 0 : 1, content: chunk[0]! })
    else out.push({ number: field.number, wire: 2, content: Buffer.concat(chunk) })
  }
  return out
}

function splitFields(message: Uint8Array): RawField[] {
  const fields: RawField[] = []
  for (let at = 0; at < message.length; ) {
    const [tag, start] = varint(message, at)
    const wire = tag & 7
    let from = start
    let end = start + (wire === 1 ? 8 : 4)
    if (wire === 0) end = varint(message, start)[1]
    if (wire === 2) {
      const [length, begin] = varint(message, start)
      from = begin
      end = begin + length
    }
    fields.push({ number: tag >>> 3, wire, content: message.subarray(from, end) })
    at = end
  }
  return fields
}

function varint(bytes: Uint8Array, position: number): [value: number, next: number] {
  let value = 0
  let scale = 1
  for (let at = position; ; at++) {
    value += (bytes[at]! & 127) * scale
    scale *= 128
    if (bytes[at]! < 128) return [value, at + 1]
  }
}

/** A field of a number that OTLP does not have. */
function strange(random: () => number): RawField {
  const number = 900 + Math.floor(random() * 1000)
  const kind = Math.floor(random() * 5)
  if (kind === 0) return { number, wire: 0, content: Uint8Array.of(0xff, 0x01) }
  if (kind === 1) return { number, wire: 1, content: new Uint8Array(8) }
  if (kind === 2) return { number, wire: 5, content: new Uint8Array(4) }
  if (kind === 3) return { number, wire: 2, content: Uint8Array.of(0x0a, 0xff, 0xff) }
  return { number, wire: 3, content: Uint8Array.of() }
}

function spell({ number, wire, content }: RawField, random: () => number): Uint8Array {
  const tag = makeProtoWriter()
  tag.varint(0, number * 8 + wire) // A tag of field 0 is one byte; what follows it is the varint that is wanted.
  const head = tag.finish().subarray(1)
  if (wire === 3) return Buffer.concat([head, Uint8Array.of(0x08, 0x01), groupEnd(number)])
  if (wire !== 2) return Buffer.concat([head, content])
  const length = makeProtoWriter()
  length.varint(0, content.length)
  const size = Uint8Array.from(length.finish().subarray(1))
  if (random() >= 0.1) return Buffer.concat([head, size, content])
  size[size.length - 1]! |= 0x80
  return Buffer.concat([head, size, Uint8Array.of(0), content])
}

function groupEnd(number: number): Uint8Array {
  const writer = makeProtoWriter()
  writer.varint(0, number * 8 + 4)
  return writer.finish().subarray(1)
}
