// The NAB corpus in memory: values, times, and what its scorer needs to know of the labels.
//
// `Series` is what a detector may see. `Labels` is read by scoring.ts alone.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Series {
  /** `<folder>/<file>.csv`, also the path of its results. */
  path: string
  folder: string
  stamps: string[]
  timesMs: Float64Array
  values: Float64Array
}

export interface Labels {
  /** Window of each row, or -1. */
  window: Int32Array
  /** Unweighted credit of a detection at that row: (0,1] inside a window, [-1,0] outside. */
  credit: Float64Array
  windowCount: number
  /** Rows before this one are never scored. */
  scoredFrom: number
}

export interface Corpus {
  series: Series[]
  labels: Labels[]
}

const PROBATION_SHARE = 0.15
const PROBATION_ROWS_MAX = 750

/** @param dir a folder with data/ and combined_windows.json */
export function readCorpus(dir: string): Corpus {
  const windows: Record<string, [string, string][]> = JSON.parse(readFileSync(join(dir, 'combined_windows.json'), 'utf8'))
  const corpus: Corpus = { series: [], labels: [] }
  for (const folder of readdirSync(join(dir, 'data')).sort()) {
    for (const file of readdirSync(join(dir, 'data', folder)).sort()) {
      const path = `${folder}/${file}`
      const ranges = windows[path]
      if (ranges === undefined) continue
      const one = readSeries(join(dir, 'data', path), path, folder)
      corpus.series.push(one)
      corpus.labels.push(labelsOf(one.stamps.map(plain), ranges))
    }
  }
  return corpus
}

function readSeries(file: string, path: string, folder: string): Series {
  const rows = readFileSync(file, 'utf8').split(/\r?\n/).slice(1).filter(Boolean)
  const stamps = rows.map(row => row.slice(0, row.indexOf(',')))
  return {
    path,
    folder,
    stamps,
    timesMs: Float64Array.from(stamps, stamp => Date.parse(`${plain(stamp).replace(' ', 'T')}Z`)),
    values: Float64Array.from(rows, row => Number(row.slice(row.indexOf(',') + 1)))
  }
}

/** Without fractions of a second, which the windows carry and the data do not. */
function plain(stamp: string): string {
  return stamp.split('.')[0]!.trim()
}

/** NAB's scaled sigmoid: -1..0 inside a window (left edge -1), above 0 behind it; -1 beyond three widths. */
function sigmoid(position: number): number {
  return position > 3 ? -1 : 2 / (1 + Math.exp(5 * position)) - 1
}

function labelsOf(stamps: readonly string[], ranges: readonly [string, string][]): Labels {
  const count = stamps.length
  const labels: Labels = {
    window: new Int32Array(count).fill(-1),
    credit: new Float64Array(count),
    windowCount: ranges.length,
    scoredFrom: Math.min(Math.floor(PROBATION_SHARE * count), PROBATION_ROWS_MAX)
  }
  let next = 0
  let open: { right: number; width: number; end: string } | undefined
  let behind: { right: number; width: number } | undefined
  for (const [row, stamp] of stamps.entries()) {
    const range = ranges[next]
    if (range && stamp === plain(range[0])) {
      const end = plain(range[1])
      const right = stamps.indexOf(end)
      open = { right, width: right - stamps.indexOf(stamp) + 1, end }
      next++
    }
    if (open) {
      labels.window[row] = next - 1
      labels.credit[row] = sigmoid(-(open.right - row + 1) / open.width) / sigmoid(-1)
    } else labels.credit[row] = behind ? sigmoid(Math.abs(behind.right - row) / (behind.width - 1)) : -1
    if (open && stamp === open.end) {
      behind = { right: row, width: open.width }
      open = undefined
    }
  }
  return labels
}
