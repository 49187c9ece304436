// `homeostat policies simulate`: what other policies would have decided on what really happened, and what differs.

import type { Command } from 'commander'
import { environmentsOf } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import {
  configuredPolicyFiles,
  type DecisionDifferences,
  differenceOf,
  loadedPolicies,
  policyFilesAt,
  type RecordedDecision,
  type Simulation,
  simulatePolicies
} from '../roles/policies.ts'
import { parseMoment } from './backtest-moment.ts'
import { openProgress } from './backtest-progress.ts'
import { counted, formatTable, formatUtcMinute, formatUtcSecond, paint, wrapped } from './output.ts'
import type { PoliciesPorts } from './policies.ts'
import { LOOKBACK_MS, type RecordedWindow, readRecords } from './policies-records.ts'

interface SimulateOptions {
  from: string
  to: string
  policies?: string[]
}

const INCIDENTS_SHOWN_MAX = 50
const REASON_WIDTH = 90

/** Adds the command to `policies`. */
export function registerPoliciesSimulate(policies: Command, ports: PoliciesPorts): void {
  policies
    .command('simulate')
    .description('replay recorded incidents through the deciding code by other policies, and show which decisions differ')
    .requiredOption('--from <when>', 'a time (2026-03-01T14:00Z) or how long ago (30m, 24h, 7d)')
    .option('--to <when>', 'the same', 'now')
    .option('--policies <paths...>', 'files and folders of the other policies and runbooks (default: compare the current ones with what was decided then)')
    .addHelpText('after', NOTES)
    .action((options: SimulateOptions) => simulate(ports, options))
}

const NOTES = `
Recorded incidents, outcomes and control records of the window go through the code that decides, once by the policies of the
configuration and once by those of --policies. The same records and policies give the same decisions, byte for byte.

What it cannot know: how things would have gone on after an act that did not happen then. Such an act is taken to end
inconclusive when its plan is over, and its incident goes on as it was recorded. Cooldowns have no jitter here, and levels of
autonomy that were lost before the window are known for harm within the ${LOOKBACK_MS / 86_400_000} days before it only.

Examples:
  homeostat policies simulate --from 7d --policies ../candidate/policies runbooks
  homeostat policies simulate --from 2026-03-01 --to 2026-03-08 --json`

async function simulate(ports: PoliciesPorts, options: SimulateOptions): Promise<void> {
  const loaded = ports.loaded()
  const output = ports.output()
  const nowMs = ports.clock.nowMs()
  const range = { fromMs: parseMoment(options.from, '--from', nowMs), toMs: parseMoment(options.to, '--to', nowMs) }
  if (range.fromMs >= range.toMs) throw new AppError('usage', `--from ${options.from} is not before --to ${options.to}`)
  const currentSet = loadedPolicies(configuredPolicyFiles(loaded.config.decide)).set
  const otherSet = options.policies === undefined ? undefined : loadedPolicies(policyFilesAt(options.policies)).set
  const window = await recordedWindow(ports, loaded, range)
  const { history } = window
  if (history.incidents.length === 0) throw new AppError('not_found', `no incident is recorded from ${options.from} to ${options.to}: see homeostat incidents`)
  const rules = { environments: environmentsOf(loaded.config), commandExpiryMs: loaded.config.decide.commandExpiry, ...range }
  const current = simulatePolicies(history, { ...rules, policies: currentSet })
  const other = otherSet && simulatePolicies(history, { ...rules, policies: otherSet })
  const recorded = history.decisions.filter(({ decidedAtMs }) => decidedAtMs >= range.fromMs)
  const sides = other === undefined ? { before: recorded, after: current.decisions } : { before: current.decisions, after: other.decisions }
  const names = other === undefined ? { before: 'then', after: 'now' } : { before: 'current', after: 'other' }
  const difference = differenceOf(history.incidents, sides.before, sides.after)
  const repeated = repeatedActs(recorded, current.decisions)
  const result = {
    ...range,
    ...{ unreadable: window.unreadable, cut: window.cut, repeated },
    current: { version: currentSet.version, ...current },
    ...(other && { other: { version: otherSet!.version, ...other } }),
    ...(other === undefined && { recorded }),
    difference
  }
  if (window.unreadable > 0) output.say(`${window.unreadable} records could not be read and are left out`)
  if (difference.incidents === 0) output.say(`none of the incidents is of an environment that is decided here: ${rules.environments.join(', ')}`)
  for (const table of window.cut) output.say(`there are more rows in ${table} than are read: choose a shorter window`)
  output.result(result, simulationText({ range, names, difference, repeated, replayed: other ?? current }))
}

async function recordedWindow(
  ports: PoliciesPorts,
  loaded: ReturnType<PoliciesPorts['loaded']>,
  range: { fromMs: number; toMs: number }
): Promise<RecordedWindow> {
  const history = await ports.openHistory(loaded)
  const progress = openProgress(ports.stderr, () => ports.clock.monotonicMs())
  try {
    return await readRecords(history, range, rows => progress.show(0, `${rows.toLocaleString('en-US')} records`))
  } finally {
    progress.clear()
    await history.close()
  }
}

/** How many of the acts that really happened the current policies do again: how near the replay comes. */
function repeatedActs(recorded: readonly RecordedDecision[], simulated: readonly RecordedDecision[]): { acts: number; repeated: number } {
  const key = ({ incidentId, runbook, target, attempt }: RecordedDecision): string => JSON.stringify([incidentId, runbook, target, attempt])
  const again = new Set(simulated.filter(({ outcome }) => outcome === 'act').map(key))
  const acts = recorded.filter(({ outcome }) => outcome === 'act')
  return { acts: acts.length, repeated: acts.filter(act => again.has(key(act))).length }
}

interface SimulationText {
  range: { fromMs: number; toMs: number }
  names: { before: string; after: string }
  difference: DecisionDifferences
  repeated: { acts: number; repeated: number }
  replayed: Pick<Simulation, 'acts'>
}

export function simulationText({ range, names, difference, repeated, replayed }: SimulationText): string {
  const { incidents, different, outcomes } = difference
  const rows = Object.entries(outcomes).map(([outcome, { before, after }]) => ({ decision: outcome, [names.before]: before, [names.after]: after }))
  const alike = incidents - different.length
  const more = different.length > INCIDENTS_SHOWN_MAX ? [`\n… and ${different.length - INCIDENTS_SHOWN_MAX} more: --json has all of them`] : []
  return [
    `${formatUtcMinute(range.fromMs)} to ${formatUtcMinute(range.toMs)} UTC: ${counted(incidents, 'incident')}, ${alike} decided alike, ${different.length} differently`,
    '',
    formatTable(rows, ['decision', names.before, names.after]),
    ...different.slice(0, INCIDENTS_SHOWN_MAX).flatMap(one => ['', ...differenceLines(one)]),
    ...more,
    '',
    ...knownLines(repeated, replayed.acts)
  ].join('\n')
}

function differenceLines({ incidentId, title, openedAtMs, lines }: DecisionDifferences['different'][number]): string[] {
  const marks = { both: ' ', before: paint('red', '-'), after: paint('green', '+') }
  return [
    `${formatUtcSecond(openedAtMs)}  ${paint('bold', title)}  ${incidentId.slice(0, 8)}`,
    ...lines.map(
      ({ side, decision }) => `  ${marks[side]} ${formatUtcSecond(decision.decidedAtMs).slice(11)}  ${decision.outcome.padEnd(9)} ${shortened(decision.reason)}`
    )
  ]
}

function shortened(reason: string): string {
  const width = Math.min(REASON_WIDTH, (process.stdout.columns ?? 100) - 25)
  return reason.length > width ? `${reason.slice(0, width - 1)}…` : reason
}

function knownLines({ acts, repeated }: { acts: number; repeated: number }, { known, assumed }: Simulation['acts']): string[] {
  const lines = [acts === 0 ? 'No act happened then.' : `Of ${counted(acts, 'act')} that happened then the current policies do ${repeated} again here.`]
  if (known > 0) lines.push(`${counted(known, 'act')} of this replay happened then, with the outcome that is recorded.`)
  if (assumed > 0) {
    const [they, them] = assumed === 1 ? ['it', 'it'] : ['they', 'them']
    lines.push(
      `${counted(assumed, 'act')} of this replay never happened: nobody can know how ${they} would have ended. Taken as inconclusive, so what follows from ${them} is a guess.`
    )
  }
  return lines.map(line => wrapped(line, ''))
}
