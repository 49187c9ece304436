// One CSV through the scorer into another, a piece at a time: `homeostat score`.
//
//   file ─► pieces of 256 KB ─► lines ─► CsvTable ─► RowScorer ─► lines ─► <out>.part ─► <out>, when all of it is written
//
// The next piece is read when the last one is written, so memory does not grow with the file. Ended early, it leaves no <out>.

import { createReadStream, statSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Anomaly, SEVERITIES } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { type JudgedRow, openRowScorer, type RowScorer } from '../roles/row-scorer.ts'
import { type CsvPlace, CsvTable } from './score-table.ts'
import type { TimeForm } from './score-time.ts'
import { cannotWrite, outputFolder } from './write-output.ts'

const PIECE_BYTES = 2 ** 18
/** 1,000 columns of 20 digits need 21,000. */
const LINE_CHARS_MAX = 2 ** 20
/** Anomalies of a file that are told, the strongest; all are counted. */
export const ANOMALIES_TOLD_MAX = 20
/** Of one metric at least so many of them: a column that chatters does not take the place of the others. */
const ANOMALIES_OF_METRIC_MIN = 3
export const HEADER = 'timestamp,score,anomaly,expected,lower,upper,detector,metric'

export interface ScoredFile {
  file: string
  out: string
  timeForm: TimeForm
  rows: number
  /** Values that were judged or learned from. */
  scored: number
  /** Values with a time before, or at, that of the last one of their column. */
  late: number
  duplicate: number
  /** Values that were empty, and that were no number. */
  empty: number
  notNumeric: number
  firstNotNumeric: CsvPlace | undefined
  /** Rows with an open anomaly. */
  anomalousRows: number
  /** How many opened, and the strongest of them in order of time, as they were at their worst. */
  anomalies: number
  strongest: Anomaly[]
  /** Of the anomalies, those worth an incident: warning or critical. */
  warnings: number
  columns: ScoredColumn[]
}

export interface ScoredColumn {
  metric: string
  /** False: detect.ignore names it, or detect.memoryMax is used up. */
  isJudged: boolean
  /** Least deviation that matters, and the largest that there was. */
  deviationMin: number
  deviationMax: number
}

export interface ScoreFileOptions {
  config: Pick<Config, 'detect' | 'environment'>
  /** As messages and anomalies name it: without `.csv` it is the entity. */
  name: string
  path: string
  out: string
  /** Unit of a column. */
  unitOf(column: string): string
  /** Bytes that were read, and rows so far. */
  progress(bytes: number, rows: number): void
}

/** @throws AppError `usage` for a file that cannot be read or written, or that is no table of time series */
export async function scoreFile({ config, name, path, out, unitOf, progress }: ScoreFileOptions): Promise<ScoredFile> {
  const table = new CsvTable(name)
  const kept = strongestOf(() => Math.max(ANOMALIES_OF_METRIC_MIN, Math.ceil(ANOMALIES_TOLD_MAX / table.columns.length)))
  let scorer: RowScorer | undefined
  let metrics: string[] = []
  let anomalousRows = 0
  const judge = (): string => {
    scorer ??= openRowScorer(config, { entity: name.replace(/\.csv$/i, ''), columns: table.columns.map(column => ({ name: column, unit: unitOf(column) })) })
    if (metrics.length === 0) metrics = table.columns.map(quoted)
    const row = scorer.take(table.timeMs, table.values)
    if (row.detectors !== '') anomalousRows++
    for (const anomaly of scorer.anomalies()) kept.take(anomaly)
    return rowText(table.stamp, row, metrics)
  }
  const written = `${out}.part`
  outputFolder('--out', dirname(out))
  if (statSync(out, { throwIfNoEntry: false })?.isDirectory()) throw cannotWrite('--out', out, Object.assign(new Error(), { code: 'EISDIR' }))
  const refuse = (cause: NodeJS.ErrnoException): never => {
    throw cannotWrite('--out', out, cause)
  }
  const handle = await open(written, 'w').catch(refuse)
  try {
    try {
      await handle.appendFile(`${HEADER}\n`).catch(refuse)
      for await (const { lines, bytes } of pieces(path, name)) {
        let text = ''
        for (const line of lines) if (table.take(line)) text += judge()
        if (text !== '') await handle.appendFile(text).catch(refuse)
        progress(bytes, table.rows)
      }
    } finally {
      await handle.close()
    }
    if (table.rows === 0 || scorer === undefined) throw new AppError('usage', `${name}:1:1: no rows: a file has lines like 2026-03-01T14:00:00Z,42`)
    await rename(written, out).catch(refuse)
  } catch (error) {
    await rm(written, { force: true })
    throw error
  }
  const { scored, late, duplicate } = scorer.stats
  const { rows, timeForm, empty, notNumeric, firstNotNumeric } = table
  const columns = scorer.columns.map((column, index) => ({ metric: table.columns[index]!, ...column }))
  return {
    ...{ file: name, out, timeForm: timeForm!, rows, scored, late, duplicate, empty, notNumeric, firstNotNumeric },
    ...{ anomalousRows, anomalies: kept.count, warnings: kept.warnings, strongest: kept.strongest(), columns }
  }
}

/** `NaN` is written as nothing: not known. A row without a value that was taken has no score. */
function rowText(stamp: string, { score, column, expected, lower, upper, detectors }: JudgedRow, metrics: readonly string[]): string {
  const anomaly = detectors === '' ? '0' : '1'
  if (column < 0) return `${stamp},,${anomaly},,,,${detectors},\n`
  const band = Number.isNaN(expected) ? ',,' : `${expected},${lower},${upper}`
  return `${stamp},${score},${anomaly},${band},${detectors},${metrics[column]}\n`
}

const quoted = (text: string): string => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** Lines of a file, a piece at a time, with the bytes read so far. @throws AppError `usage` */
async function* pieces(path: string, name: string): AsyncGenerator<{ lines: string[]; bytes: number }> {
  const decoder = new TextDecoder()
  let rest = ''
  let bytes = 0
  try {
    for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES }) as AsyncIterable<Uint8Array>) {
      bytes += piece.byteLength
      const lines = (rest + decoder.decode(piece, { stream: true })).split(/\r?\n/)
      rest = lines.pop()!
      if (rest.length > LINE_CHARS_MAX)
        throw new AppError('usage', `${name}: a line is longer than ${LINE_CHARS_MAX} characters: is it a CSV file, with lines that end in \\n?`)
      yield { lines, bytes }
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('usage', `${name} cannot be read (${(cause as NodeJS.ErrnoException).code ?? (cause as Error).message}): give CSV files`, { cause })
  }
  rest += decoder.decode()
  if (rest !== '') yield { lines: [rest], bytes }
}

interface Kept {
  take(anomaly: Anomaly): void
  strongest(): Anomaly[]
  readonly count: number
  readonly warnings: number
}

/** Counts anomalies and keeps the strongest, each as it was at its worst. @param ofMetricMax of one metric */
function strongestOf(ofMetricMax: () => number): Kept {
  const byId = new Map<string, Anomaly>()
  /** Open ones that are worth an incident. */
  const warned = new Set<string>()
  let count = 0
  let warnings = 0

  /** O(kept), only when an anomaly opens or gets worse. */
  function dropWeakest(newest: Anomaly, isAmong: (one: Anomaly) => boolean, max: number): void {
    const among = [...byId.values()].filter(isAmong)
    if (among.length <= max) return
    byId.delete(among.reduce((weakest, one) => (strength(one) < strength(weakest) ? one : weakest), newest).id)
  }

  return {
    take(anomaly) {
      const { id, status, severity } = anomaly
      if (status === 'close') return void warned.delete(id)
      if (status === 'open') count++
      if (severity !== 'info' && !warned.has(id)) {
        warned.add(id)
        warnings++
      }
      const known = byId.get(id)
      if (known === undefined || strength(anomaly) > strength(known)) byId.set(id, anomaly)
      if (known !== undefined) return
      dropWeakest(anomaly, one => one.metric === anomaly.metric, ofMetricMax())
      dropWeakest(anomaly, () => true, ANOMALIES_TOLD_MAX)
    },
    strongest: () => [...byId.values()].sort((a, b) => a.sinceMs - b.sinceMs),
    get count() {
      return count
    },
    get warnings() {
      return warnings
    }
  }
}

/** Severity first, then score, which ends far below the step. */
export const strength = ({ severity, score }: Anomaly): number => SEVERITY_STEP * SEVERITIES.indexOf(severity) + score
const SEVERITY_STEP = 1_000
