// The systemd units: verified by systemd itself, and read as the processes that they start.

import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { INFRA } from '../../support/infra-tools.ts'
import { checkCommandLine, loadText } from '../../support/shipped.ts'

const FOLDER = join(INFRA, 'systemd')
const ROOT = join(INFRA, '..')
const INSTANCES = ['intake', 'detect', 'control', 'act', 'store', 'console']
const SYSTEM_UNITS = '/lib/systemd/system'
/** systemd's own exposure level, 0 (shut) to 10 (open); 1.6 measured with systemd 252: what is left is the network. */
const EXPOSURE_MAX = 2

const missing = existsSync('/usr/bin/systemd-analyze') && existsSync(SYSTEM_UNITS) ? undefined : 'systemd-analyze is missing: install systemd'
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)
if (missing !== undefined) console.warn(`skipped: ${missing}`)

/** Values of a key in a unit file, in order. */
const valuesOf = (file: string, key: string): string[] =>
  readFileSync(join(FOLDER, file), 'utf8')
    .split('\n')
    .filter(line => line.startsWith(`${key}=`))
    .map(line => line.slice(key.length + 1))
/** Variables of an environment file. */
const variablesOf = (file: string): Record<string, string> =>
  Object.fromEntries(
    readFileSync(join(FOLDER, file), 'utf8')
      .split('\n')
      .filter(line => /^[A-Z]/.test(line))
      .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
  )

describe.skipIf(missing !== undefined)('systemd finds in the units', () => {
  const root = mkdtempSync(join(tmpdir(), 'homeostat-units-'))

  beforeAll(() => {
    const units = join(root, 'etc/systemd/system')
    cpSync(FOLDER, units, { recursive: true })
    cpSync(SYSTEM_UNITS, join(root, 'usr/lib/systemd/system'), { recursive: true, filter: file => !/\.(service|wants|requires|d)$/.test(file) })
    const node = join(root, 'opt/homeostat/node_modules/.bin/node')
    mkdirSync(dirname(node), { recursive: true })
    copyFileSync('/bin/true', node)
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  const analyze = (...argv: string[]) => spawnSync('systemd-analyze', [`--root=${root}`, ...argv], { encoding: 'utf8' })

  test('nothing unknown and nothing missing', () => {
    const units = [...INSTANCES.map(name => `homeostat@${name}.service`), 'homeostat.target', 'homeostat-setup.service']
    const { status, stdout, stderr } = analyze('verify', ...units)
    expect(`${stdout}${stderr}`).toBe('')
    expect(status).toBe(0)
  })

  test.each(['homeostat@intake.service', 'homeostat@act.service', 'homeostat-setup.service'])('little that %s could harm', unit => {
    const { status, stdout } = analyze('security', '--offline=true', `--threshold=${EXPOSURE_MAX * 10}`, unit)
    expect(stdout).toMatch(/Overall exposure level/)
    expect(status, stdout.split('\n').at(-2)).toBe(0)
  })

  test('users that systemd-sysusers can make', () => {
    const { status, stderr } = spawnSync('systemd-sysusers', ['--dry-run', `--root=${root}`, join(FOLDER, 'homeostat.sysusers')], { encoding: 'utf8' })
    expect(status, stderr).toBe(0)
  })
})

describe('the units', () => {
  const yaml = readFileSync(join(FOLDER, 'homeostat.yaml'), 'utf8')
  const environmentOf = (instance: string): Record<string, string> => ({
    ...Object.fromEntries(
      valuesOf('homeostat@.service', 'Environment').map(line => line.replaceAll('%i', instance).replaceAll('%H', 'host-1').split('=', 2) as [string, string])
    ),
    CREDENTIALS_DIRECTORY: '/run/credentials',
    ...variablesOf(`env/${instance}.env`)
  })

  test('every instance has a file of variables, and all of them load with homeostat.yaml', async () => {
    expect(readdirSync(join(FOLDER, 'env')).toSorted()).toEqual([...INSTANCES, 'setup'].map(name => `${name}.env`).toSorted())
    const argv = valuesOf('homeostat@.service', 'ExecStart')[0]!.split(' pipeline/main.ts ')[1]!.split(' ')
    for (const instance of INSTANCES) {
      const environment = environmentOf(instance)
      const loaded = loadText(yaml, environment)
      expect(loaded.config).toMatchObject({ dataDir: `/var/lib/homeostat/${instance}`, kafka: { instance: `host-1-${instance}` } })
      await checkCommandLine(
        argv.map(word => word.replace(/^\$\{HOMEOSTAT_ROLES\}$/, environment['HOMEOSTAT_ROLES']!)),
        loaded
      )
    }
  })

  test('no two of one machine answer probes on the same port', () => {
    const ports = INSTANCES.map(instance => {
      const { config } = loadText(yaml, environmentOf(instance))
      return instance === 'console' ? config.console.listen.port : config.health.listen.port
    })
    expect(new Set(ports).size).toBe(INSTANCES.length)
  })

  test('who reads ClickHouse is given the password of its user, and nobody else is given one', () => {
    for (const instance of INSTANCES) {
      const folder = join(FOLDER, `homeostat@${instance}.service.d`)
      const credentials = existsSync(folder) ? readdirSync(folder).flatMap(file => valuesOf(`homeostat@${instance}.service.d/${file}`, 'LoadCredential')) : []
      const { HOMEOSTAT_STORE__USERNAME: user } = environmentOf(instance)
      const expected = user === undefined ? [] : [`clickhouse-password:/etc/homeostat/secrets/clickhouse-${user.replace('homeostat_', '')}`]
      expect(credentials, instance).toEqual(expected)
      expect(user !== undefined, instance).toBe(['act', 'store', 'console'].includes(instance))
    }
    expect(loadText(yaml, environmentOf('store')).config.store.password).toBe('file:/run/credentials/clickhouse-password')
  })

  test('setup runs our commands, in an order that works', async () => {
    const loaded = loadText(yaml, variablesOf('env/setup.env'))
    const lines = valuesOf('homeostat-setup.service', 'ExecStart').map(line => line.split(' pipeline/main.ts ')[1]!.split(' '))
    expect(lines).toEqual([['topics', 'apply'], ['migrate']])
    for (const argv of lines) await checkCommandLine(argv, loaded)
  })

  test('the flags of Node are those of the launcher', () => {
    const launcher = readFileSync(join(ROOT, 'pipeline/run.mjs'), 'utf8')
    for (const flag of valuesOf('homeostat@.service', 'ExecStart')[0]!
      .split(' ')
      .filter(word => word.startsWith('--') && word !== '--role'))
      expect(launcher).toContain(`'${flag}'`)
  })
})
