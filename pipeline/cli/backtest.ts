// `homeostat backtest`: the history in ClickHouse through the detectors once more, with the configuration of today or another one.
//
//   ClickHouse ─► history (pages) ─► replay (the live code) ─► alarms ─► evaluate against labels ─► table, JSON, page with plots
//
// Streaming: memory is one page of rows and the state of the detectors. Runs in this process and writes nothing but the report.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { Anomaly } from '../../schemas/anomaly.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import { type LoadedConfig, loadConfig } from '../config/load.ts'
import { evaluate, type Label, openReplay } from '../roles/backtest.ts'
import { anomalyPicture } from './anomalies-picture.ts'
import { stories } from './anomalies-read.ts'
import { type History, historyRequests } from './backtest-history.ts'
import { incidentLabels, parseLabels } from './backtest-labels.ts'
import { parseDuration, parseMoment } from './backtest-moment.ts'
import { backtestPage } from './backtest-page.ts'
import { openProgress } from './backtest-progress.ts'
import { type Backtest, backtestText, shownAlarms } from './backtest-report.ts'
import { formatDuration, formatUtcMinute, type Output } from './output.ts'
import { outputFolder, writeOutput } from './write-output.ts'

export interface BacktestPorts {
  loaded(): LoadedConfig
  output(): Output
  openHistory(loaded: LoadedConfig): Promise<History>
  clock: Clock
  /** Where relative files are. */
  folder: string
  environment: Readonly<Record<string, string | undefined>>
  stderr: NodeJS.WriteStream
}

interface BacktestOptions {
  from: string
  to: string
  labels?: string
  entity?: string
  out?: string
  with?: string
  learn: string
  grace: string
}

export const INCIDENTS = 'incidents'

/** Adds the command to `program`. */
export function registerBacktest(program: Command, ports: BacktestPorts): void {
  program
    .command('backtest')
    .description('replay the telemetry in ClickHouse through the detectors and judge their alarms: precision, recall, delay, false alarms')
    .requiredOption('--from <when>', 'a time (2026-03-01T14:00Z) or how long ago (30m, 24h, 7d)')
    .option('--to <when>', 'the same', 'now')
    .option('--labels <file|incidents>', 'what was abnormal: a CSV (entity,start,end[,metric]), or incidents that were confirmed or healed')
    .option('--entity <entity>', 'only telemetry of this one; without an instance (shop/orders) of all instances')
    .option('--with <file>', 'score with the detect section of this configuration (default: of the current one)')
    .option('--learn <duration>', 'history before --from that is learned from and not judged', '0s')
    .option('--grace <duration>', 'an alarm so long after the end of a label still belongs to it', '60s')
    .option('--out <dir>', 'write index.html with plots, and backtest.json')
    .addHelpText('after', NOTES)
    .action((options: BacktestOptions) => backtest(ports, options))
}

const NOTES = `
An alarm is an anomaly that opens. It is true when it is raised while a label of its entity (and metric, if the label names one)
lasts. Without --labels nothing is known to be true: alarms are counted, precision and recall are not.
Points come in the order of their own times; what came late live does not come late here. Learned detectors do not run.
The same history and configuration give the same anomalies, ids and times included.

Examples:
  homeostat backtest --from 24h --labels incidents
  homeostat backtest --from 2026-03-01 --to 2026-03-08 --learn 1d --labels labels.csv --with candidate.yaml --out report`

async function backtest(ports: BacktestPorts, options: BacktestOptions): Promise<void> {
  const loaded = ports.loaded()
  const startedMs = ports.clock.monotonicMs()
  const nowMs = ports.clock.nowMs()
  const fromMs = parseMoment(options.from, '--from', nowMs)
  const toMs = parseMoment(options.to, '--to', nowMs)
  if (fromMs >= toMs) throw new AppError('usage', `--from ${options.from} is not before --to ${options.to}`)
  const learnMs = parseDuration(options.learn, '--learn')
  const graceMs = parseDuration(options.grace, '--grace')
  const config =
    options.with === undefined ? loaded.config : { ...loaded.config, detect: loadConfig(options.with, ports.folder, ports.environment).config.detect }
  const written = writtenLabels(options.labels)
  if (options.out !== undefined) outputFolder('--out', options.out) // A replay may take hours.
  const output = ports.output()
  const history = await ports.openHistory(loaded)
  try {
    const labels = labelsWithin(options.labels === INCIDENTS ? await incidentLabels(history, fromMs, toMs) : written, { fromMs, toMs, ...options }, output)
    const { anomalies, ...replayed } = await replayAll(ports, history, config, { fromMs, toMs, learnMs, entity: options.entity })
    if (replayed.points === 0) throw new AppError('not_found', nothingThere(options))
    const evaluation = evaluate(anomalies, labels, { seriesDays: replayed.seriesDays, graceMs })
    const result: Backtest = {
      fromMs,
      toMs,
      learnMs,
      graceMs,
      entity: options.entity ?? null,
      labelled: options.labels ?? null,
      falseAlarmsPerSeriesDayAim: config.detect.falseAlarmsPerSeriesDay,
      ...replayed,
      evaluation
    }
    if (options.out !== undefined) {
      const told = stories(anomalies)
      const pictures = []
      for (const alarm of shownAlarms(result)) {
        const story = told.find(({ first }) => first.id === alarm.anomaly.id)!
        pictures.push({ alarm, picture: await anomalyPicture(story, history, config, toMs) })
      }
      writeReport(options.out, { 'index.html': backtestPage(result, pictures), 'backtest.json': `${JSON.stringify(result, null, 2)}\n` })
      output.say(`wrote ${join(options.out, 'index.html')}`)
    }
    output.say(`replayed ${replayed.points.toLocaleString('en-US')} points in ${formatDuration(ports.clock.monotonicMs() - startedMs)}`)
    output.result(result, backtestText(result))
  } finally {
    await history.close()
  }
}

export interface ReplayRange {
  fromMs: number
  toMs: number
  learnMs: number
  entity: string | undefined
}

async function replayAll(ports: BacktestPorts, history: History, config: LoadedConfig['config'], { fromMs, toMs, learnMs, entity }: ReplayRange) {
  const progress = openProgress(ports.stderr, () => ports.clock.monotonicMs())
  const replay = openReplay(config)
  const beginMs = fromMs - learnMs
  const anomalies: Anomaly[] = []
  let alarms = 0
  let learnedDays = 0
  try {
    for await (const { requests, throughMs } of historyRequests(history, { fromMs: beginMs, toMs, entity, environment: config.environment })) {
      for (const request of requests) {
        if (request.atMs < fromMs) learnedDays = replay.stats.seriesDays
        replay.take(request)
      }
      for (const anomaly of replay.anomalies()) {
        anomalies.push(anomaly)
        if (anomaly.status === 'open') alarms++
      }
      progress.show(
        (throughMs - beginMs) / (toMs - beginMs),
        `${formatUtcMinute(throughMs)}  ${replay.stats.points.toLocaleString('en-US')} points  ${alarms} alarms`
      )
    }
    replay.finish(toMs)
    anomalies.push(...replay.anomalies())
  } finally {
    progress.clear()
  }
  const { points, scored, series, seriesDays } = replay.stats
  const isJudged = new Set(anomalies.filter(({ status, detectedAtMs }) => status === 'open' && detectedAtMs >= fromMs).map(({ id }) => id))
  return { points, scored, series, seriesDays: seriesDays - learnedDays, anomalies: anomalies.filter(({ id }) => isJudged.has(id)) }
}

/** Labels of a file, before anything is replayed: a mistake in it is told before minutes of work. @throws AppError `usage` */
export function writtenLabels(source: string | undefined): Label[] | undefined {
  return source === undefined || source === INCIDENTS ? undefined : parseLabels(readText(source), source)
}

/** Those of the range and the entity that are replayed; says how many lie outside of the range. */
export function labelsWithin(
  labels: readonly Label[] | undefined,
  { fromMs, toMs, entity }: { fromMs: number; toMs: number; entity?: string },
  output: Pick<Output, 'say'>
): Label[] | undefined {
  const inside = labels?.filter(({ startMs, endMs }) => endMs > fromMs && startMs < toMs)
  if (labels === undefined || inside === undefined) return undefined
  if (inside.length < labels.length) output.say(`${labels.length - inside.length} of ${labels.length} labels lie outside of --from and --to and are left out`)
  return only(inside, entity)
}

/** Labels of what is replayed. */
function only(labels: readonly Label[], entity: string | undefined): Label[] {
  if (entity === undefined) return [...labels]
  const isOf = (one: string): boolean => one === entity || one.startsWith(`${entity}@`) || entity.startsWith(`${one}@`)
  return labels.filter(({ entities }) => entities.some(isOf))
}

export function nothingThere({ from, to, entity }: { from: string; to: string; entity?: string }): string {
  return `no metric points${entity === undefined ? '' : ` of ${entity}`} in ClickHouse from ${from} to ${to}: see SELECT min(TimeUnix), max(TimeUnix) FROM otel_metrics_gauge (telemetry is kept for store.telemetryTtlDays)`
}

/** @throws AppError `usage` */
function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError(
      'usage',
      `--labels ${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? (cause as Error).message}): give a CSV file, or the word incidents`,
      { cause }
    )
  }
}

function writeReport(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) writeOutput('--out', join(folder, name), text)
}
