// Numbers as people read them: `142 MB`, `1.8 s`, `12.5 %`, `30/s`. Rare path: only for anomalies' sentences.

const SHARE_MAX = 1.5
/** Shorter times are told in hours. */
const DAYS_FROM_S = 2 * 86_400

/**
 * Text of a value with its unit.
 * @param unit UCUM unit as sent (`By`, `s`, `1`, `%`, `{request}`)
 * @param rate the value is the unit per second
 */
export function formatValue(value: number, unit: string, rate: boolean): string {
  if (!Number.isFinite(value)) return 'unknown'
  switch (unit) {
    case 'By':
      return `${scaled(value, 1_000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'])}${rate ? '/s' : ''}`
    case 's':
      return rate ? `${digits(value * 100)} % of one core` : formatSeconds(value)
    case 'ms':
      return rate ? `${digits(value)} ms/s` : formatSeconds(value / 1e3)
    case 'us':
      return rate ? `${digits(value)} µs/s` : formatSeconds(value / 1e6)
    case 'ns':
      return rate ? `${digits(value)} ns/s` : formatSeconds(value / 1e9)
    case '1':
      // A dimensionless value is a share where it looks like one; many senders give counts the unit 1 too.
      return rate ? `${digits(value)}/s` : Math.abs(value) <= SHARE_MAX ? `${digits(value * 100)} %` : digits(value)
    case '%':
      return `${digits(value)} %${rate ? '/s' : ''}`
    default: {
      const annotation = /^\{(.*)\}$/.exec(unit)
      const name = annotation ? annotation[1]! : unit
      return `${digits(value)}${name === '' ? '' : ` ${name}${Math.abs(value) === 1 || name.endsWith('s') || !annotation ? '' : 's'}`}${rate ? '/s' : ''}`
    }
  }
}

/** `14:03:07 UTC` */
export function formatTime(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(11, 19)} UTC`
}

/** `4 s`, `2 min 5 s`, `3 h`, `12 days`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 60) return ms < 1_000 ? `${Math.round(ms)} ms` : `${digits(ms / 1_000)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min${seconds % 60 === 0 ? '' : ` ${seconds % 60} s`}`
  return seconds < DAYS_FROM_S ? `${digits(seconds / 3_600)} h` : `${digits(seconds / 86_400)} days`
}

function formatSeconds(value: number): string {
  const size = Math.abs(value)
  if (size >= 120 || value === 0) return value === 0 ? '0 s' : `${value < 0 ? '-' : ''}${formatDuration(size * 1e3)}`
  if (size >= 1) return `${digits(value)} s`
  if (size >= 1e-3) return `${digits(value * 1e3)} ms`
  return `${digits(value * 1e6)} µs`
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let index = 0
  let size = value
  while (Math.abs(size) >= step && index < units.length - 1) {
    size /= step
    index++
  }
  return `${digits(size)} ${units[index]}`
}

/** Three significant digits, no trailing zeros, no exponent between a millionth and a billion. */
function digits(value: number): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e9 || size < 1e-6) return value.toExponential(1)
  if (size >= 100) return Math.round(value).toString()
  return Number(value.toPrecision(size >= 10 ? 3 : 2)).toString()
}
