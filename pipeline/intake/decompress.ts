// Request bodies out of gzip and zstd, on libuv's threads, never larger than the limit.
//
// A bomb is stopped while it unpacks: output is capped, zstd's window too, and only a few bodies unpack at the same time,
// so that what lies between compressed and decompressed, which admission does not count, stays bounded as well.

import { availableParallelism } from 'node:os'
import { constants, gunzip, type InputType, type ZlibOptions, type ZstdOptions, zstdDecompress } from 'node:zlib'
import { AppError } from '../../schemas/errors.ts'

export type Encoding = 'identity' | 'gzip' | 'zstd'

/** As many as cores, at most half of libuv's four threads and more: more would only hold more memory. */
const CONCURRENT_MAX = Math.max(2, Math.min(4, availableParallelism()))
const WAITING_MAX = 1_000 // Compressed bodies in line; their bytes are counted by admission.
const ZSTD_WINDOW_LOG_MAX = 25 // 32 MiB: what encoders use at their highest usual level. The decoder allocates the window.
const CHUNK_BYTES_MIN = 16 * 1_024
const CHUNK_BYTES_MAX = 1_024 * 1_024 // One trip to a thread a chunk: with zlib's own 16 KiB a body of 2.6 MB makes 160 trips.
const EXPECTED_RATIO = 8 // Collector batches shrink 4 to 14 times.

export interface Decompressor {
  /**
   * @throws AppError `body_too_large` beyond `bytesMax`, `malformed_otlp` when the stream is broken, `overloaded` when too many wait
   */
  decompress(body: Uint8Array, encoding: Encoding, bytesMax: number): Promise<Uint8Array>
}

export function openDecompressor(): Decompressor {
  let running = 0
  const waiting: (() => void)[] = []

  async function enter(): Promise<void> {
    if (running < CONCURRENT_MAX) {
      running++
      return
    }
    if (waiting.length >= WAITING_MAX) throw new AppError('overloaded', `${WAITING_MAX} bodies wait to be decompressed; send again later`)
    await new Promise<void>(resolve => waiting.push(resolve)) // The one who leaves hands its place over.
  }
  function leave(): void {
    const next = waiting.shift()
    if (next) next()
    else running--
  }

  return {
    async decompress(body, encoding, bytesMax) {
      if (encoding === 'identity') return body
      await enter()
      try {
        return await unpack(body, encoding, bytesMax)
      } finally {
        leave()
      }
    }
  }
}

function unpack(body: Uint8Array, encoding: 'gzip' | 'zstd', bytesMax: number): Promise<Uint8Array> {
  const chunkSize = Math.min(Math.max(body.length * EXPECTED_RATIO, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX)
  return new Promise((resolve, reject) => {
    const settle = (error: NodeJS.ErrnoException | null, result: Uint8Array): void => {
      if (error === null) resolve(result)
      else if (error.code === 'ERR_BUFFER_TOO_LARGE') reject(tooLarge(bytesMax, 'decompressed'))
      else reject(new AppError('malformed_otlp', `the body is not valid ${encoding}: ${error.message}`, { cause: error }))
    }
    if (encoding === 'gzip') gunzip(body as InputType, { chunkSize, maxOutputLength: bytesMax } satisfies ZlibOptions, settle)
    else zstdDecompress(body as InputType, { ...ZSTD, chunkSize, maxOutputLength: bytesMax }, settle)
  })
}

const ZSTD: ZstdOptions = { params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } }

/** The permanent refusal of a body over the limit. */
export function tooLarge(bytesMax: number, what: 'received' | 'decompressed'): AppError {
  return new AppError('body_too_large', `the ${what} body is over the limit of ${bytesMax} bytes; send smaller batches or raise intake.bodyBytesMax`)
}
