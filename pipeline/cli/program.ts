// The command line: its common options, `start`, exit codes. The other commands are loaded when they are called for (commands.ts).

import { Command, CommanderError } from 'commander'
import { AppError, type ErrorCode } from '../../schemas/errors.ts'
import { closestName } from '../../schemas/yaml-hints.ts'
import { ROLES } from '../roles/select.ts'
import type { GlobalOptions } from './commands.ts'
import { tame, wrapped } from './output.ts'

const EXIT_CODES: Readonly<Partial<Record<ErrorCode, number>>> = {
  usage: 2,
  config_invalid: 3,
  not_found: 4,
  canary_refused: 5,
  command_refused: 5,
  step_refused: 5,
  store_unavailable: 6,
  log_unavailable: 6,
  log_full: 6,
  timeout: 7
}

export interface ProgramPorts {
  version: string
  /** Runs the roles until a signal ends them. */
  start(options: { config: string | undefined; roles: string | undefined; pretty: boolean }): Promise<void>
}

/** Parses `argv` (without node and script) and runs the command. @returns the exit code */
export async function runProgram(argv: readonly string[], ports: ProgramPorts): Promise<number> {
  const program = buildProgram(ports)
  try {
    // A role that starts again after a crash has no time for what it does not run.
    if (program.parseOptions([...argv]).operands[0] !== 'start') (await import('./commands.ts')).registerCommands(program)
    nameCommandsAfterError(program)
    await program.parseAsync(argv, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (error instanceof AppError) {
      process.stderr.write(`homeostat: ${tame(error.message)}\n`)
      return EXIT_CODES[error.code] ?? 1
    }
    if (isSystemError(error)) {
      process.stderr.write(`homeostat: ${tame(error.message)}\n`)
      return 1
    }
    throw error
  }
}

/** What the system refuses (a file, a port) names what and why; a stack below it helps nobody. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'errno' in error
}

function buildProgram(ports: ProgramPorts): Command {
  const program = new Command('homeostat')
    .description('Finds what broke in your OpenTelemetry data, runs the runbook your policy allows, and checks that it worked.')
    .version(ports.version)
    .option('-c, --config <file>', 'configuration file (default: homeostat.yaml here, else built-in defaults)')
    .option('--json', 'machine-readable output')
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .addHelpText('after', EPILOGUE)
  program
    .command('start')
    .description('run all roles, or those of --role, in this process until interrupted')
    .option('-r, --role <list>', `of ${ROLES.join(', ')}; several with commas (default: HOMEOSTAT_ROLES, else all)`)
    .action(({ role }: { role?: string }) => {
      const { config, json } = program.opts<GlobalOptions>()
      return ports.start({ config, roles: role, pretty: process.stderr.isTTY === true && json !== true })
    })
  return program
}

/** Whoever asks for a command that is not there is told which there are, and the nearest where commander does not say it. */
function nameCommandsAfterError(group: Command): void {
  if (group.commands.length === 0) return
  group.exitOverride(error => {
    if (error.code === 'commander.unknownCommand' || error.code === 'commander.excessArguments') process.stderr.write(`${commandsText(group, error.code)}\n`)
    throw error
  })
  for (const command of group.commands) nameCommandsAfterError(command)
}

/** Excess arguments are what a group complains of that does something by itself, too. */
function commandsText(group: Command, code: string): string {
  const names = group.commands.map(command => command.name())
  const near = code === 'commander.excessArguments' ? closestName(group.args[0] ?? '', names) : undefined
  const path = group.parent === null ? group.name() : `${group.parent.name()} ${group.name()}`
  return `${near === undefined ? '' : `(Did you mean ${near}?)\n`}${wrapped(`Commands of ${path}: ${names.join(', ')}`, '')}`
}

const EPILOGUE = `
Examples:
  homeostat start                      run everything on built-in defaults
  homeostat start --role intake        one role of many processes, on a Kafka cluster
  homeostat explain 3f2a               why did it act, or not?
  homeostat anomalies show 9c41        what was seen, drawn
  homeostat kill --reason "deploying"  stop all automation at once
  homeostat sql "SELECT * FROM homeostat_scorecard"

Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration invalid, 4 not found, 5 refused by policy,
            6 dependency unavailable, 7 no answer in time, 130 interrupted`
