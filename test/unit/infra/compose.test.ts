// The Compose file and the image: read by the specification's own reader, every reference followed, every process as it would start.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { INFRA, infraTools } from '../../support/infra-tools.ts'
import { checkCommandLine, loadText } from '../../support/shipped.ts'

const tools = infraTools()
const FOLDER = join(INFRA, 'compose')
const ROOT = join(INFRA, '..')

interface Mount {
  type: 'bind' | 'volume'
  source: string
  target: string
  read_only?: boolean
}
interface Service {
  image: string
  command: string[] | null
  entrypoint?: string[]
  environment: Record<string, string>
  volumes: Mount[]
  tmpfs?: string[]
  networks: Record<string, unknown>
  secrets?: { source: string; target: string }[]
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test: string[] }
  ports?: { host_ip: string; target: number; published: string }[]
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  build?: { context: string; dockerfile: string; args: Record<string, string> }
}
interface Project {
  services: Record<string, Service>
  volumes: Record<string, unknown>
  networks: Record<string, { internal?: boolean }>
  secrets: Record<string, { environment: string }>
}

describe.skipIf(tools === undefined)('compose.yaml', () => {
  const { services, volumes, networks, secrets }: Project =
    tools === undefined ? { services: {}, volumes: {}, networks: {}, secrets: {} } : parse(tools.compose(join(FOLDER, 'compose.yaml')))
  const all = Object.entries(services)
  const ours = all.filter(([, { image }]) => image.startsWith('homeostat:'))
  const started = ours.filter(([, { command }]) => command?.[0] === 'start')

  test('has every role, a broker, a server and a Collector, all by a pinned release', () => {
    const roles = started.map(([, { command }]) => command![2])
    expect(new Set(roles)).toEqual(new Set(['intake', 'detect', 'control', 'act', 'store', 'console,train']))
    expect(Object.keys(services)).toEqual(expect.arrayContaining(['kafka', 'clickhouse', 'collector', 'keys', 'topics', 'tables']))
    for (const [name, { image }] of all) expect(image, name).toMatch(/:\d+\.\d+/)
  })

  test('every volume, network, secret, file and service that one names is there', () => {
    for (const [name, service] of all) {
      for (const { type, source } of service.volumes ?? []) {
        if (type === 'bind') expect(existsSync(source), `${name}: ${source}`).toBe(true)
        else expect(Object.keys(volumes), name).toContain(source)
      }
      for (const network of Object.keys(service.networks)) expect(Object.keys(networks), name).toContain(network)
      for (const { source } of service.secrets ?? []) expect(Object.keys(secrets), name).toContain(source)
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(Object.keys(services), name).toContain(other)
        if (condition === 'service_healthy') expect(services[other]!.healthcheck, other).toBeDefined()
      }
    }
    const used = new Set(all.flatMap(([, service]) => (service.volumes ?? []).filter(({ type }) => type === 'volume').map(({ source }) => source)))
    expect(used).toEqual(new Set(Object.keys(volumes)))
  })

  test('ports are published on loopback only, Kafka and ClickHouse not at all, and their network leads nowhere else', () => {
    for (const [name, { ports }] of all) for (const { host_ip } of ports ?? []) expect(host_ip, name).toBe('127.0.0.1')
    const published = all.flatMap(([, { ports }]) => (ports ?? []).map(port => port.published))
    expect(new Set(published).size).toBe(published.length)
    for (const name of ['kafka', 'clickhouse']) {
      expect(services[name]!.ports).toBeUndefined()
      expect(Object.keys(services[name]!.networks)).toEqual(['data'])
    }
    expect(networks['data']!.internal).toBe(true)
  })

  test('what is ours runs without privileges on a read-only root, and every path it writes is a volume or memory', () => {
    for (const [name, service] of ours) {
      expect(service, name).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] })
      const writable = [
        ...(service.tmpfs ?? []).map(place => place.split(':')[0]),
        ...service.volumes.filter(mount => !mount.read_only).map(({ target }) => target)
      ]
      expect(writable, name).toEqual(expect.arrayContaining(['/tmp', '/var/lib/homeostat']))
    }
  })

  test.each(ours.filter(([, { entrypoint }]) => entrypoint === undefined || entrypoint === null))(
    '%s starts: its configuration loads and its command line is ours',
    async (_, { command, environment, volumes: mounts, secrets: given }) => {
      const file = mounts.find(({ target }) => target === environment['HOMEOSTAT_CONFIG'])!
      const loaded = loadText(readFileSync(file.source, 'utf8'), environment)
      await checkCommandLine(command!, loaded)
      const { config } = loaded
      expect(config.dataDir).toBe('/var/lib/homeostat')
      expect(services[new URL(config.store.url!).hostname]).toBeDefined()
      for (const broker of config.kafka.brokers) expect(services[broker.split(':')[0]!]).toBeDefined()
      expect(services[new URL(config.self.endpoint!).hostname]).toBeDefined()
      expect(given!.map(({ target }) => `file:${target}`)).toContain(config.store.password)
      if (command!.includes('act'))
        for (const key of config.act.verificationKeyFiles!) expect(mounts.some(({ target }) => key.startsWith(`${target}/`))).toBe(true)
    }
  )

  test('no two members of the cluster have one name, and every process is probed where it listens', () => {
    const instances = started.map(([, { environment }]) => environment['HOMEOSTAT_KAFKA__INSTANCE'])
    expect(new Set(instances).size).toBe(started.length)
    for (const [name, { environment, healthcheck, command, ports }] of started) {
      const { config } = loadText(readFileSync(join(FOLDER, 'homeostat.yaml'), 'utf8'), environment)
      const { port } = command!.includes('console,train') ? config.console.listen : config.health.listen
      expect(healthcheck!.test.join(' '), name).toContain(`127.0.0.1:${port}/livez`)
      for (const { target } of ports ?? []) expect([config.intake.grpc.port, config.intake.http.port, config.console.listen.port]).toContain(target)
    }
  })

  test('the pair that signs commands is made by us, and act sees the public half only', async () => {
    const { entrypoint, volumes: mounts, environment } = services['keys']!
    const loaded = loadText(readFileSync(join(FOLDER, 'homeostat.yaml'), 'utf8'), environment)
    const commands = [...entrypoint!.at(-1)!.matchAll(/pipeline\/main\.ts ([a-z ]+)/g)].map(match => match[1]!.trim().split(' '))
    expect(commands).toEqual([
      ['keys', 'init'],
      ['keys', 'public']
    ])
    for (const command of commands) await checkCommandLine(command, loaded)
    const sourceOf = (list: readonly Mount[], target: string): string | undefined => list.find(mount => mount.target === target)?.source
    expect(sourceOf(mounts, '/var/lib/homeostat')).toBe(sourceOf(services['control']!.volumes, '/var/lib/homeostat'))
    expect(sourceOf(mounts, '/keys')).toBe(sourceOf(services['act']!.volumes, '/keys'))
    expect(services['act']!.volumes.map(({ source }) => source)).not.toContain('control')
  })

  test('the Collector finds its door, and its queue is a volume', () => {
    const { environment, volumes: mounts, command } = services['collector']!
    expect(mounts.map(({ target }) => target)).toEqual(expect.arrayContaining([environment['QUEUE_DIR'], command!.at(-1)]))
    expect(services[environment['HOMEOSTAT_GRPC']!.replace(/^dns:\/\/\/|:\d+$/g, '')]).toBeDefined()
  })
})

describe('the Containerfile', () => {
  const lines = readFileSync(join(FOLDER, 'Containerfile'), 'utf8')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter(line => /^[A-Z]+ /.test(line))
  const of = (word: string): string[] => lines.filter(line => line.startsWith(`${word} `)).map(line => line.slice(word.length + 1))

  test('copies what is there, and everything that the process imports', () => {
    const sources = of('COPY')
      .filter(line => !line.startsWith('--from'))
      .flatMap(line => line.split(' ').slice(0, -1))
    for (const source of sources) expect(existsSync(join(ROOT, source)), source).toBe(true)
    expect(sources).toEqual(expect.arrayContaining(['pipeline', 'schemas', 'detectors', 'models', 'actuators', 'package.json', 'package-lock.json']))
    const ignored = readFileSync(join(FOLDER, 'Containerfile.dockerignore'), 'utf8')
    for (const source of sources) expect(ignored).toContain(`!${source}`)
  })

  test('runs as a numbered user that is not root, by the flags of the launcher', () => {
    expect(of('USER')).toEqual(['10001:10001'])
    const [node, ...rest] = JSON.parse(of('ENTRYPOINT')[0]!) as string[]
    expect(node).toBe('node')
    expect(existsSync(join(ROOT, rest.at(-1)!))).toBe(true)
    const launcher = readFileSync(join(ROOT, 'pipeline/run.mjs'), 'utf8')
    for (const flag of rest.slice(0, -1)) expect(launcher).toContain(`'${flag}'`)
  })

  test('has the Node that package.json asks for', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
    for (const image of of('FROM')) expect(image).toContain(`node:${dependencies['node']!.replace('^', '')}`)
  })
})
