// `homeostat score`: CSV files through the detectors that score live telemetry, without an instance or a store.

import { statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import type { Command } from 'commander'
import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import type { LoadedConfig } from '../config/load.ts'
import { openProgress } from './backtest-progress.ts'
import { formatDuration, type Output } from './output.ts'
import { type ScoredFile, scoreFile } from './score-file.ts'
import { hints, scoreText } from './score-report.ts'

export interface ScorePorts {
  loaded(): LoadedConfig
  output(): Output
  clock: Clock
  /** Where relative files are. */
  folder: string
  stderr: NodeJS.WriteStream
}

interface ScoreOptions {
  out: string
  unit?: string
}

/** Adds the command to `program`. */
export function registerScore(program: Command, ports: ScorePorts): void {
  program
    .command('score')
    .description('score CSV files with the detectors that score live telemetry: a score, an anomaly flag and a band for every row')
    .argument('<csv...>', 'files of lines timestamp,value[,value…]')
    .requiredOption('--out <dir>', 'where to write one CSV per file, under the same relative name')
    .option('--unit <unit>', 'unit of the values (1, %, s, ms, By …), or of single columns: latency=ms,errors=1 (default: none)')
    .addHelpText('after', NOTES)
    .action((files: string[], options: ScoreOptions) => score(ports, files, options))
}

const NOTES = `
Timestamps are ISO 8601, YYYY-MM-DD HH:MM:SS (UTC), epoch seconds or epoch milliseconds; the first one decides for its file. A first line
that does not begin with a timestamp names the columns. Each value column is a series, all of them together one entity: from four columns
on, how they fit each other is judged, too. A column's name decides which way it hurts, as a metric's name does (of errors or latency only
too much), and its unit how small a deviation does not matter: without a unit less than 5, of shares (--unit 1) less than 0.2. Both can
be set in the configuration, by column: detect.metrics.

Written for each row: timestamp,score,anomaly,expected,lower,upper,detector,metric
  score     −log10 of the false alarms a day: 3 is expected once in a thousand days of a normal series; 0: usual, or not known yet
  anomaly   1 while an anomaly is open, of any column or of all together; detector says whose
  expected  and the band lower to upper of the column that score is about (metric), as they were before the row was learned
Values that are late, duplicate, empty or no number are left out and counted; a row that has only such values has no score.
Every row is judged by those before it alone. The same file and configuration give the same result.

Examples:
  homeostat score cpu.csv --unit % --out scored
  homeostat -c candidate.yaml score data/*.csv --unit latency=ms,errors=1 --out scored --json`

async function score(ports: ScorePorts, files: readonly string[], options: ScoreOptions): Promise<void> {
  const { config } = ports.loaded()
  const startedMs = ports.clock.monotonicMs()
  const unitOf = parseUnits(options.unit)
  const plan = planOf(ports.folder, files, options.out)
  const output = ports.output()
  const progress = openProgress(ports.stderr, () => ports.clock.monotonicMs())
  const bytesAll = plan.reduce((sum, { bytes }) => sum + bytes, 0)
  const results: ScoredFile[] = []
  let bytesBefore = 0
  let rowsBefore = 0
  try {
    for (const { name, path, out, bytes } of plan) {
      const result = await scoreFile({
        ...{ config, name, path, out, unitOf },
        progress: (bytesRead, rows) =>
          progress.show(bytesAll === 0 ? 1 : (bytesBefore + bytesRead) / bytesAll, `${name}  ${(rowsBefore + rows).toLocaleString('en-US')} rows`)
      })
      results.push(result)
      bytesBefore += bytes
      rowsBefore += result.rows
    }
  } finally {
    progress.clear()
  }
  const tookMs = ports.clock.monotonicMs() - startedMs
  for (const hint of hints(results)) output.say(hint)
  const perSecond = tookMs > 0 ? `, ${Math.round(rowsBefore / (tookMs / 1_000)).toLocaleString('en-US')} rows/s` : ''
  output.say(
    `scored ${rowsBefore.toLocaleString('en-US')} rows in ${formatDuration(tookMs)}${perSecond}; wrote ${results.length === 1 ? results[0]!.out : `${results.length} files below ${options.out}`}`
  )
  output.result(results, scoreText(results))
}

/** `ms` for every column, or `latency=ms,errors=1`. @throws AppError `usage` */
function parseUnits(text: string | undefined): (column: string) => string {
  if (text === undefined) return () => ''
  if (!text.includes('=')) return () => text.trim()
  const units = new Map(
    text.split(',').map((pair): [string, string] => {
      const at = pair.lastIndexOf('=')
      if (at < 1) throw new AppError('usage', `--unit ${text}: ${JSON.stringify(pair)} names no column: write one unit, or column=unit,column=unit`)
      return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
    })
  )
  return column => units.get(column) ?? ''
}

interface Planned {
  /** Path below the folder that all files share, or below the current one: their name in the output folder. */
  name: string
  path: string
  out: string
  bytes: number
}

/** What is read and written; mistakes are found before hours of scoring. @throws AppError `usage` */
function planOf(folder: string, files: readonly string[], outFolder: string): Planned[] {
  const paths = [...new Set(files.map(file => resolve(folder, file)))]
  const isInside = paths.every(path => !isOutside(relative(folder, path)))
  const root = isInside ? folder : sharedFolder(paths)
  const planned = paths.map(path => {
    const name = relative(root, path) || basename(path)
    return { name: name.split(sep).join('/'), path, out: join(resolve(folder, outFolder), name), bytes: sizeOf(path, name) }
  })
  for (const { path, name, out } of planned) {
    if (paths.includes(out)) throw new AppError('usage', `--out ${outFolder} would write over ${name === path ? path : name}: give another folder`)
  }
  return planned
}

const isOutside = (path: string): boolean => path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path)

function sharedFolder(paths: readonly string[]): string {
  let shared = dirname(paths[0]!)
  while (paths.some(path => isOutside(relative(shared, path)))) shared = dirname(shared)
  return shared
}

function sizeOf(path: string, name: string): number {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) throw new AppError('usage', `${name}: there is no such file: give CSV files`)
  if (found.isDirectory()) throw new AppError('usage', `${name} is a folder: give its files, like ${name}/*.csv`)
  return found.size
}
