// The command line itself: what whoever mistypes a command is told.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { registerCommands } from '../../../../pipeline/cli/commands.ts'
import { runProgram } from '../../../../pipeline/cli/program.ts'

afterEach(() => vi.restoreAllMocks())

async function fails(...argv: string[]): Promise<string> {
  return failsWith(2, ...argv)
}

async function failsWith(exitCode: number, ...argv: string[]): Promise<string> {
  let said = ''
  vi.spyOn(process.stderr, 'write').mockImplementation(text => {
    said += text
    return true
  })
  const code = await runProgram(argv, { version: '0', start: () => Promise.reject(new Error('nothing is to be started')) })
  vi.restoreAllMocks()
  expect(code).toBe(exitCode)
  return said.trimEnd()
}

function groups(): [name: string, commands: string[]][] {
  const program = new Command()
  registerCommands(program)
  return program.commands.filter(({ commands }) => commands.length > 0).map(group => [group.name(), group.commands.map(command => command.name())])
}

describe('a command that is not there', () => {
  test.each(groups())('of %s is answered with those that are', async (group, commands) => {
    expect(commands.length).toBeGreaterThan(0)
    const said = await fails(group, 'zzz')
    expect(said).toMatch(/^error: (unknown command 'zzz'|too many arguments)/)
    expect(said).toContain(`Commands of homeostat ${group}: ${commands.join(', ')}`)
    expect(said).not.toContain('Did you mean')
  })

  test('is answered with the one that was meant', async () => {
    expect(await fails('canary', 'stauts')).toMatch(/Did you mean status\?.*\nCommands of homeostat canary: status, wait, /)
    expect(await fails('anomalies', 'shwo', '9c41')).toMatch(/Did you mean show\?.*\nCommands of homeostat anomalies: show$/)
    expect(await fails('incident')).toMatch(/Did you mean incidents\?.*\nCommands of homeostat: start, init, /)
  })
})

test('what the system refuses is a line, not a stack; a folder is no configuration', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-program-'))
  try {
    const file = join(folder, 'homeostat.yaml')
    writeFileSync(file, 'apiVersion: homeostat.io/v1\nkind: Homeostat\ndataDir: /sys/kernel\n')
    expect(await failsWith(1, '-c', file, 'keys', 'init')).toMatch(/^homeostat: E\w+: [^\n]* '\/sys\/kernel\/keys'$/)
    expect(await fails('-c', folder, 'keys', 'init')).toBe(`homeostat: --config ${folder} is a folder: name the file in it`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
