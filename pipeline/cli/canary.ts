// `homeostat canary`: begin the comparison of a new version with its baseline, see how it stands, wait for the verdict, hold it, end it,
// let it start again.

import type { Command } from 'commander'
import type { Canary } from '../../schemas/canary.ts'
import type { CanaryOrder } from '../../schemas/control.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import { parseDuration } from './backtest-moment.ts'
import type { Client } from './client.ts'
import { numberOf } from './number-of.ts'
import type { Output } from './output.ts'
import { userName } from './user-name.ts'

const POLL_MS = 2_000

export interface CanaryPorts {
  clock: Clock
  client(): Client
  output(): Output
}

interface StartOptions {
  environment: string
  service: string
  canary: string
  baseline: string
  id?: string
  samples?: string
  errors?: string
  latency?: string
  within?: string
  by: string
}

const ORDERS = {
  pause: 'no verdict is given while it is paused, but a failure still ends it',
  resume: 'go on; the time to decide begins anew',
  abort: 'roll it back, whatever state it is in, and quarantine its version',
  release: 'let a quarantined version start again, or compare no longer'
} as const

const NOTES = `
Versions are what spans say as service.version. The baseline is best the old version started at the same time under a name of its own
(1.4.0+baseline): caches and connections are then as young as the canary's.

Examples:
  homeostat canary start --environment prod --service shop/orders --canary 1.5.0 --baseline 1.4.0+baseline
  homeostat canary wait 7d1c && promote
  homeostat canary status --json          state running, passed, failed, …`

/** Adds the commands to `program`. */
export function registerCanary(program: Command, { client, output, clock }: CanaryPorts): void {
  const canary = program.command('canary').description('compare a new version with its baseline, by errors and latency').addHelpText('after', NOTES)
  canary
    .command('status')
    .description('how canaries stand, newest first')
    .argument('[id]', 'one of them')
    .action(async (id?: string) => {
      if (id === undefined) return output().table((await client().get<Canary[]>('/api/canaries')).map(row), { empty: 'no canaries' })
      const one = await canaryOf(client(), id)
      output().result(one, text(one))
    })
  canary
    .command('wait')
    .description('wait until it is decided: exit code 0 when it passed, 5 when it is rolled back or refused, 7 when people are asked')
    .argument('<id>', 'as `canary status` shows it')
    .action(async (id: string) => {
      const decided = await untilDecided(client(), id, clock)
      output().result(decided, text(decided))
      if (decided.state !== 'passed') throw new AppError(isUndecided(decided) ? 'timeout' : 'canary_refused', `canary ${id} is ${decided.state}`)
    })
  canary
    .command('start')
    .description('compare from now on; what fails is rolled back by the policies for the signature `canary`')
    .requiredOption('--environment <name>', 'where')
    .requiredOption('--service <service>', 'with its namespace: shop/orders')
    .requiredOption('--canary <version>', 'the new version')
    .requiredOption('--baseline <version>', 'what it is compared with')
    .option('--id <id>', 'how it is called (default: drawn)')
    .option('--samples <count>', 'requests of each arm before any verdict (default: 200, which is the least)')
    .option('--errors <ratio>', 'how much higher its error ratio may be (default: 0.02)')
    .option('--latency <factor>', "how many times the baseline's its 95th percentile may be (default: 1.5)")
    .option('--within <duration>', 'people are asked when it is not decided by then (default: 1h)')
    .option('--by <name>', 'who you are', userName())
    .action(async (options: StartOptions) => {
      const record = await client().post<CanaryOrder>('/api/controls', startFields(options))
      output().result(record, `canary ${record.id}: ${record.canary} of ${record.service} is compared with ${record.baseline}`)
    })
  for (const [order, description] of Object.entries(ORDERS)) {
    canary
      .command(order)
      .description(description)
      .argument('<id>', 'as `canary status` shows it')
      .option('--by <name>', 'who you are', userName())
      .action(async (id: string, { by }: { by: string }) => {
        const record = await client().post<CanaryOrder>('/api/controls', { kind: 'canary', id, order, by })
        output().result(record, `canary ${id}: ${order} ordered by ${by}`)
      })
  }
}

async function canaryOf(client: Client, id: string): Promise<Canary> {
  const one = (await client.get<Canary[]>('/api/canaries')).find(each => each.id === id)
  if (one === undefined) throw new AppError('not_found', `no canary ${id}: see \`homeostat canary status\``)
  return one
}

/** The canary once it is neither compared nor held. @throws AppError `not_found` */
export async function untilDecided(client: Client, id: string, clock: Clock): Promise<Canary> {
  for (;;) {
    const one = await canaryOf(client, id)
    if (one.state !== 'running' && one.state !== 'paused') return one
    await clock.sleep(POLL_MS)
  }
}

const isUndecided = ({ state }: Canary): boolean => state === 'inconclusive' || state === 'no_data'

/** What is left out has its default in schemas/control.ts. @throws AppError `usage` for a text that is no duration, or no number */
export function startFields({ samples, errors, latency, within, ...named }: StartOptions): Record<string, unknown> {
  return {
    kind: 'canary',
    order: 'start',
    ...named,
    ...(samples === undefined ? {} : { samplesMin: numberOf('--samples', samples) }),
    ...(errors === undefined ? {} : { errorDifference: numberOf('--errors', errors) }),
    ...(latency === undefined ? {} : { latencyRatio: numberOf('--latency', latency) }),
    ...(within === undefined ? {} : { decideWithinMs: parseDuration(within, 'within') })
  }
}

function row(canary: Canary): Record<string, unknown> {
  const { id, environment, service, state, reason } = canary
  return { id, environment, service, version: canary.canary.version, baseline: canary.baseline.version, state, quarantined: canary.quarantined, reason }
}

function text(canary: Canary): string {
  const arm = ({ version, requests, errors }: Canary['canary']): string =>
    `${version}: ${errors} of ${requests} requests failed (${requests === 0 ? '–' : `${((100 * errors) / requests).toFixed(1)} %`})`
  return [
    `${canary.id}  ${canary.service} in ${canary.environment}: ${canary.state}${canary.quarantined ? ', quarantined' : ''} (by ${canary.by})`,
    `  canary   ${arm(canary.canary)}`,
    `  baseline ${arm(canary.baseline)}`,
    `  ${canary.reason}`
  ].join('\n')
}
