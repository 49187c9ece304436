// The composition root: opens every part in the order of the data's way, closes them in reverse.
//
// Main thread: log, intake, diagnose, decide, act, console. Hosted beside it: detect and training (threads), store (a
// process). Nothing here decides anything.
// What fails while opening closes what is open already; the error names the part.

import { join } from 'node:path'
import type { Config } from '../schemas/config.ts'
import { AppError } from '../schemas/errors.ts'
import type { Logger, Signals, Store } from '../schemas/ports.ts'
import { loadConfig, resolveSecret } from './config/load.ts'
import { openLiveView } from './console/live-view.ts'
import { openConsole } from './console/server.ts'
import { holdInstance, publishAddresses } from './instance.ts'
import { Intake } from './intake/intake.ts'
import { openAct } from './roles/act.ts'
import { openControl } from './roles/control.ts'
import type { RoleData } from './roles/detect-role.ts'
import { pipelineHealth } from './roles/health.ts'
import { openSigningKey } from './roles/keys.ts'
import { openLog } from './roles/log.ts'
import { openLogger } from './self/logger.ts'
import { openSelfMeter } from './self/meter.ts'
import { systemClock, systemRandom } from './system.ts'
import { type RoleOptions, RoleHost } from './hosting/role-host.ts'

export { loadRunbookSet } from './roles/control.ts'

export interface App {
  addresses: Readonly<Record<string, string>>
  /** Resolves with a reason when a part that cannot be restarted stopped. */
  failed: Promise<string>
  /** In reverse order of opening; safe to call twice. */
  close(): Promise<void>
}

export interface AppOptions {
  configFile: string | undefined
  folder: string
  environment: Readonly<Record<string, string | undefined>>
  version: string
  /** Log lines for a person instead of JSON. */
  pretty: boolean
}

export async function startApp(options: AppOptions): Promise<App> {
  const { config, file, overrides } = loadConfig(options.configFile, options.folder, options.environment)
  const logger = openLogger({ level: config.self.logLevel, role: 'app', pretty: options.pretty })
  logger.info(
    { version: options.version, node: process.version, config: file ?? 'built-in defaults', overrides: [...overrides.keys()], dataDir: config.dataDir },
    'homeostat starts'
  )
  const closers: (() => unknown)[] = [holdInstance(config.dataDir)]
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => {
    closed ??= (async () => {
      for (const closer of closers.reverse())
        await Promise.resolve(closer()).catch((cause: unknown) => logger.error({ err: cause }, 'a part did not close cleanly'))
      logger.info({}, 'homeostat stopped')
    })()
    return closed
  }
  try {
    return { ...(await openParts(config, options, logger, closers)), close }
  } catch (cause) {
    await close()
    throw cause
  }
}

async function openParts(config: Config, options: AppOptions, logger: Logger, closers: (() => unknown)[]): Promise<Omit<App, 'close'>> {
  const startedAtMs = systemClock.nowMs()
  const failed = Promise.withResolvers<string>()
  const self = openSelfMeter({ environment: config.environment, version: options.version, hostMetrics: config.self.hostMetrics })
  const meter = self.meter
  const ports = { clock: systemClock, random: systemRandom, logger, meter }
  const log = await openLog(config, ports)
  closers.push(() => log.close())

  const host = (name: string, kind: RoleOptions['kind'], extra: Partial<RoleOptions> = {}): Promise<RoleHost> =>
    RoleHost.start({
      name,
      kind,
      entry: new URL(`./roles/${name}-role.ts`, import.meta.url),
      data: { config, pretty: options.pretty } satisfies RoleData,
      clock: systemClock,
      logger,
      meter,
      ...extra
    })
  // Together: each takes seconds on a busy machine, and neither needs the other to open.
  const [storeRole, detectRole] = await allOpen<[RoleHost, RoleHost]>([host('store', 'process'), host('detect', 'thread')], closers)
  const store: Pick<Store, 'query'> = { query: (sql, parameters) => storeRole.call('query', { sql, parameters }) }
  const signals: Signals = {
    series: query => storeRole.call('series', query),
    logs: (...parameters) => storeRole.call('logs', parameters),
    spans: (...parameters) => storeRole.call('spans', parameters)
  }

  const key = openSigningKey(config)
  const control = await openControl({ config, log, key, ...ports })
  closers.push(() => control.close())
  const act = await openAct({ config, log, key, signals, ...ports })
  closers.push(() => act.close())
  // A bug in these stops the whole process: whoever supervises it starts it again, and it goes on from its checkpoints.
  for (const [name, { finished }] of Object.entries({ control, act })) {
    finished.catch(cause => {
      logger.error({ hosted: name, err: cause }, 'role failed')
      failed.resolve(`the ${name} role failed`)
    })
  }

  const tokens = config.intake.tokens.map(token => resolveSecret(token, options.environment))
  const intake = await Intake.open({ config: { ...config.intake, tokens }, environment: config.environment, log, ...ports })
  closers.push(() => intake.close())

  const view = await openLiveView({ log, clock: systemClock, logger })
  closers.push(() => view.close())
  const scheme = config.intake.tls ? 'https' : 'http'
  const addresses: Record<string, string> = { 'OTLP/gRPC': `${scheme}://${intake.addresses.grpc}`, 'OTLP/HTTP': `${scheme}://${intake.addresses.http}` }
  const health = () =>
    pipelineHealth({
      config,
      version: options.version,
      startedAtMs,
      addresses,
      log,
      meter,
      roles: { store: storeRole, detect: detectRole },
      ready: () => ready
    })
  let ready = false
  const page = await openConsole({
    listen: config.console.listen,
    tokens: config.console.tokens.map(token => resolveSecret(token, options.environment)),
    log,
    view,
    signals,
    explain: control.explain,
    sql: query => storeRole.call('readOnly', query),
    health,
    train: progress => trainOnce(extra => host('train', 'thread', extra), store, progress),
    clock: systemClock,
    logger
  })
  closers.push(() => page.close())
  addresses.console = page.address

  if (config.self.endpoint !== 'off') {
    const headers: Record<string, string> = tokens[0] && !config.self.endpoint ? { authorization: `Bearer ${tokens[0]}` } : {}
    self.start(config.self.endpoint ?? addresses['OTLP/gRPC']!, config.self.interval, headers)
    closers.push(() => self.close())
  }
  ready = true
  publishAddresses(config.dataDir, { grpc: intake.addresses.grpc, http: intake.addresses.http, console: page.address })
  logger.info(addresses, 'ready')
  if (options.pretty) process.stderr.write(welcome(addresses, join(config.dataDir)))
  return { addresses, failed: failed.promise }
}

/** All or none: when one cannot be opened, those that were are closed with the rest. */
async function allOpen<Parts extends readonly { close(): Promise<void> }[]>(
  opening: { [Index in keyof Parts]: Promise<Parts[Index]> },
  closers: (() => unknown)[]
): Promise<Parts> {
  const settled = await Promise.allSettled(opening)
  for (const each of settled) if (each.status === 'fulfilled') closers.push(() => each.value.close())
  for (const each of settled) if (each.status === 'rejected') throw each.reason
  return settled.map(each => (each as PromiseFulfilledResult<Parts[number]>).value) as unknown as Parts
}

/** One training at a time: a second request waits for nothing and is refused. */
let training = false

async function trainOnce(
  host: (extra: Partial<RoleOptions>) => Promise<RoleHost>,
  store: Pick<Store, 'query'>,
  progress: (line: string) => void
): Promise<Record<string, unknown>> {
  if (training) throw new AppError('usage', 'a training runs already: wait for it to end')
  training = true
  try {
    const role = await host({
      restart: false,
      methods: { query: ({ sql, parameters }: { sql: string; parameters: Record<string, unknown> }) => store.query(sql, parameters), progress }
    })
    try {
      return await role.call<Record<string, unknown>>('train')
    } finally {
      await role.close()
    }
  } finally {
    training = false
  }
}

function welcome(addresses: Readonly<Record<string, string>>, dataDir: string): string {
  return `
  Homeostat is ready.

    console     ${addresses.console}
    OTLP gRPC   ${addresses['OTLP/gRPC']}
    OTLP HTTP   ${addresses['OTLP/HTTP']}
    data        ${dataDir}

  It watches itself and this machine already. Point a Collector at it, or see it heal: npm run lab
  Ctrl-C stops it.

`
}
