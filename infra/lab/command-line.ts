// The command line of a tool of this repository: its options, --help, and a sentence for what is wrong.

import { type ParseArgsConfig, parseArgs } from 'node:util'

interface Tool<Options> {
  /** As it is called: `lab`. */
  name: string
  /** How it is called, a line each way. */
  usage: string
  options: Options
  /** Options whose values are whole numbers, 0 or more. */
  wholeNumbers?: readonly (keyof Options)[]
  allowPositionals?: boolean
}

const EXIT_USAGE = 2

/**
 * Options and positionals as node:util gives them; `--no-<flag>` turns a flag off.
 * `--help` prints the usage and ends the process with 0; what cannot be understood is said with the usage, and ends it with 2.
 */
export function readCommandLine<const Options extends NonNullable<ParseArgsConfig['options']>>({
  name,
  usage,
  options,
  wholeNumbers = [],
  allowPositionals = false
}: Tool<Options>): Parsed<Options> {
  try {
    const help = { help: { type: 'boolean', short: 'h', default: false } } as const
    const parsed = parseArgs({ options: { ...options, ...help }, allowPositionals, allowNegative: true })
    const values = parsed.values as Readonly<Record<string, unknown>>
    if (values['help'] === true) {
      process.stdout.write(`${usage}\n`)
      process.exit(0)
    }
    const wrong = wholeNumbers.map(String).find(option => values[option] !== undefined && !/^\d+$/.test(String(values[option])))
    if (wrong !== undefined) throw new TypeError(`--${wrong} ${values[wrong]}: a whole number is expected`)
    return parsed as Parsed<Options>
  } catch (error) {
    process.stderr.write(`${name}: ${(error as Error).message.split('. ')[0]}\n${usage}\n`)
    process.exit(EXIT_USAGE)
  }
}

type Parsed<Options extends NonNullable<ParseArgsConfig['options']>> = ReturnType<typeof parseArgs<{ options: Options; allowPositionals: true }>>
