// Configuration: what a user writes wrong is named by file, line and column, and what is right means the same everywhere.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig, resolveSecret } from '../../../../pipeline/config/load.ts'
import { initFiles } from '../../../../pipeline/cli/init.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-config-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const HEAD = 'apiVersion: homeostat.io/v1\nkind: Homeostat\n'
const write = (text: string): string => {
  writeFileSync(join(folder, 'homeostat.yaml'), HEAD + text)
  return join(folder, 'homeostat.yaml')
}

describe('configuration', () => {
  it('is complete without a file', () => {
    const { config, file } = loadConfig(undefined, folder, {})
    expect(file).toBeUndefined()
    expect(config.intake.grpc).toEqual({ host: '127.0.0.1', port: 4317 })
    expect(config.dataDir).toBe(join(folder, '.homeostat'))
    expect(config.detect.window).toBe(10_000)
  })

  it('names line, column and the likely key for an unknown one', () => {
    const file = write('detect:\n  windw: 5s\n')
    expect(() => loadConfig(undefined, folder, {})).toThrow(new RegExp(`${file}:4:3[\\s\\S]*window`))
  })

  it('names the place of a wrong value', () => {
    write('intake:\n  http: { port: 99999 }\n')
    expect(() => loadConfig(undefined, folder, {})).toThrow(/homeostat\.yaml:4:17/)
  })

  it('says which file is missing', () => {
    expect(() => loadConfig('nowhere.yaml', folder, {})).toThrow(/there is no configuration file .*nowhere\.yaml/)
  })

  it('puts environment variables in, with defaults, and not into comments', () => {
    write(`# \${NOT_SET} in prose\nenvironment: \${STAGE:-lab}\nconsole: { listen: { port: \${CONSOLE_PORT} } }\n`)
    const { config } = loadConfig(undefined, folder, { CONSOLE_PORT: '9999' })
    expect(config.environment).toBe('lab')
    expect(config.console.listen.port).toBe(9999)
    expect(() => loadConfig(undefined, folder, {})).toThrow(/homeostat\.yaml:5: the variable CONSOLE_PORT is not set/)
  })

  it('lets HOMEOSTAT_SECTION__KEY override, and names the variable when its value does not fit', () => {
    write('environment: lab\n')
    expect(loadConfig(undefined, folder, { HOMEOSTAT_DETECT__MEMORY_MAX: '5000000', HOMEOSTAT_ENVIRONMENT: 'prod' }).config).toMatchObject({
      environment: 'prod',
      detect: { memoryMax: 5000000 }
    })
    expect(() => loadConfig(undefined, folder, { HOMEOSTAT_DETECT__MEMORY_MAX: 'many' })).toThrow(/HOMEOSTAT_DETECT__MEMORY_MAX/)
    expect(() => loadConfig(undefined, folder, { HOMEOSTAT_DETECT__NONSENSE: '1' })).toThrow(/^HOMEOSTAT_DETECT__NONSENSE: unknown key nonsense$/)
    expect(() => loadConfig(undefined, folder, { HOMEOSTAT_STORE__PASSWORD: 'hunter2' })).toThrow(/^HOMEOSTAT_STORE__PASSWORD: .* not the secret itself$/)
  })

  it('takes relative paths from the folder of the file', () => {
    write('dataDir: data\ndecide: { policiesDir: policies }\n')
    const { config } = loadConfig('homeostat.yaml', folder, {})
    expect([config.dataDir, config.decide.policiesDir]).toEqual([join(folder, 'data'), join(folder, 'policies')])
  })

  it('accepts what `homeostat init` writes, which does not overwrite by itself', () => {
    initFiles(folder, false)
    expect(loadConfig(undefined, folder, {}).config.act.drivers.process?.definitionsFile).toBe(join(folder, 'processes.yaml'))
    expect(() => initFiles(folder, false)).toThrow(/would be overwritten/)
  })

  it('accepts every line that it wrote as a comment, too', () => {
    const [file] = initFiles(folder, false)
    const text = readFileSync(file!, 'utf8')
    const all = text.replaceAll(/^( *)# ( *(?:- |[A-Za-z]+:))/gm, '$1$2')
    expect(all.split('\n').filter((line, index) => line !== text.split('\n')[index]).length).toBeGreaterThan(10)
    writeFileSync(file!, all)
    expect(loadConfig(undefined, folder, {}).config.act.escalation.channels.default).toMatchObject({ kind: 'webhook' })
  })

  it('reads secrets by reference only', () => {
    writeFileSync(join(folder, 'token'), 's3cret\n')
    expect(resolveSecret(`file:${join(folder, 'token')}`, {})).toBe('s3cret')
    expect(resolveSecret('env:TOKEN', { TOKEN: 'abc' })).toBe('abc')
    expect(() => resolveSecret('env:TOKEN', {})).toThrow(/set the variable TOKEN/)
    write('intake: { tokens: [plain] }\n')
    expect(() => loadConfig(undefined, folder, {})).toThrow(/env:NAME or file:PATH/)
  })
})
