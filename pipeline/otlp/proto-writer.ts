// A small protobuf writer: fields appended to one growing buffer, nested messages closed by moving their bytes behind their length.
//
// Flow: writer.ts encodes derived points with it; tests and benchmarks build requests with it. Not for the hot path.

const INITIAL_BYTES = 4096
const TWO_32 = 4_294_967_296
const LENGTH_BYTES_MAX = 5

export interface ProtoWriter {
  /** Any unsigned integer below 2^53, with wire type 0. Zero is written too: leaving defaults out is the caller's choice. */
  varint(field: number, value: number): void
  /** Zigzag of a signed 32-bit integer. */
  sint32(field: number, value: number): void
  fixed64(field: number, value: bigint): void
  double(field: number, value: number): void
  text(field: number, value: string): void
  bytes(field: number, value: Uint8Array): void
  packedDoubles(field: number, values: readonly number[]): void
  packedFixed64(field: number, values: readonly number[]): void
  packedVarints(field: number, values: readonly number[]): void
  /** Fields that are encoded already, tags included. */
  fields(encoded: Uint8Array): void
  /** A nested message: whatever `write` appends. */
  message(field: number, write: () => void): void
  /** What was written so far, as a copy. */
  finish(): Uint8Array
}

export function makeProtoWriter(): ProtoWriter {
  let buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  let size = 0

  function reserve(more: number): void {
    if (size + more <= buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, size + more))
    buffer.copy(grown, 0, 0, size)
    buffer = grown
  }

  function number(value: number): void {
    reserve(10)
    let rest = value
    while (rest > 127) {
      buffer[size++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    buffer[size++] = rest
  }

  /** Appends tag and what `write` appends, then makes room for the length between them. */
  function delimited(field: number, write: () => void): void {
    number(field * 8 + 2)
    const start = size
    reserve(LENGTH_BYTES_MAX)
    size = start + 1
    write()
    const length = size - start - 1
    const extra = lengthSize(length) - 1
    reserve(extra)
    if (extra > 0) buffer.copyWithin(start + 1 + extra, start + 1, size)
    size = start
    number(length)
    size = start + 1 + extra + length
  }

  function eight(write: () => void): void {
    reserve(8)
    write()
    size += 8
  }

  const writer: ProtoWriter = {
    varint(field, value) {
      number(field * 8)
      number(value)
    },
    sint32(field, value) {
      number(field * 8)
      number(((value << 1) ^ (value >> 31)) >>> 0)
    },
    fixed64(field, value) {
      number(field * 8 + 1)
      eight(() => buffer.writeBigUInt64LE(BigInt.asUintN(64, value), size))
    },
    double(field, value) {
      number(field * 8 + 1)
      eight(() => buffer.writeDoubleLE(value, size))
    },
    text(field, value) {
      writer.bytes(field, Buffer.from(value))
    },
    bytes(field, value) {
      number(field * 8 + 2)
      number(value.length)
      writer.fields(value)
    },
    fields(encoded) {
      reserve(encoded.length)
      buffer.set(encoded, size)
      size += encoded.length
    },
    packedDoubles(field, values) {
      delimited(field, () => {
        for (const value of values) eight(() => buffer.writeDoubleLE(value, size))
      })
    },
    packedFixed64(field, values) {
      delimited(field, () => {
        for (const value of values) {
          eight(() => {
            buffer.writeUInt32LE(value % TWO_32, size)
            buffer.writeUInt32LE(Math.floor(value / TWO_32), size + 4)
          })
        }
      })
    },
    packedVarints(field, values) {
      delimited(field, () => {
        for (const value of values) number(value)
      })
    },
    message: delimited,
    finish: () => Uint8Array.from(buffer.subarray(0, size))
  }
  return writer
}

function lengthSize(length: number): number {
  let bytes = 1
  for (let rest = length; rest > 127; rest = Math.floor(rest / 128)) bytes++
  return bytes
}
