// Axes: round numbers with a unit that people say, and round times.
//
// All labels of an axis share one unit (`0`, `50`, `100 MB`), unlike the sentences of anomalies, which choose one for each number.

export interface Tick {
  /** In the axis' own numbers: unit as sent, or epoch ms. */
  at: number
  label: string
}

export interface Axis {
  min: number
  max: number
  ticks: Tick[]
}

interface Unit {
  /** Axis number × this = shown number. */
  factor: number
  name: string
}

const MS_PER_S = 1_000

/** An axis that holds [min, max] with about `count` round ticks. @param unit UCUM unit as sent @param rate per second */
export function valueAxis(range: { min: number; max: number }, unit: string, rate: boolean, count: number): Axis {
  const { factor, name } = shownUnit(Math.max(Math.abs(range.min), Math.abs(range.max)), unit, rate)
  const low = range.min * factor
  const high = range.max * factor
  const step = roundStep((high - low) / Math.max(1, count - 1))
  const first = Math.floor(low / step + 1e-9)
  const last = Math.ceil(high / step - 1e-9)
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  const ticks: Tick[] = []
  for (let index = first; index <= last; index++) {
    const shown = index * step
    const text = Math.abs(shown) >= 1e6 ? compact(shown) : shown.toFixed(Math.min(decimals, 12))
    ticks.push({ at: shown / factor, label: `${text}${name === '' ? '' : ` ${name}`}` })
  }
  return { min: ticks[0]!.at, max: ticks.at(-1)!.at, ticks }
}

/** 1, 2 or 5 times a power of ten, at least `step`. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step))
  const share = step / power
  return power * (share <= 1 + 1e-9 ? 1 : share <= 2 + 1e-9 ? 2 : share <= 5 + 1e-9 ? 5 : 10)
}

function compact(value: number): string {
  return new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 3 }).format(value)
}

/** Seconds in units that are sent. */
const TIME_UNITS: Readonly<Record<string, number>> = { s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9, min: 60, h: 3_600 }
const BYTES: readonly [from: number, name: string][] = [
  [1e12, 'TB'],
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
  [0, 'B']
]
const SECONDS: readonly [from: number, size: number, name: string][] = [
  [7_200, 3_600, 'h'],
  [120, 60, 'min'],
  [1, 1, 's'],
  [1e-3, 1e-3, 'ms'],
  [0, 1e-6, 'µs']
]
/** A dimensionless number up to here looks like a share. */
const SHARE_MAX = 1.5

function shownUnit(largest: number, unit: string, rate: boolean): Unit {
  const perSecond = rate ? '/s' : ''
  if (unit === 'By') {
    const [from, name] = BYTES.find(([least]) => largest >= least)!
    return { factor: 1 / Math.max(from, 1), name: `${name}${perSecond}` }
  }
  const seconds = TIME_UNITS[unit]
  if (seconds !== undefined && rate) return { factor: 100 * seconds, name: '% of a core' }
  if (seconds !== undefined) {
    const [, size, name] = SECONDS.find(([least]) => largest * seconds >= least)!
    return { factor: seconds / size, name }
  }
  if (unit === '1' && !rate && largest <= SHARE_MAX) return { factor: 100, name: '%' }
  if (unit === '1' || unit === '') return { factor: 1, name: perSecond }
  return { factor: 1, name: `${/^\{.*\}$/.test(unit) ? (rate ? '' : unit.slice(1, -1)) : unit}${perSecond}` }
}

const TIME_STEPS_S: readonly number[] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800]
const DAY_S = 86_400

/** At most `count` round times of [fromMs, toMs], in UTC. */
export function timeAxis(fromMs: number, toMs: number, count: number): Axis {
  const step =
    (TIME_STEPS_S.find(seconds => (toMs - fromMs) / (seconds * MS_PER_S) <= count) ?? Math.ceil((toMs - fromMs) / count / DAY_S / MS_PER_S) * DAY_S) * MS_PER_S
  const ticks: Tick[] = []
  for (let at = Math.ceil(fromMs / step) * step; at <= toMs; at += step) {
    const text = new Date(at).toISOString()
    ticks.push({
      at,
      label: step >= DAY_S * MS_PER_S || (step >= 10_800_000 && text.slice(11, 16) === '00:00') ? text.slice(5, 10) : text.slice(11, step < 60_000 ? 19 : 16)
    })
  }
  return { min: fromMs, max: toMs, ticks }
}
