// Checks on what infra/ ships: is this command line ours, does this homeostat.yaml load with these variables, in these roles?

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from '../../pipeline/cli/program.ts'
import { type LoadedConfig, loadConfig } from '../../pipeline/config/load.ts'
import { checkRoles, selectRoles } from '../../pipeline/roles/select.ts'

/** Loads the text as the process would: interpolation, schema, overrides. @throws AppError `config_invalid` with the place */
export function loadText(text: string, environment: Readonly<Record<string, string>>): LoadedConfig {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-shipped-'))
  try {
    writeFileSync(join(folder, 'homeostat.yaml'), text)
    return loadConfig(join(folder, 'homeostat.yaml'), folder, { ...environment, HOMEOSTAT_CONFIG: undefined })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Judges a command line without running it: `start` is parsed and its roles held against the configuration; of any other command each
 * word and option must stand in its help.
 * @throws Error with what is wrong
 */
export async function checkCommandLine(argv: readonly string[], loaded: LoadedConfig): Promise<void> {
  if (argv[0] === 'start') {
    let roles: string | undefined
    await outputOf(argv, async options => {
      roles = options.roles
    })
    if (roles === undefined) throw new Error(`${argv.join(' ')}: names no roles`)
    checkRoles(selectRoles(roles), loaded.config)
    return
  }
  const words = argv.slice(0, argv.findIndex(word => word.startsWith('-')) >>> 0)
  const help = await outputOf([...words, '--help'])
  if (!help.includes(`homeostat ${words.join(' ')}`)) throw new Error(`homeostat has no command \`${words.join(' ')}\`:\n${help}`)
  for (const option of argv.filter(word => word.startsWith('--')))
    if (!new RegExp(`${option}\\b`).test(help)) throw new Error(`\`homeostat ${words.join(' ')}\` has no option ${option}:\n${help}`)
}

type Start = Parameters<typeof runProgram>[1]['start']

async function outputOf(argv: readonly string[], start: Start = async () => undefined): Promise<string> {
  let text = ''
  const streams = [process.stdout, process.stderr]
  const writes = streams.map(stream => stream.write)
  const keep = (chunk: string): boolean => {
    text += chunk
    return true
  }
  for (const stream of streams) stream.write = keep as typeof stream.write
  const before = process.exitCode
  try {
    const code = await runProgram(argv, { version: '0', start })
    if (code !== 0) throw new Error(`homeostat ${argv.join(' ')}: ends with ${code}\n${text}`)
  } finally {
    for (const [index, stream] of streams.entries()) stream.write = writes[index]!
    process.exitCode = before
  }
  return text
}
