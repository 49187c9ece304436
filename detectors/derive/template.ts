// Log templates: a message with its variable parts masked, so that occurrences of one statement are counted together.
//
// Flow: logs.ts -> template. Works on UTF-8 bytes into a scratch buffer and hashes the result: no allocation per record, a
// string is made only for a template that is new. Masks are generic (no configuration per system): quoted text, UUIDs,
// IP addresses, paths and URLs, durations, hexadecimal and decimal numbers, and digits inside words.

/** A message is looked at only so far; what tells templates apart stands at the beginning. */
export const TEMPLATE_BYTES_MAX = 512
const WORDS_MAX = 64

const SPACE = 0x20
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: false })
const mask = (name: string): Uint8Array => encoder.encode(`<${name}>`)
const MASKS = { quoted: mask('text'), uuid: mask('uuid'), ip: mask('ip'), path: mask('path'), duration: mask('duration'), hex: mask('hex'), number: mask('n') }
const UUID_LENGTH = 36
const HEX_LENGTH_MIN = 8

export interface Templater {
  /** Masks bytes[start, end); the result is read from `hashLow`, `hashHigh` and `text()` until the next call. */
  mask(bytes: Uint8Array, start: number, end: number): void
  hashLow: number
  hashHigh: number
  text(): string
}

export function templater(): Templater {
  // Masks may be longer than what they stand for (`7` -> `<n>`), at most three times.
  const out = new Uint8Array(TEMPLATE_BYTES_MAX * 4)
  let length = 0
  const put = (bytes: Uint8Array): void => {
    out.set(bytes, length)
    length += bytes.length
  }
  const self: Templater = {
    hashLow: 0,
    hashHigh: 0,
    text: () => decoder.decode(out.subarray(0, length)),
    mask(bytes, start, end) {
      length = 0
      const stop = Math.min(end, start + TEMPLATE_BYTES_MAX)
      let at = start
      for (let words = 0; at < stop && words < WORDS_MAX; words++) {
        while (at < stop && isSeparator(bytes[at]!)) {
          const byte = bytes[at++]!
          // Runs of white space count as one blank: alignment is not meaning.
          if (byte > SPACE) out[length++] = byte
          else if (length > 0 && out[length - 1] !== SPACE) out[length++] = SPACE
        }
        if (at >= stop) break
        const first = bytes[at]!
        if (first === QUOTE || first === APOSTROPHE) {
          const close = bytes.indexOf(first, at + 1)
          if (close > at && close < stop) {
            put(MASKS.quoted)
            at = close + 1
            continue
          }
          out[length++] = first
          at++
          continue
        }
        let wordEnd = at
        while (wordEnd < stop && !isSeparator(bytes[wordEnd]!) && bytes[wordEnd] !== QUOTE) wordEnd++
        putWord(bytes, at, wordEnd)
        at = wordEnd
      }
      while (length > 0 && out[length - 1] === SPACE) length--
      hash()
    }
  }

  /** One word: masked whole when it is a value, copied with its digits masked else. */
  function putWord(bytes: Uint8Array, start: number, end: number): void {
    const whole = wholeMask(bytes, start, end)
    if (whole !== undefined) {
      put(whole)
      return
    }
    for (let at = start; at < end; ) {
      if (!isDigit(bytes[at]!)) {
        out[length++] = bytes[at++]!
        continue
      }
      while (at < end && isDigit(bytes[at]!)) at++
      put(MASKS.number)
    }
  }

  /** FNV-1a in two lanes of different bases: 64 bits name a template. Fixed, so that ids agree between shards. */
  function hash(): void {
    let low = 0x811c9dc5
    let high = 0x9747b28c
    for (let at = 0; at < length; at++) {
      low = Math.imul(low ^ out[at]!, 0x01000193)
      high = Math.imul(high ^ out[at]!, 0x85ebca6b)
      high ^= high >>> 15
    }
    self.hashLow = low >>> 0
    self.hashHigh = high >>> 0
  }

  return self
}

const QUOTE = 0x22
const APOSTROPHE = 0x27
const SLASH = 0x2f
const COLON = 0x3a
const DOT = 0x2e
const DASH = 0x2d

/** White space and the punctuation that stands between words: , ; ( ) [ ] { } = < > | */
function isSeparator(byte: number): boolean {
  return byte <= SPACE || (byte < 128 && SEPARATORS[byte] === 1)
}
const SEPARATORS = new Uint8Array(128)
for (const character of ',;()[]{}=<>|') SEPARATORS[character.charCodeAt(0)] = 1

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39
const isHex = (byte: number): boolean => isDigit(byte) || (byte >= 0x61 && byte <= 0x66) || (byte >= 0x41 && byte <= 0x46)

function wholeMask(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
  let digits = 0
  let hex = 0
  let dots = 0
  let dashes = 0
  let slashes = 0
  let colons = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    if (isDigit(byte)) digits++
    if (isHex(byte)) hex++
    else if (byte === DOT) dots++
    else if (byte === DASH) dashes++
    else if (byte === SLASH) slashes++
    else if (byte === COLON) colons++
  }
  const length = end - start
  if (slashes > 0 && (bytes[start] === SLASH || slashes > 1)) return MASKS.path
  if (digits === 0) return undefined
  if (length === UUID_LENGTH && dashes === 4 && hex === 32) return MASKS.uuid
  if (dots === 3 && digits + dots + colons === length && colons <= 1) return MASKS.ip
  if (digits + dots + dashes + colons === length) return MASKS.number
  if (bytes[start] === 0x30 && (bytes[start + 1]! | 0x20) === 0x78) return MASKS.hex // 0x…
  if (hex === length && length >= HEX_LENGTH_MIN) return MASKS.hex
  if (isDigit(bytes[start]!) && isDuration(bytes, start, end)) return MASKS.duration
  return undefined
}

/** A number followed by a unit of time or size: `12ms`, `1.5s`, `300µs`, `4kB`, `20%`. */
function isDuration(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start
  while (at < end && (isDigit(bytes[at]!) || bytes[at] === DOT)) at++
  return end - at <= 3 && UNITS.has(decoder.decode(bytes.subarray(at, end)).toLowerCase())
}
const UNITS = new Set(['ns', 'us', 'µs', 'ms', 's', 'm', 'h', 'd', 'min', 'b', 'kb', 'mb', 'gb', 'kib', 'mib', '%'])
