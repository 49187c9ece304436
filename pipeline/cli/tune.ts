// `homeostat tune`: the history in ClickHouse with the present settings and with others, and what the difference justifies.
//
//   ClickHouse ─► history (pages) ─┬─► replay with the present settings ─► alarms ─┐
//                                  └─► replays with one setting changed ─► alarms ─┴─► tune ─► table, reasons, YAML to paste
//
// One pass over the history feeds all replays. Memory: one page of rows, the state of the detectors for each replay, the alarms.

import type { Command } from 'commander'
import type { Anomaly } from '../../schemas/anomaly.ts'
import { AppError } from '../../schemas/errors.ts'
import type { LoadedConfig } from '../config/load.ts'
import { openTrials, tune as propose } from '../roles/tune.ts'
import { type BacktestPorts, INCIDENTS, labelsWithin, nothingThere, type ReplayRange, writtenLabels } from './backtest.ts'
import { type History, historyRequests } from './backtest-history.ts'
import { incidentLabels } from './backtest-labels.ts'
import { parseDuration, parseMoment } from './backtest-moment.ts'
import { openProgress } from './backtest-progress.ts'
import { formatDuration, formatUtcMinute } from './output.ts'
import { type Tuned, tuneText } from './tune-report.ts'
import { settingsYaml } from './tune-yaml.ts'

export type TunePorts = Omit<BacktestPorts, 'folder' | 'environment'>

interface TuneOptions {
  from: string
  to: string
  labels?: string
  entity?: string
  learn: string
  grace: string
}

/** Adds the command to `program`. */
export function registerTune(program: Command, ports: TunePorts): void {
  program
    .command('tune')
    .description('replay the telemetry in ClickHouse with other settings, and propose those that the evidence supports')
    .requiredOption('--from <when>', 'a time (2026-03-01T14:00Z) or how long ago (24h, 7d)')
    .option('--to <when>', 'the same', 'now')
    .option('--labels <file|incidents>', 'what was abnormal: a CSV (entity,start,end[,metric]), or incidents that were confirmed or healed')
    .option('--entity <entity>', 'only telemetry of this one; without an instance (shop/orders) of all instances')
    .option('--learn <duration>', 'history before --from that is learned from and not judged', '0s')
    .option('--grace <duration>', 'an alarm so long after the end of a label still belongs to it', '60s')
    .addHelpText('after', NOTES)
    .action((options: TuneOptions) => tune(ports, options))
}

const NOTES = `
Tried are the present settings, and each of detect.falseAlarmsPerSeriesDay, detect.enterPoints, detect.deviationMinRelative and
detect.novelty.falseAlarmsPerSeriesDay one step lower and higher, alone. A change is proposed when it loses no label, helps in the first
half of the history and in the second, and the present settings alarm more often than configured (or it finds more labels at no such
cost). For a metric that alarms too often, detect.metrics is proposed: the one direction in which it was ever right, or a larger
deviationMinRelative. It is proposed for detect.ignore when it alarms on most days, ten times as often as configured and three times as
often as the others, and found no label; requests, errors and durations never are. Nothing is proposed for a single series.
Less than three days or three series justify nothing. Without labels nobody knows what would be missed: proposals are then
commented out. Needs about nine times the memory and time of a backtest.

Examples:
  homeostat tune --from 7d --labels incidents
  homeostat tune --from 2026-03-01 --to 2026-03-15 --learn 1d --labels labels.csv --json`

async function tune(ports: TunePorts, options: TuneOptions): Promise<void> {
  const loaded = ports.loaded()
  const startedMs = ports.clock.monotonicMs()
  const nowMs = ports.clock.nowMs()
  const fromMs = parseMoment(options.from, '--from', nowMs)
  const toMs = parseMoment(options.to, '--to', nowMs)
  if (fromMs >= toMs) throw new AppError('usage', `--from ${options.from} is not before --to ${options.to}`)
  const learnMs = parseDuration(options.learn, '--learn')
  const graceMs = parseDuration(options.grace, '--grace')
  const written = writtenLabels(options.labels)
  const output = ports.output()
  const history = await ports.openHistory(loaded)
  try {
    const labels = labelsWithin(options.labels === INCIDENTS ? await incidentLabels(history, fromMs, toMs) : written, { fromMs, toMs, ...options }, output)
    const { points, ...replayed } = await replayTrials(ports, history, loaded.config, { fromMs, toMs, learnMs, entity: options.entity })
    if (points === 0) throw new AppError('not_found', nothingThere(options))
    const tuning = propose({ ...replayed, labels, graceMs, fromMs, toMs })
    const result: Tuned = {
      fromMs,
      toMs,
      learnMs,
      entity: options.entity ?? null,
      labelled: options.labels ?? null,
      points,
      ...tuning,
      yaml: settingsYaml(tuning, loaded.config.detect)
    }
    const replays = replayed.outcomes.length
    output.say(`replayed ${points.toLocaleString('en-US')} points with ${replays} settings in ${formatDuration(ports.clock.monotonicMs() - startedMs)}`)
    output.result(result, tuneText(result))
  } finally {
    await history.close()
  }
}

/** All trials in one pass. @returns of each the alarms that were raised in [fromMs, toMs) */
async function replayTrials(ports: TunePorts, history: History, config: LoadedConfig['config'], { fromMs, toMs, learnMs, entity }: ReplayRange) {
  const progress = openProgress(ports.stderr, () => ports.clock.monotonicMs())
  const trials = openTrials(config, fromMs).map(one => ({ ...one, anomalies: [] as Anomaly[] }))
  const present = trials[0]!
  const beginMs = fromMs - learnMs
  const collect = (): void => {
    for (const { replay, anomalies } of trials)
      for (const anomaly of replay.anomalies()) if (anomaly.status === 'open' && anomaly.detectedAtMs >= fromMs) anomalies.push(anomaly)
  }
  try {
    for await (const { requests, throughMs } of historyRequests(history, { fromMs: beginMs, toMs, entity, environment: config.environment })) {
      for (const { replay } of trials) for (const request of requests) replay.take(request)
      collect()
      const { points } = present.replay.stats
      progress.show(
        (throughMs - beginMs) / (toMs - beginMs),
        `${formatUtcMinute(throughMs)}  ${points.toLocaleString('en-US')} points, ${trials.length} settings  ${present.anomalies.length} alarms`
      )
    }
    for (const { replay } of trials) replay.finish(toMs)
    collect()
  } finally {
    progress.clear()
  }
  const { stats, exposure } = present.replay
  return {
    points: stats.points,
    outcomes: trials.map(({ trial, anomalies }) => ({ trial, anomalies })),
    exposure: exposure.byMetric(),
    entityDays: exposure.entityDays
  }
}
