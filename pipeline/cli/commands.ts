// Every command but `start`: what they are called, their options, and which part of the program answers.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import type { Config } from '../../schemas/config.ts'
import type { Incident } from '../../schemas/incident.ts'
import { type LoadedConfig, loadConfig } from '../config/load.ts'
import { INCIDENTS_MAX, type IncidentStory } from '../console/live-view.ts'
import type { PipelineHealth } from '../self/health-routes.ts'
import { systemClock } from '../system.ts'
import { registerAnnounce } from './announce.ts'
import { registerAnomalies } from './anomalies.ts'
import { registerAudit } from './audit.ts'
import { registerBacktest } from './backtest.ts'
import { openHistory } from './backtest-history.ts'
import { registerCanary } from './canary.ts'
import { type Client, openClient } from './client.ts'
import { registerDetectors } from './detectors.ts'
import { dlqCommands } from './dlq.ts'
import { doctor } from './doctor.ts'
import { incidentRow, incidentText, statusText } from './incident-text.ts'
import { initFiles } from './init.ts'
import { registerKeys } from './keys.ts'
import { writeKillSwitch } from './kill-switch.ts'
import { limitOf } from './limit.ts'
import { confirmAtTerminal, openExistingLog, openKafkaAdmin } from './log-access.ts'
import { registerMigrate } from './migrate.ts'
import { openOutput, type Output } from './output.ts'
import { registerPolicies } from './policies.ts'
import { registerRelease } from './release.ts'
import { registerScore } from './score.ts'
import { topicsCommands } from './topics.ts'
import { registerTune } from './tune.ts'
import { userName } from './user-name.ts'

/** Training reads history and fits a net: minutes on a long history. */
const TRAIN_TIMEOUT_MS = 600_000

/** Options that every command has. */
export interface GlobalOptions {
  config?: string
  json?: boolean
}

/** Adds them to `program`. */
export function registerCommands(program: Command): void {
  const global = (): GlobalOptions => program.opts<GlobalOptions>()
  const output = (): Output => openOutput({ json: global().json === true })
  const loaded = (): LoadedConfig => loadConfig(global().config, process.cwd(), process.env)
  const client = (): Client => openClient(loaded())

  program
    .command('init')
    .description('write a commented starter configuration, a first policy with test cases, and a runbook')
    .argument('[folder]', 'where to', '.')
    .option('--force', 'overwrite files that are there')
    .action((folder: string, { force }: { force?: boolean }) => {
      const paths = initFiles(folder, force === true)
      output().result(
        paths,
        `${paths.map(path => `wrote ${path}`).join('\n')}\n\nNext: look through homeostat.yaml, then \`homeostat doctor\` and \`homeostat start\`.`
      )
    })
  program
    .command('doctor')
    .description('check configuration, disk, ports, engine and policies; say how to fix what is wrong')
    .action(async () => {
      const report = await doctor(global().config, process.cwd(), process.env)
      const long = report.filter(({ detail }) => detail.includes('\n'))
      output().table(global().json ? report : report.map(row => ({ ...row, detail: row.detail.split('\n')[0] })), { columns: ['ok', 'check', 'detail', 'fix'] })
      if (!global().json) for (const { detail } of long) output().say(`\n${detail}`)
      if (report.some(({ ok }) => ok === 'no')) process.exitCode = 1
    })
  program
    .command('status')
    .description('what the running instance does, its lag and its addresses')
    .action(async () => {
      const health = await client().get<PipelineHealth>('/api/health')
      output().result(health, statusText(health))
      if (!health.ready) process.exitCode = 1
    })
  program
    .command('lab')
    .description('run the demonstration: a small fleet, five faults, each found and healed (options: lab -- --help)')
    .argument('[options...]', 'passed on, e.g. -- --seed 1')
    .action((options: string[]) => {
      const { status } = spawnSync(process.execPath, [...process.execArgv, fileURLToPath(new URL('../../infra/lab/main.ts', import.meta.url)), ...options], {
        stdio: 'inherit'
      })
      process.exitCode = status ?? 1
    })
  incidentCommands(program, loaded, client, output)
  registerAnomalies(program, { loaded, output, openHistory, clock: systemClock })
  registerBacktest(program, { loaded, output, openHistory, clock: systemClock, folder: process.cwd(), environment: process.env, stderr: process.stderr })
  registerTune(program, { loaded, output, openHistory, clock: systemClock, stderr: process.stderr })
  registerScore(program, { loaded, output, clock: systemClock, folder: process.cwd(), stderr: process.stderr })
  registerPolicies(program, { loaded, output, openHistory, clock: systemClock, stderr: process.stderr })
  registerDetectors(program, { client, output, clock: systemClock })
  registerAnnounce(program, { client, output, clock: systemClock })
  registerCanary(program, { client, output, clock: systemClock })
  registerAudit(program, { loaded, output, openHistory, openLog: openExistingLog, clock: systemClock, stderr: process.stderr })
  dataCommands(program, client, output)
  const config = (): Config => loaded().config
  topicsCommands(program, { config, output, openAdmin: openKafkaAdmin, clock: systemClock })
  dlqCommands(program, {
    config,
    output,
    openLog: openExistingLog,
    write: bytes => void process.stdout.write(bytes),
    confirm: confirmAtTerminal,
    user: userName()
  })
  registerMigrate(program, { config, output, environment: process.env })
  registerKeys(program, { config, output })
}

function incidentCommands(program: Command, loaded: () => LoadedConfig, client: () => Client, output: () => Output): void {
  program
    .command('incidents')
    .description('incidents, newest first')
    .option('-n, --limit <count>', 'how many', '20')
    .action(async ({ limit }: { limit: string }) => {
      const incidents = await client().get<Incident[]>(`/api/incidents?limit=${limitOf(limit, INCIDENTS_MAX)}`)
      if (program.opts<GlobalOptions>().json) output().table(incidents as unknown as Record<string, unknown>[])
      else output().table(incidents.map(incidentRow), { empty: 'no incidents: all quiet' })
    })
  program
    .command('explain')
    .description('one incident: why it acted or did not, what would change that and what you can do; then its story')
    .argument('<incident>', 'its id or the beginning of it')
    .option('--guards', 'every guard of every decision with its inputs, not only those that stood in the way')
    .action(async (id: string, { guards }: { guards?: boolean }) => {
      const path = `/api/incidents/${encodeURIComponent(id)}${guards ? '?guards=all' : ''}`
      const story = await client().get<IncidentStory & { explanation: string[] }>(path)
      output().result(story, incidentText(story))
    })
  program
    .command('approve')
    .description('approve (or with --reject refuse) a decision that asks')
    .argument('<decision>', 'id of the decision, as `explain` shows it')
    .option('--reject', 'refuse it')
    .option('--by <name>', 'who you are', userName())
    .action(async (decisionId: string, { reject, by }: { reject?: boolean; by: string }) => {
      const record = await client().post('/api/approvals', { decisionId, approved: reject !== true, by })
      output().result(record, `${reject ? 'refused' : 'approved'} by ${by}`)
    })
  program
    .command('acknowledge')
    .description('say that you have an incident: nobody else is called for it, and who was called hears who has it')
    .argument('<incident>', 'its id or the beginning of it')
    .option('--by <name>', 'who you are', userName())
    .action(async (incidentId: string, { by }: { by: string }) => {
      const record = await client().post('/api/acknowledgements', { incidentId, by })
      output().result(record, `taken by ${by}`)
    })
  program
    .command('kill')
    .description('kill switch: no new action begins until it is released with --off')
    .option('--off', 'release it')
    .option('--scope <scope>', 'global, environment/<name> or policy/<name>', 'global')
    .option('--reason <text>', 'why', '')
    .option('--by <name>', 'who you are', userName())
    .action(async ({ off, scope, reason, by }: { off?: boolean; scope: string; reason: string; by: string }) => {
      const record = await writeKillSwitch(loaded().config, { scope, on: off !== true, reason, by })
      output().result(record, off ? `released: ${scope} may act again` : `on: nothing begins in ${scope} until \`homeostat kill --off\``)
    })
  registerRelease(program, { client, output })
}

function dataCommands(program: Command, client: () => Client, output: () => Output): void {
  program
    .command('sql')
    .description('read-only SQL on ClickHouse (tables: see schemas/README.md)')
    .argument('<query>')
    .action(async (query: string) =>
      output().table(await client().get<Record<string, unknown>[]>(`/api/sql?query=${encodeURIComponent(query)}`), { empty: 'no rows' })
    )
  program
    .command('scorecard')
    .description('M1 to M10 with their targets')
    .action(async () => output().table(await client().get<Record<string, unknown>[]>('/api/scorecard')))
  program
    .command('train')
    .description('train the failure predictor on the history in ClickHouse and register it (in shadow until it beats the baseline)')
    .action(async () => {
      output().say('training; progress is in the log of the running instance …')
      const report = await client().post<Record<string, unknown> & { text?: string }>('/api/train', {}, { timeoutMs: TRAIN_TIMEOUT_MS })
      output().result(report, report.text ?? JSON.stringify(report, null, 2))
    })
  program
    .command('models')
    .description('registered models with their held-out figures')
    .action(async () => output().table(await client().get<Record<string, unknown>[]>('/api/models'), { empty: 'no model yet: `homeostat train`' }))
}
