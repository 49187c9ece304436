// Numbers, durations and times for people.

export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–'
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} m`
}

export const time = ms => new Date(ms).toLocaleTimeString('sv-SE')

/** The time of today; with its date where it is another day's. */
export const moment = ms => (new Date(ms).toDateString() === new Date().toDateString() ? time(ms) : new Date(ms).toLocaleString('sv-SE'))

const UNITS = { By: ['B', 'KiB', 'MiB', 'GiB', 'TiB'] }

/** A value with its UCUM unit: bytes by powers of 1024, seconds below one as milliseconds, ratios as they are. */
export function quantity(value, unit = '') {
  if (value === null || value === undefined || Number.isNaN(Number(value))) return '–'
  let number = Number(value)
  if (unit === 's' && Math.abs(number) < 1 && number !== 0) return `${(number * 1000).toPrecision(3)} ms`
  if (UNITS[unit]) {
    let step = 0
    while (Math.abs(number) >= 1024 && step < UNITS[unit].length - 1) {
      number /= 1024
      step++
    }
    return `${number.toPrecision(3)} ${UNITS[unit][step]}`
  }
  const text = Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(3)))
  return unit && unit !== '1' ? `${text} ${unit.replace(/^\{(.*)\}$/, '$1')}` : text
}
