// OTLP/JSON to OTLP protobuf, so that everything behind intake knows one encoding.
//
// The mapping of the OTLP specification: lowerCamelCase keys, trace and span ids as hex (not base64), enums as integers,
// 64-bit integers as strings or numbers, unknown fields ignored, null = absent. A refusal names the place in the document.
// Runs on the main thread and allocates freely: JSON is the door of browsers and shell scripts, not of load.

import protobuf from 'protobufjs'
import { AppError } from '../../schemas/errors.ts'
import { otlpRoot } from '../otlp/descriptor.ts'
import type { Signal } from './slices.ts'

const REQUESTS: Record<Signal, string> = {
  metrics: 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest',
  spans: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
  logs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest'
}
const HEX_FIELDS = new Set(['traceId', 'spanId', 'parentSpanId'])
const DEPTH_MAX = 100 // As protobuf's own recursion limit; a request is 10 deep, the rest is nested attribute values.
const decoder = new TextDecoder('utf-8', { fatal: true })

/** @throws AppError `malformed_otlp` that says where */
export function protobufFromJson(signal: Signal, body: Uint8Array): Uint8Array {
  let json: unknown
  try {
    json = JSON.parse(decoder.decode(body))
  } catch (cause) {
    throw new AppError('malformed_otlp', `the body is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  const writer = protobuf.Writer.create()
  writeMessage(writer, otlpRoot().lookupType(REQUESTS[signal]), json, '', 0)
  return writer.finish()
}

function writeMessage(writer: protobuf.Writer, type: protobuf.Type, json: unknown, path: string, depth: number): void {
  if (depth > DEPTH_MAX) throw refused(path.slice(0, 80), `nested deeper than ${DEPTH_MAX}`)
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw refused(path, 'an object is expected')
  const object = json as Record<string, unknown>
  for (const field of type.fieldsArray) {
    if (!Object.hasOwn(object, field.name)) continue
    const value = object[field.name]
    if (value === null) continue
    const here = path === '' ? field.name : `${path}.${field.name}`
    if (!field.repeated) {
      writeField(writer, field, value, here, depth)
      continue
    }
    if (!Array.isArray(value)) throw refused(here, 'an array is expected')
    if (isPacked(field)) writePacked(writer, field, value, here)
    else for (let i = 0; i < value.length; i++) writeField(writer, field, value[i], `${here}[${i}]`, depth)
  }
}

/** Numbers in repeated fields travel packed in proto3. */
function isPacked(field: protobuf.Field): boolean {
  return !(field.resolvedType instanceof protobuf.Type) && field.type !== 'string' && field.type !== 'bytes'
}

function writePacked(writer: protobuf.Writer, field: protobuf.Field, values: readonly unknown[], path: string): void {
  if (values.length === 0) return
  writer.uint32((field.id << 3) | 2).fork()
  for (let i = 0; i < values.length; i++) writeScalar(writer, field, values[i], `${path}[${i}]`)
  writer.ldelim()
}

function writeField(writer: protobuf.Writer, field: protobuf.Field, value: unknown, path: string, depth: number): void {
  if (field.resolvedType instanceof protobuf.Type) {
    writer.uint32((field.id << 3) | 2).fork()
    writeMessage(writer, field.resolvedType, value, path, depth + 1)
    writer.ldelim()
    return
  }
  const wire = protobuf.types.basic[scalarType(field) as keyof typeof protobuf.types.basic]
  writer.uint32((field.id << 3) | wire)
  writeScalar(writer, field, value, path)
}

function scalarType(field: protobuf.Field): string {
  return field.resolvedType instanceof protobuf.Enum ? 'int32' : field.type
}

function writeScalar(writer: protobuf.Writer, field: protobuf.Field, value: unknown, path: string): void {
  const type = scalarType(field)
  switch (type) {
    case 'string':
      if (typeof value !== 'string') throw refused(path, 'a string is expected')
      writer.string(value)
      return
    case 'bool':
      if (typeof value !== 'boolean') throw refused(path, 'true or false is expected')
      writer.bool(value)
      return
    case 'double':
      writer.double(double(value, path))
      return
    case 'bytes':
      writer.bytes(HEX_FIELDS.has(field.name) ? hex(value, path) : base64(value, path))
      return
    default:
      writeInteger(writer, type, value, path)
  }
}

const RANGES: Readonly<Record<string, readonly [min: bigint, max: bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  sint32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  fixed32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  sfixed64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  fixed64: [0n, 2n ** 64n - 1n]
}

function writeInteger(writer: protobuf.Writer, type: string, value: unknown, path: string): void {
  const range = RANGES[type]
  if (range === undefined) throw new AppError('bug', `no mapping of protobuf type ${type} at ${path}`)
  const whole = (typeof value === 'number' && Number.isInteger(value)) || (typeof value === 'string' && /^-?\d{1,20}$/.test(value))
  if (!whole) throw refused(path, 'an integer is expected')
  const integer = BigInt(value as number | string)
  if (integer < range[0] || integer > range[1]) throw refused(path, `${integer} does not fit ${type}`)
  const bits = BigInt.asUintN(64, integer)
  const long = { low: Number(bits & 0xffff_ffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: integer >= 0n }
  switch (type) {
    case 'int32':
      writer.int32(Number(integer))
      return
    case 'sint32':
      writer.sint32(Number(integer))
      return
    case 'uint32':
      writer.uint32(Number(integer))
      return
    case 'fixed32':
      writer.fixed32(Number(integer))
      return
    case 'int64':
    case 'uint64':
      writer.uint64(long as protobuf.Long)
      return
    default:
      writer.fixed64(long as protobuf.Long)
  }
}

function double(value: unknown, path: string): number {
  if (typeof value === 'number') return value
  if (value === 'NaN') return Number.NaN
  if (value === 'Infinity') return Number.POSITIVE_INFINITY
  if (value === '-Infinity') return Number.NEGATIVE_INFINITY
  if (typeof value === 'string' && /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)) return Number(value)
  throw refused(path, 'a number is expected')
}

function hex(value: unknown, path: string): Buffer {
  if (typeof value !== 'string' || value.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(value)) throw refused(path, 'an id in hex digits is expected')
  return Buffer.from(value, 'hex')
}

function base64(value: unknown, path: string): Buffer {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) throw refused(path, 'base64 is expected')
  return Buffer.from(value, 'base64')
}

function refused(path: string, what: string): AppError {
  return new AppError('malformed_otlp', `not an OTLP request: ${what} at ${path === '' ? 'the top of the document' : path}`, { details: { path } })
}
