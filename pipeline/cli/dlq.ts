// `homeostat dlq list|show|redrive`: dead letters, straight from the log that the configuration names. Works with everything else down.

import type { Command } from 'commander'
import { type Config, environmentsOf } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Log } from '../../schemas/ports.ts'
import { commandsTopic, deadLetterTopic, TOPICS, topicSpec } from '../../schemas/topics.ts'
import { type DeadLetter, findLetter, newestLetters, redriveLetters, selectLetters } from '../log/dead-letters.ts'
import { limitOf } from './limit.ts'
import type { Output } from './output.ts'
import { printable } from './printable.ts'
import { previewValue } from './record-preview.ts'

const MESSAGE_CHARS_MAX = 70 // Of a table's line; `dlq show` has all of it.
const SUFFIX = deadLetterTopic('')

export interface DlqPorts {
  config(): Config
  output(): Output
  /** @throws AppError `log_unavailable`, `not_found` when there is no log */
  openLog(config: Config): Promise<Log>
  /** Bytes to stdout as they are. */
  write(bytes: Uint8Array): void
  /** Asks the person at the terminal; undefined when nobody is there. */
  confirm(question: string): Promise<boolean | undefined>
  user: string
}

interface RedriveOptions {
  topic?: string
  reason?: string
  id?: readonly string[]
  all?: boolean
  again?: boolean
  dryRun?: boolean
  yes?: boolean
}

/** Adds the commands to the program. */
export function dlqCommands(program: Command, ports: DlqPorts): void {
  const dlq = program.command('dlq').description('dead letters: records that a consumer could not use, and why')
  dlq
    .command('list')
    .description('newest first')
    .option('--topic <topic>', 'only what came from this topic')
    .option('-n, --limit <count>', 'how many', '50')
    .action((options: { topic?: string; limit: string }) => listCommand(ports, options))
  dlq
    .command('show')
    .description('one dead letter: headers and content')
    .argument('<topic/offset>', 'as `dlq list` shows it')
    .option('--raw', 'its bytes to standard output, and nothing else')
    .action((id: string, options: { raw?: boolean }) => showCommand(ports, id, options))
  dlq
    .command('redrive')
    .description('put records back where they came from, for the consumer that gave up; say which')
    .option('--topic <topic>', 'those that came from this topic')
    .option('--reason <reason>', 'those that died of this')
    .option('--id <topic/offset...>', 'these')
    .option('--all', 'all of them')
    .option('--again', 'also those that were put back before')
    .option('--dry-run', 'only say how many')
    .option('-y, --yes', 'do not ask')
    .action((options: RedriveOptions) => redriveCommand(ports, options))
}

async function listCommand(ports: DlqPorts, options: { topic?: string; limit: string }): Promise<void> {
  const limit = limitOf(options.limit)
  await withLog(ports, async (log, config) => {
    const letters: DeadLetter[] = []
    for (const topic of await existing(log, config, options.topic)) letters.push(...(await newestLetters(log, topic, limit)))
    letters.sort((a, b) => b.atMs - a.atMs || b.offset - a.offset)
    ports.output().table(letters.slice(0, limit).map(letterRow), { empty: 'no dead letters' })
  })
}

function letterRow(letter: DeadLetter): Record<string, unknown> {
  const { id, atMs, source, reason, message, sizeBytes, redrivenAtMs } = letter
  const line = printable(message.replaceAll(/\s+/g, ' '))
  return {
    id,
    time: new Date(atMs).toISOString(),
    source: `${source.partition}/${source.offset}`,
    consumer: letter.consumer,
    reason,
    bytes: sizeBytes,
    redriven: redrivenAtMs === undefined ? '' : new Date(redrivenAtMs).toISOString(),
    message: line.length <= MESSAGE_CHARS_MAX ? line : `${line.slice(0, MESSAGE_CHARS_MAX - 1)}…`
  }
}

async function showCommand(ports: DlqPorts, id: string, { raw }: { raw?: boolean }): Promise<void> {
  const { topic, offset } = parseId(id)
  await withLog(ports, async (log, config) => {
    const { letter, record } = await findLetter(log, topic, offset)
    if (raw) {
      ports.write(record.value ?? new Uint8Array(0))
      return
    }
    const preview = previewValue(record.value, signalOf(config, letter.source.topic))
    const { headers, key } = record
    const facts = [
      letter.id,
      `died    ${new Date(letter.atMs).toISOString()} of ${letter.reason}, in ${letter.consumer}`,
      `why     ${printable(letter.message)}`,
      `source  ${letter.source.topic} partition ${letter.source.partition} offset ${letter.source.offset}`,
      `key     ${key === null ? '(none)' : JSON.stringify(key)}`,
      `size    ${letter.sizeBytes} bytes, ${preview.kind}`,
      ...(letter.redrivenAtMs === undefined ? [] : [`put back ${new Date(letter.redrivenAtMs).toISOString()}`]),
      '',
      ...Object.entries(headers).map(([name, value]) => `  ${printable(name)}: ${printable(value)}`),
      '',
      preview.text
    ]
    ports.output().result({ ...letter, key, headers, preview }, facts.join('\n'))
  })
}

async function redriveCommand(ports: DlqPorts, options: RedriveOptions): Promise<void> {
  if (!options.all && options.topic === undefined && options.reason === undefined && options.id === undefined) {
    throw new AppError('usage', 'say which dead letters: --topic, --reason, --id or --all')
  }
  const ids = options.id?.map(parseId)
  await withLog(ports, async (log, config) => {
    const topics = ids === undefined ? await existing(log, config, options.topic) : [...new Set(ids.map(({ topic }) => topic))]
    const meant: { topic: string; offsets: number[]; redrivenBefore: number }[] = []
    for (const topic of topics) {
      const offsets = ids === undefined ? {} : { offsets: new Set(ids.filter(one => one.topic === topic).map(({ offset }) => offset)) }
      const reason = options.reason === undefined ? {} : { reason: options.reason }
      const selected = await selectLetters(log, topic, { ...offsets, ...reason, again: options.again === true })
      if (selected.offsets.length + selected.redrivenBefore > 0) meant.push({ topic, ...selected })
    }
    await redriveMeant(ports, options, log, meant)
  })
}

async function redriveMeant(
  ports: DlqPorts,
  options: RedriveOptions,
  log: Log,
  meant: readonly { topic: string; offsets: number[]; redrivenBefore: number }[]
): Promise<void> {
  const output = ports.output()
  const total = meant.reduce((sum, { offsets }) => sum + offsets.length, 0)
  const plan = meant.map(({ topic, offsets, redrivenBefore }) => ({ topic: topic.slice(0, -SUFFIX.length), count: offsets.length, redrivenBefore }))
  const lines = plan.map(
    ({ topic, count, redrivenBefore }) => `${topic}: ${count}${redrivenBefore === 0 ? '' : ` (and ${redrivenBefore} put back before: --again)`}`
  )
  if (options.dryRun || total === 0) {
    output.result({ redriven: 0, wouldRedrive: total, topics: plan }, [...lines, total === 0 ? 'nothing to put back' : `would put back ${total}`].join('\n'))
    return
  }
  for (const line of lines) output.say(line)
  if (!options.yes) {
    const answer = await ports.confirm(`put back ${total}?`)
    if (answer === undefined) throw new AppError('usage', `this puts back ${total} records: add --yes, or --dry-run to see only`)
    if (!answer) {
      output.result({ redriven: 0, wouldRedrive: total, topics: plan }, 'nothing was put back')
      return
    }
  }
  let redriven = 0
  const refused: { id: string; why: string }[] = []
  for (const { topic, offsets } of meant) {
    const done = await redriveLetters(log, topic, offsets, ports.user)
    redriven += done.count
    refused.push(...done.refused)
  }
  for (const { id, why } of refused) output.say(`${id} was refused: ${why}`)
  output.result({ redriven, refused, topics: plan }, `put back ${redriven}${refused.length === 0 ? '' : `, ${refused.length} refused`}`)
  if (refused.length > 0) process.exitCode = 1
}

async function withLog(ports: DlqPorts, work: (log: Log, config: Config) => Promise<void>): Promise<void> {
  const config = ports.config()
  const log = await ports.openLog(config)
  try {
    await work(log, config)
  } finally {
    await log.close()
  }
}

/** Dead-letter topics that are there: that of `topic`, or all that this configuration knows. */
async function existing(log: Log, config: Config, topic: string | undefined): Promise<string[]> {
  if (topic !== undefined) return [deadLettersOf(topic)]
  const { metrics, spans, logs } = config.intake.topics
  const names = Object.values(TOPICS).flatMap(({ name }) => (name === TOPICS.commands.name ? environmentsOf(config).map(commandsTopic) : [name]))
  const found: string[] = []
  for (const name of [...names, metrics.topic, spans.topic, logs.topic].map(deadLetterTopic)) {
    try {
      await log.offsets(name)
      found.push(name)
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'unknown_topic')) throw error // Not made on this cluster: it has none.
    }
  }
  return found
}

/** `<topic>/<offset>` or `<topic>.dlq/<offset>`. */
function parseId(id: string): { topic: string; offset: number } {
  const [, topic, offset] = /^(.+)\/(\d{1,15})$/.exec(id) ?? []
  if (topic === undefined) throw new AppError('usage', `${id} is no dead letter: write <topic>/<offset>, as \`homeostat dlq list\` shows it`)
  return { topic: deadLettersOf(topic), offset: Number(offset) }
}

function deadLettersOf(topic: string): string {
  const name = topic.endsWith(SUFFIX) ? topic : deadLetterTopic(topic)
  if (topicSpec(name) === undefined) throw new AppError('not_found', `there is no topic ${topic}: see infra/docs/topics.md`)
  return name
}

function signalOf(config: Config, topic: string): 'metrics' | 'spans' | 'logs' | undefined {
  return (['metrics', 'spans', 'logs'] as const).find(signal => topic === TOPICS[signal].name || topic === config.intake.topics[signal].topic)
}
