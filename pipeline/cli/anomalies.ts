// `homeostat anomalies`: what left its normal course, in one line each; and one of them whole, with its picture.

import { type Command, Option } from 'commander'
import { type Severity, SEVERITIES } from '../../schemas/anomaly.ts'
import type { Clock } from '../../schemas/ports.ts'
import type { LoadedConfig } from '../config/load.ts'
import { anomalyPicture } from './anomalies-picture.ts'
import { type AnomalyStory, anomaliesDuring, findAnomaly, listAnomalies } from './anomalies-read.ts'
import { parseMoment } from './backtest-moment.ts'
import type { History } from './backtest-history.ts'
import { limitOf } from './limit.ts'
import { formatDuration, formatUtcSecond, type Output, paint } from './output.ts'
import type { Picture } from './plot/picture.ts'
import { drawSvg } from './plot/svg.ts'
import { drawInTerminal, type Ink, legend } from './plot/terminal.ts'
import { wrap } from './plot/words.ts'
import { writeOutput } from './write-output.ts'

export interface AnomaliesPorts {
  loaded(): LoadedConfig
  output(): Output
  openHistory(loaded: LoadedConfig): Promise<History>
  clock: Clock
}

const LIMIT_MAX = 1_000
const SINCE_DEFAULT = '24h'
/** Others that are named beside an anomaly, and how far before its onset one can have begun to belong to it. */
const OTHERS_SHOWN_MAX = 6
const OTHERS_BEFORE_MS = 30_000
const COLUMNS_MAX = 120
const COLUMNS = 80

/** Adds the commands to `program`. */
export function registerAnomalies(program: Command, ports: AnomaliesPorts): void {
  const anomalies = program
    .command('anomalies')
    .description('series that left what is expected of them, newest first')
    .option('--entity <entity>', 'only of this one; without an instance (shop/orders) of all instances')
    .addOption(new Option('--severity <severity>', 'only these and worse').choices(SEVERITIES))
    .option('--since <when>', 'a time (2026-03-01T14:00Z) or how long ago (30m, 24h, 7d)', SINCE_DEFAULT)
    .option('-n, --limit <count>', 'how many', '20')
    .addHelpText('after', '\nOne of them with its picture: homeostat anomalies show <id>')
    .action((options: ListOptions) => list(ports, options))
  anomalies
    .command('show')
    .description('one anomaly: what was expected and seen, since when, how rare, what else happened; and its series, drawn')
    .argument('<id>', 'its id or the beginning of it')
    .option('--svg <file>', 'also write the picture as SVG')
    .addHelpText('after', '\nTimes are UTC. With --json the record, the values and the expected band as numbers.')
    .action((id: string, { svg }: { svg?: string }) => show(ports, id, svg))
}

interface ListOptions {
  entity?: string
  severity?: Severity
  since: string
  limit: string
}

async function withHistory<Result>(ports: AnomaliesPorts, use: (history: History, loaded: LoadedConfig) => Promise<Result>): Promise<Result> {
  const loaded = ports.loaded()
  const history = await ports.openHistory(loaded)
  try {
    return await use(history, loaded)
  } finally {
    await history.close()
  }
}

async function list(ports: AnomaliesPorts, options: ListOptions): Promise<void> {
  const limit = limitOf(options.limit, LIMIT_MAX)
  const nowMs = ports.clock.nowMs()
  const sinceMs = parseMoment(options.since, '--since', nowMs)
  const stories = await withHistory(ports, history => listAnomalies(history, { ...options, sinceMs, limit }))
  const output = ports.output()
  const empty = `no anomalies since ${utc(sinceMs)}${options.entity ? ` of ${options.entity}` : ''}${options.severity ? `, ${options.severity} or worse` : ''}`
  if (stories.length === 0) output.table([], { empty })
  else output.result(stories.map(publicStory), stories.map(story => line(story, nowMs)).join('\n'))
}

function line(story: AnomalyStory, nowMs: number): string {
  const { first, severity } = story
  const state = story.closedAtMs === null ? `open for ${formatDuration(nowMs - first.sinceMs)}` : `${formatDuration(story.closedAtMs - first.sinceMs)}`
  return `${first.id.slice(0, 8)}  ${utc(first.sinceMs)}  ${paint(SEVERITY_STYLE[severity], severity.padEnd(8))}  ${state.padEnd(10)}  ${first.reason}${first.shadow ? ' (shadow)' : ''}`
}

const SEVERITY_STYLE = { info: 'dim', warning: 'yellow', critical: 'red' } as const

/** What --json gives: the anomaly as it was found, how it ended, and every record. */
function publicStory(story: AnomalyStory) {
  return { ...story.first, severity: story.severity, closedAtMs: story.closedAtMs, records: story.records }
}

async function show(ports: AnomaliesPorts, id: string, svg: string | undefined): Promise<void> {
  await withHistory(ports, async (history, { config }) => {
    const story = await findAnomaly(history, id)
    const nowMs = ports.clock.nowMs()
    const picture = await anomalyPicture(story, history, config, nowMs)
    const others = await anomaliesDuring(history, story, story.first.sinceMs - OTHERS_BEFORE_MS, story.closedAtMs ?? nowMs, OTHERS_SHOWN_MAX)
    if (svg !== undefined) {
      writeOutput('--svg', svg, drawSvg(picture))
      ports.output().say(`wrote ${svg}`)
    }
    const width = Math.min(process.stdout.columns ?? COLUMNS, COLUMNS_MAX)
    const isColoured = process.stdout.isTTY === true && !process.env.NO_COLOR
    const ink = (name: Ink, text: string): string => (isColoured ? paint(INK_STYLE[name], text) : text)
    const text = [
      ...wrap(mainReason(story), width).map((each, index) => (index === 0 ? paint('bold', each) : each)),
      ...wrap(endingText(story, nowMs), width),
      '',
      ...facts(story),
      ...othersText(story, others, width),
      '',
      ...wrap(picture.title, width),
      ...drawing(picture, width, ink),
      ...picture.notes.flatMap(note => wrap(note, width))
    ].join('\n')
    ports.output().result({ ...publicStory(story), picture, during: others.map(publicStory) }, text)
  })
}

function drawing(picture: Picture, width: number, ink: (name: Ink, text: string) => string): string[] {
  if (picture.values.length === 0) return []
  const lines = drawInTerminal(picture, { width, paint: ink })
  return [...lines, legend(picture, lines, ink)]
}

const INK_STYLE = { value: 'bold', anomalous: 'red', expected: 'cyan', band: 'dim', axis: 'dim' } as const

/** As it was found, or as it got worse. */
function mainReason({ records, first }: AnomalyStory): string {
  return (records.findLast(({ status }) => status !== 'close') ?? first).reason
}

function endingText({ last, first, closedAtMs }: AnomalyStory, nowMs: number): string {
  if (closedAtMs === null) return `It is open, for ${formatDuration(nowMs - first.sinceMs)} now.`
  return first === last ? '' : `It ended at ${utc(closedAtMs)}, after ${formatDuration(closedAtMs - first.sinceMs)}: ${last.reason}`
}

/** Numbers that a person compares, aligned. */
function facts(story: AnomalyStory): string[] {
  const { first, severity } = story
  const rows: [string, string][] = [
    ['anomaly', first.id],
    ['severity', `${paint(SEVERITY_STYLE[severity], severity)}${first.shadow ? ', in shadow: it opens no incident' : ''}`],
    ['found by', `${first.detector}, ${formatDuration(Math.max(0, first.detectedAtMs - first.sinceMs))} after the onset`],
    ['onset', utc(first.sinceMs)]
  ]
  const isPerDay = !/^(absence|model:)/.test(first.detector) // Those have scales of their own.
  const scale = isPerDay ? ' (3: once in 1,000 days of a normal series)' : ''
  if (first.score > 0) rows.push(['score', `${first.score.toFixed(1)}, alarm from ${first.threshold.toFixed(1)}${scale}`])
  if (first.samples > 0) rows.push(['learned from', `${first.samples.toLocaleString('en-US')} points`])
  return rows.map(([name, text]) => `${name.padEnd(12)}  ${text}`)
}

function othersText({ first }: AnomalyStory, others: readonly AnomalyStory[], width: number): string[] {
  if (others.length === 0) return ['', 'Nothing else of this environment was found anomalous in this time.']
  const lines = ['', 'What else began in this time']
  for (const other of others.toSorted((a, b) => a.first.sinceMs - b.first.sinceMs)) {
    const offsetMs = other.first.sinceMs - first.sinceMs
    const when = Math.abs(offsetMs) < 1_000 ? 'with it' : offsetMs < 0 ? `${formatDuration(-offsetMs)} before` : `${formatDuration(offsetMs)} after`
    lines.push(
      ...wrap(brief(other.first.reason), width - 24).map(
        (each, index) => `${(index === 0 ? other.first.id.slice(0, 8) : '').padEnd(8)}  ${(index === 0 ? when : '').padStart(12)}  ${each}`
      )
    )
  }
  return lines
}

/** What and how far; the rest is asked for with its own id. */
const brief = (reason: string): string => reason.split(/ \(normal: |, since |; /, 1)[0]!

/** `2026-03-01 14:03:07 UTC` */
const utc = (atMs: number): string => `${formatUtcSecond(atMs)} UTC`
