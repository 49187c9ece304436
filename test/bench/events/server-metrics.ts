// The data sets of multivariate server metrics (SMD, ASD): one pair of files a machine, `<name>.train.csv[.gz]` without labels to
// warm up on, `<name>.test.csv[.gz]` with a last column `label`. Files without times: rows are one interval apart.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** How far apart the rows of each data set are (the sets' own descriptions). */
export const INTERVALS_MS = { smd: 60_000, asd: 300_000 } as const

const DIMENSIONS = /^(\d+)-(\d+):([\d,]+)$/

export interface Machine {
  name: string
  /** Columns of a row, label not counted. */
  metrics: number
  train: Float64Array[]
  test: Float64Array[]
  /** Read for scoring only; the detector never sees it. */
  labels: Uint8Array
  /** Which metrics explain an event, by its first row: ground truth for contributions. Empty when the data set has none. */
  causes: ReadonlyMap<number, ReadonlySet<number>>
}

/** Names of the machines of a folder, sorted. */
export function machineNames(folder: string): string[] {
  const names = readdirSync(folder).flatMap(file => /^(.+)\.test\.csv(\.gz)?$/.exec(file)?.[1] ?? [])
  if (names.length === 0) throw new Error(`${folder} holds no <name>.test.csv or <name>.test.csv.gz`)
  return names.sort()
}

/** Reads one machine. */
export function readMachine(folder: string, name: string): Machine {
  const { rows: train } = table(folder, `${name}.train.csv`)
  const { rows: labelled, header } = table(folder, `${name}.test.csv`)
  const metrics = header.length - 1
  if (header.at(-1) !== 'label') throw new Error(`${name}.test.csv has no last column label`)
  return {
    name,
    metrics,
    train,
    test: labelled.map(row => row.subarray(0, metrics)),
    labels: Uint8Array.from(labelled, row => row[metrics]!),
    causes: readCauses(folder, name)
  }
}

function table(folder: string, name: string): { header: string[]; rows: Float64Array[] } {
  const files = readdirSync(folder)
  const file = files.includes(name) ? name : `${name}.gz`
  const bytes = readFileSync(join(folder, file))
  const lines = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString().split('\n')
  const header = lines[0]!.trim().split(',')
  const rows = lines
    .slice(1)
    .flatMap(line => (line.trim() === '' ? [] : [Float64Array.from(line.split(','), cell => (cell.trim() === '' ? Number.NaN : Number(cell)))]))
  return { header, rows }
}

/** `first-last:metrics`: rows counted from zero, metrics from one. */
function readCauses(folder: string, name: string): Map<number, Set<number>> {
  const file = `${name}.dims.txt`
  const causes = new Map<number, Set<number>>()
  if (!readdirSync(folder).includes(file)) return causes
  for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
    const match = DIMENSIONS.exec(line.trim())
    if (match !== null) causes.set(Number(match[1]), new Set(match[3]!.split(',').map(metric => Number(metric) - 1)))
  }
  return causes
}
