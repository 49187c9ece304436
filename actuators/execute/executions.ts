// Which commands are ours: the executions topic, where the first ledger that names a command has it for ever.
//
//   commands topic ─► claim, durable ─► read up to it: whose is first? ─► ours: ledger, effect    another's: leave it alone
//
// The ledger keeps one command from happening twice in one place; this keeps it from happening in two: after a takeover, a
// redelivery, or when a process that was stopped wakes up with a command in its hands. Offsets, sessions and clocks do not
// enter into it, only the order of one partition. A command whose ledger is lost is never run by another: it ends as an
// orphan of decide, its target frozen and people told (infra/docs/decisions/0004-one-ledger-a-command.md).

import type { Command } from '../../schemas/command.ts'
import { decodeRecord, encodeRecord } from '../../schemas/envelope.ts'
import { type Execution, executionRecord } from '../../schemas/execution.ts'
import type { Clock, Log, Logger, LogRecord } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

const RECORDS_PER_READ = 500 // One page of the log.
/** Commands whose owner is remembered, the newest: far more than a month of them, which is how long the topic keeps them. */
const COMMANDS_MAX = 1_000_000

/** A command and where it lies in the commands topic. */
export interface PlacedCommand {
  command: Command
  record: Pick<LogRecord, 'partition' | 'offset'>
}

export interface Executions {
  /**
   * Claims those that nobody has claimed. @returns ids of the commands that are ours
   * @throws AppError `log_unavailable` | `log_full`: nobody may act before the claim is durable
   */
  claim(commands: readonly PlacedCommand[]): Promise<ReadonlySet<string>>
  /** Reads on. @returns claims of ours that count and were not settled yet, in the order of the log */
  open(): Promise<readonly Execution[]>
  /** The ledger answers for this command from now on, or it is a matter of the past: its claim is no longer open. */
  settle(commandId: string): void
}

export function executions(options: { log: Log; clock: Clock; logger: Logger; ledgerId: () => string }): Executions {
  const { log, clock, logger, ledgerId } = options
  const topic = TOPICS.executions.name
  const next = new Map<number, number>()
  /** Command → ledger. */
  const owners = new Map<string, string>()
  /** Claims of ours whose command is not known to be in the ledger: few, since each is settled as soon as it is. */
  const open = new Map<string, Execution>()
  let reading: Promise<void> = Promise.resolve()

  function refresh(): Promise<void> {
    reading = reading.catch(() => undefined).then(readOn)
    return reading
  }

  async function readOn(): Promise<void> {
    const ours = ledgerId() // The ledger may refuse to say it: asked before anything is noted, so that nothing is noted by half.
    for (const { partition, start } of next.size === 0 ? await log.offsets(topic) : []) next.set(partition, start)
    for (const partition of next.keys()) {
      for (;;) {
        const records = await log.read({ topic, partition, offset: next.get(partition)! }, RECORDS_PER_READ)
        if (records.length === 0) break
        for (const record of records) take(record, ours)
        next.set(partition, records.at(-1)!.offset + 1)
      }
    }
  }

  function take(record: LogRecord, ours: string): void {
    const decoded = decodeRecord(executionRecord, record)
    if (!decoded.ok) {
      logger.warn({ partition: record.partition, offset: record.offset, reason: decoded.reason }, 'a claim of a command cannot be read and counts for nobody')
      return
    }
    const { commandId } = decoded.record
    if (owners.has(commandId)) return // The first one decides.
    owners.set(commandId, decoded.record.ledgerId)
    if (decoded.record.ledgerId === ours) open.set(commandId, decoded.record)
    if (owners.size > COMMANDS_MAX) owners.delete(owners.keys().next().value!)
  }

  return {
    async claim(commands) {
      if (commands.length === 0) return new Set()
      await refresh()
      const free = new Map(commands.filter(({ command }) => !owners.has(command.id)).map(placed => [placed.command.id, placed]))
      if (free.size > 0) {
        const claims = [...free.values()].map(placed => claimOf(placed, ledgerId(), clock.nowMs()))
        await log.append(
          topic,
          claims.map(claim => encodeRecord(executionRecord, claim))
        )
        await refresh()
      }
      return new Set(commands.filter(({ command }) => owners.get(command.id) === ledgerId()).map(({ command }) => command.id))
    },
    async open() {
      await refresh()
      return [...open.values()]
    },
    settle(commandId) {
      open.delete(commandId)
    }
  }
}

function claimOf({ command, record }: PlacedCommand, ledgerId: string, nowMs: number): Execution {
  const { id, incidentId, environment, target, expiresAtMs } = command
  return { commandId: id, incidentId, environment, target, ledgerId, partition: record.partition, offset: record.offset, expiresAtMs, claimedAtMs: nowMs }
}
