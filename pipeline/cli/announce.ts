// `homeostat announce`: what people, pipelines and controllers do, so that automation keeps out of their way or knows its limits.
//
// Each is a control record; the guards that read them are in actuators/README.md. A pipeline may as well POST to /api/controls.

import type { Command } from 'commander'
import type { Control } from '../../schemas/control.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import { parseDuration, parseIsoMs } from './backtest-moment.ts'
import type { Client } from './client.ts'
import { numberOf } from './number-of.ts'
import type { Output } from './output.ts'
import { userName } from './user-name.ts'

export interface AnnouncePorts {
  client(): Client
  output(): Output
  clock: Clock
}

const NOTES = `
Kinds and their fields (those of times take 2026-03-01T14:00Z, now, or a duration from now):
  change        target=shop/orders actor=argo-cd what=deploy|config|scale|manual|revert environment=prod [id=…] [from=now] [to=10m]
                without \`to\` it goes on: say the same id again with to=now
  maintenance   match='cause.service == "orders"' [id=…] [from=now] to=2h
  group         environment=prod group=shop/orders size=3 [members=shop/orders@orders-1,shop/orders@orders-2,shop/orders@orders-3]
  error_budget  environment=prod service=shop/orders remainingRatio=0.4 burnRate=2
  autonomy      policy=restart-orders reason='looked at it'

Examples:
  homeostat announce change target=shop/orders actor=ci what=deploy environment=prod id=deploy-481
  homeostat announce change target=shop/orders actor=ci what=deploy environment=prod id=deploy-481 to=now`

/** Adds the command to `program`. */
export function registerAnnounce(program: Command, ports: AnnouncePorts): void {
  program
    .command('announce')
    .description('say what somebody else does or how things stand: changes, maintenance, group sizes, error budgets, trust in a policy')
    .argument('<kind>', 'change, maintenance, group, error_budget or autonomy')
    .argument('<field=value...>', 'fields of that kind')
    .option('--by <name>', 'who you are', userName())
    .addHelpText('after', NOTES)
    .action(async (kind: string, pairs: string[], { by }: { by: string }) => {
      const record = await ports.client().post<Control>('/api/controls', { kind, by, ...announcement(kind, pairs, ports.clock.nowMs()) })
      ports.output().result(record, `announced: ${record.kind}${'id' in record ? ` ${record.id}` : ''}`)
    })
}

/**
 * Fields of a control record from `name=value` texts: numbers as numbers, lists as lists, `from` and `to` as epoch ms.
 * @throws AppError `usage` for a text that is no pair, no time, or no number where one is expected
 */
export function announcement(kind: string, pairs: readonly string[], nowMs: number): Record<string, unknown> {
  const fields: Record<string, unknown> = kind === 'change' ? { fromMs: nowMs, toMs: null } : kind === 'maintenance' ? { fromMs: nowMs } : {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw new AppError('usage', `${pair}: give fields as name=value`)
    const [name, value] = [pair.slice(0, at), pair.slice(at + 1)]
    if (name === 'from' || name === 'to') fields[`${name}Ms`] = value === 'now' ? nowMs : (parseIsoMs(value) ?? nowMs + parseDuration(value, name))
    else if (LISTS.includes(name)) fields[name] = value.split(',').map(item => item.trim())
    else fields[name] = NUMBERS.includes(name) ? numberOf(name, value) : value
  }
  return fields
}

/** Fields that are numbers; a target may be called 7. */
const NUMBERS: readonly string[] = ['size', 'remainingRatio', 'burnRate']
/** Fields that are lists, parted by commas. */
const LISTS: readonly string[] = ['members']
