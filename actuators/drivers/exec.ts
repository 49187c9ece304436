// Driver `exec`: runs listed programs with listed arguments. Never a shell.
//
// A command of the configuration is an argument vector; `{name}` as a whole argument stands for one value of the step's
// args that must match its pattern from end to end, and `{target}` for the target. A value never becomes two arguments
// and never an option: one that begins with a dash is refused whatever its pattern says.
// Exit code 0 = applied. Any other = the program says that it failed and did nothing (driver_failed): write such programs
// so. Ended by a signal or out of time = nobody knows (driver_unknown), and an opaque command is then never repeated.

import { AppError } from '../../schemas/errors.ts'
import type { Config } from '../../schemas/config.ts'
import type { Driver, DriverOrder } from '../../schemas/ports.ts'
import { checkKey } from './order-key.ts'
import { runProgram } from './run-program.ts'
import { KEY_VARIABLE } from './supervise.ts'

export type ExecCommands = NonNullable<Config['act']['drivers']['exec']>['commands']

const VALUE_LENGTH_MAX = 256 // Of one argument; also what a slow pattern may be fed with.
const DETAIL_LENGTH_MAX = 500
const PLACEHOLDER = /^\{([A-Za-z0-9_-]+)\}$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is looked for.
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/

/** @throws AppError `config_invalid` for a relative program, a placeholder without a pattern, a pattern that does not compile */
export function execDriver({ commands }: { commands: ExecCommands }): Driver {
  const templates = new Map(Object.entries(commands).map(([name, command]) => [name, template(name, command)]))

  function argvOf({ target, verb, args }: Pick<DriverOrder, 'target' | 'verb' | 'args'>): { argv: string[]; timeoutMs: number } {
    const known = templates.get(verb)
    if (!known) throw new AppError('step_refused', `exec: no command ${shown(verb)} (act.drivers.exec.commands)`)
    if (!known.targets.has(target)) throw new AppError('step_refused', `exec ${verb}: target ${shown(target)} is not on its list`)
    for (const name of Object.keys(args)) {
      if (!known.patterns.has(name)) throw new AppError('step_refused', `exec ${verb}: takes no argument ${shown(name)}`)
    }
    const argv = known.argv.map(part => {
      const name = PLACEHOLDER.exec(part)?.[1]
      if (name === undefined) return part
      return name === 'target' ? target : value(verb, name, known.patterns.get(name)!, args)
    })
    return { argv, timeoutMs: known.timeoutMs }
  }

  return {
    name: 'exec',
    verbs: Object.fromEntries(Object.entries(commands).map(([name, command]) => [name, command.class])),
    check: order => void argvOf(order),
    async observe() {
      return { state: 'unknown', facts: {} } // A program is not a thing that has a state; checks say what it did.
    },
    async apply(order, signal) {
      const { argv, timeoutMs } = argvOf(order)
      checkKey(order.idempotencyKey)
      const env = {
        PATH: '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin',
        LC_ALL: 'C.UTF-8',
        HOMEOSTAT_FENCE: String(order.fence),
        [KEY_VARIABLE]: order.idempotencyKey
      }
      const result = await runProgram({ argv, env, timeoutMs: Math.min(timeoutMs, Math.max(1, order.deadlineMs - Date.now())), signal })
      if (result.kind === 'not_started') throw new AppError('driver_failed', `exec ${order.verb}: ${result.reason}`)
      const said = result.output === '' ? '' : `: ${result.output.slice(-DETAIL_LENGTH_MAX)}`
      if (result.kind === 'killed') throw new AppError('driver_unknown', `exec ${order.verb}: ${result.reason}${said}`)
      if (result.exitCode !== 0) throw new AppError('driver_failed', `exec ${order.verb}: exit ${result.exitCode}${said}`)
      return { detail: `exit 0${said}` }
    }
  }
}

interface Template {
  argv: readonly string[]
  patterns: ReadonlyMap<string, RegExp>
  targets: ReadonlySet<string>
  timeoutMs: number
}

function template(name: string, command: ExecCommands[string]): Template {
  const where = `act.drivers.exec.commands.${name}`
  if (!command.argv[0]!.startsWith('/')) throw new AppError('config_invalid', `${where}.argv: the program must be an absolute path`)
  for (const target of command.targets) if (unsafe(target)) throw new AppError('config_invalid', `${where}.targets: ${shown(target)} cannot be an argument`)
  const patterns = new Map<string, RegExp>()
  for (const [parameter, pattern] of Object.entries(command.parameters)) {
    try {
      patterns.set(parameter, new RegExp(`^(?:${pattern})$`, 'u'))
    } catch (cause) {
      throw new AppError('config_invalid', `${where}.parameters.${parameter}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    }
  }
  for (const part of command.argv) {
    const used = PLACEHOLDER.exec(part)?.[1]
    if (used !== undefined && used !== 'target' && !patterns.has(used))
      throw new AppError('config_invalid', `${where}.argv: ${part} has no pattern in parameters`)
  }
  return { argv: command.argv, patterns, targets: new Set(command.targets), timeoutMs: command.timeout }
}

function value(verb: string, name: string, pattern: RegExp, args: Readonly<Record<string, unknown>>): string {
  const given = Object.hasOwn(args, name) ? args[name] : undefined
  if (typeof given !== 'string' && typeof given !== 'number' && typeof given !== 'boolean')
    throw new AppError('step_refused', `exec ${verb}: argument ${name} is missing`)
  const text = String(given)
  if (unsafe(text) || !pattern.test(text)) throw new AppError('step_refused', `exec ${verb}: argument ${name} ${shown(text)} does not fit ${pattern.source}`)
  return text
}

function unsafe(text: string): boolean {
  return text.length > VALUE_LENGTH_MAX || text.startsWith('-') || CONTROL_CHARACTER.test(text) || !text.isWellFormed()
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 200))
