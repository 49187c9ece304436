// The composition root: opens the chosen roles in the order of the data's way, closes them in reverse.
//
// Main thread: log, intake, diagnose, decide, act, console. Hosted beside it: detect and training (threads), store (a
// process). Nothing here decides anything.
// Roles are loaded when they are opened: what starts again after a crash loads nothing that it does not run.
// What fails while opening closes what is open already; the error names the part.

import type { Config } from '../schemas/config.ts'
import { AppError } from '../schemas/errors.ts'
import type { Logger } from '../schemas/ports.ts'
import { loadConfig, resolveSecret } from './config/load.ts'
import { RoleHost } from './hosting/role-host.ts'
import { holdInstance, instanceId, publishAddresses } from './instance.ts'
import type { OpenRole, RoleContext, RoleData } from './roles/context.ts'
import type { DetectorReports } from './roles/detectors.ts'
import { openProbes, type Phase } from './roles/health.ts'
import { hostedReads, hostsStore, type StoreReads } from './roles/hosted-reads.ts'
import { openLog } from './roles/log.ts'
import { openPatiently } from './roles/patience.ts'
import { checkRoles, ROLES, type Role, type RoleSet, selectRoles } from './roles/select.ts'
import { type HealthServer, openHealthServer } from './self/health-server.ts'
import { openLogger } from './self/logger.ts'
import { openSelfMeter, type SelfMeter } from './self/meter.ts'
import { type Progress, watchProgress } from './self/progress.ts'
import { systemClock, systemRandom } from './system.ts'

/**
 * In the order of opening; those of one row together, since each takes seconds on a busy machine and neither needs the other.
 * Intake comes after those who read, so that stopping begins with taking nothing new. `train` opens nothing: the console starts it.
 */
const OPENERS: readonly Partial<Record<Role, (context: RoleContext) => Promise<OpenRole>>>[] = [
  {
    store: async context => (await import('./roles/store.ts')).openStore(context),
    detect: async context => (await import('./roles/detect.ts')).openDetect(context)
  },
  { control: async context => (await import('./roles/control.ts')).openControl(context) },
  { act: async context => (await import('./roles/act.ts')).openAct(context) },
  { intake: async context => (await import('./roles/intake.ts')).openIntake(context) },
  { console: async context => (await import('./roles/console.ts')).openConsoleRole(context) }
]

export interface App {
  roles: RoleSet
  addresses: Readonly<Record<string, string>>
  /** Resolves with a reason when a part that cannot be restarted stopped. */
  failed: Promise<string>
  /** In reverse order of opening; safe to call twice. */
  close(): Promise<void>
}

export interface AppOptions {
  configFile: string | undefined
  /** Names separated by commas; undefined: HOMEOSTAT_ROLES, else all. */
  roles?: string | undefined
  folder: string
  environment: Readonly<Record<string, string | undefined>>
  version: string
  /** Log lines for a person instead of JSON. */
  pretty: boolean
  /** Gives up what is being opened. */
  stop?: AbortSignal
}

/** @throws AppError when the roles, the configuration or a part of them cannot be used; nothing stays open then */
export async function startApp(options: AppOptions): Promise<App> {
  const { config, file, overrides } = loadConfig(options.configFile, options.folder, options.environment)
  const roles = selectRoles(options.roles ?? options.environment.HOMEOSTAT_ROLES)
  checkRoles(roles, config)
  // Lines of the process itself carry what it is.
  const logger = openLogger({ level: config.self.logLevel, role: roles.size === ROLES.length ? 'app' : [...roles].join('+'), pretty: options.pretty })
  logger.info(
    {
      version: options.version,
      node: process.version,
      config: file ?? 'built-in defaults',
      overrides: [...overrides.keys()],
      dataDir: config.dataDir,
      roles: [...roles]
    },
    'homeostat starts'
  )
  const opening: Opening = { config, roles, options, logger, closers: [holdInstance(config.dataDir)], phase: 'opening', shown: {}, published: {} }
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => {
    closed ??= closeAll(opening)
    return closed
  }
  try {
    return { roles, addresses: opening.shown, ...(await openParts(opening)), close }
  } catch (cause) {
    await close()
    throw cause
  }
}

interface Opening {
  config: Config
  roles: RoleSet
  options: AppOptions
  logger: Logger
  /** In the order of opening. */
  closers: (() => unknown)[]
  phase: Phase
  /** Doors by their name for people, and by that for programs. */
  shown: Record<string, string>
  published: Record<string, string>
}

async function closeAll(opening: Opening): Promise<void> {
  opening.phase = 'closing'
  for (const closer of opening.closers.reverse())
    await Promise.resolve(closer()).catch((cause: unknown) => opening.logger.error({ error: cause }, 'a part did not close cleanly'))
  opening.logger.info({}, 'homeostat stopped')
}

async function openParts(opening: Opening): Promise<Pick<App, 'failed'>> {
  const { config, roles, options, logger, closers, shown, published } = opening
  const self = openSelfMeter({
    environment: config.environment,
    version: options.version,
    instance: instanceId(config.dataDir),
    roles: [...roles],
    // A machine is watched once, by the process that takes its telemetry in.
    hostMetrics: config.self.hostMetrics && roles.has('intake')
  })
  const { context, door } = await openContext(opening, self.meter)
  const failed = Promise.withResolvers<string>()
  for (const row of OPENERS) {
    if (options.stop?.aborted) throw new AppError('timeout', 'stopped while opening')
    if (roles.has('console') && 'console' in row) await door.close() // The console answers probes on this port from now on.
    const chosen = Object.entries(row).filter(([role]) => roles.has(role as Role))
    const opened = await allOpen(
      chosen.map(([, open]) => open(context)),
      closers
    )
    for (const [index, role] of opened.entries()) {
      Object.assign(shown, role.addresses)
      Object.assign(published, role.published)
      role.finished?.catch(cause => {
        logger.error({ hosted: chosen[index]![0], error: cause }, 'role failed')
        failed.resolve(`the ${chosen[index]![0]} role failed`)
      })
    }
  }
  opening.phase = 'open'
  publishAddresses(config.dataDir, { ...published, health: published.health ?? published.console!, roles: [...roles].join(',') })
  logger.info(shown, 'ready')
  if (options.pretty) process.stderr.write(welcome(opening))
  await startSelf(opening, self)
  return { failed: failed.promise }
}

/** What the roles share. The door of probes opens first, so that a slow start is seen as one. */
async function openContext(opening: Opening, meter: SelfMeter): Promise<{ context: RoleContext; door: HealthServer }> {
  const { config, roles, options, logger, closers, shown, published } = opening
  const hosts = new Map<string, RoleHost>()
  const warnings = new Map<string, string>()
  let progress: Progress | undefined
  let reads: StoreReads = hostedReads(() => hosts.get('store'))
  const probes = openProbes({
    ...{ config, roles, meter, hosts, warnings },
    version: options.version,
    addresses: shown,
    clock: systemClock,
    groups: async () => (progress ? progress.log.groups() : Promise.reject(new AppError('log_unavailable', 'the log is not open yet'))),
    pingStore: () => reads.query('SELECT 1 AS one'),
    heldMs: () => progress?.heldMs() ?? 0,
    phase: () => opening.phase
  })
  const section = roles.has('console') ? 'console' : 'health'
  const door = await openHealthServer({ section, listen: config[section].listen, probes })
  closers.push(() => door.close())
  if (section === 'health') shown.health = published.health = door.address
  // A cluster that is away is waited for, for as long as it takes: probes see a process that is not ready.
  const ports = { clock: systemClock, logger }
  const log = await openPatiently(() => openLog(config, { ...ports, meter, role: [...roles].join('+') }), { ...ports, what: 'the log', stop: options.stop })
  closers.push(() => log.close())
  progress = watchProgress(log, systemClock)
  if (!hostsStore(config, roles) && (roles.has('store') || roles.has('act') || roles.has('console'))) {
    const { serverReads } = await import('./roles/store-reads.ts')
    reads = await serverReads({ config, ...ports, stop: options.stop })
    closers.push(() => reads.close())
  }
  const openDetectors = async (): Promise<DetectorReports> => {
    const { hostedDetectors, savedDetectors } = await import('./roles/detectors.ts')
    const { checkpointStore } = await import('./log/checkpoint-store.ts')
    const running = (): RoleHost[] => [...hosts].filter(([name]) => name.startsWith('detect')).map(([, host]) => host)
    // A cluster's partitions may be shared with other detectors; what all of them saved is whole.
    return roles.has('detect') && config.log.kind === 'embedded'
      ? hostedDetectors(running, systemClock)
      : savedDetectors({ log, checkpoints: checkpointStore(log), config })
  }
  const context: RoleContext = {
    ...{ config, roles, reads, openDetectors, probes, meter },
    stop: options.stop,
    environment: options.environment,
    log: progress.log,
    clock: systemClock,
    random: systemRandom,
    warn: (what, detail) => void (detail === undefined ? warnings.delete(what) : warnings.set(what, detail)),
    logger: role => openLogger({ level: config.self.logLevel, role, pretty: options.pretty }),
    async host(role, kind, extra = {}) {
      const name = extra.name ?? role
      const host = await RoleHost.start({
        name,
        kind,
        entry: new URL(`./roles/${role}-role.ts`, import.meta.url),
        data: { config, name, pretty: options.pretty } satisfies RoleData,
        clock: systemClock,
        logger,
        meter,
        ...(options.stop && { stop: options.stop }),
        ...extra
      })
      if (extra.restart !== false) hosts.set(name, host)
      return host
    }
  }
  return { context, door }
}

/** All or none: when one cannot be opened, those that were are closed with the rest. */
async function allOpen(opening: readonly Promise<OpenRole>[], closers: (() => unknown)[]): Promise<OpenRole[]> {
  const settled = await Promise.allSettled(opening)
  const opened = settled.filter(each => each.status === 'fulfilled').map(each => each.value)
  for (const role of opened) closers.push(() => role.close())
  for (const each of settled) if (each.status === 'rejected') throw each.reason
  return opened
}

/** Own metrics go where the configuration says, else into our own intake. */
async function startSelf({ config, options, logger, closers, shown }: Opening, self: ReturnType<typeof openSelfMeter>): Promise<void> {
  const endpoint = config.self.endpoint ?? shown['OTLP/gRPC']
  if (endpoint === 'off') return
  if (endpoint === undefined) {
    logger.info({}, 'own metrics are not sent, since intake runs elsewhere: set self.endpoint to its OTLP/gRPC address, or scrape /metrics')
    return
  }
  const token = config.self.endpoint === undefined ? config.intake.tokens[0] : config.self.token
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${resolveSecret(token, options.environment)}` }
  closers.push(() => self.close())
  await self.start(endpoint, config.self.interval, headers)
}

function welcome({ config, roles, shown }: Opening): string {
  const lines = [...Object.entries(shown), ['roles', [...roles].join(', ')], ['data', config.dataDir]]
  return `
  Homeostat is ready.

${lines.map(([name, value]) => `    ${name!.padEnd(12)}${value}`).join('\n')}

  It watches itself and this machine already. Point a Collector at it, or see it heal: npm run lab
  Ctrl-C stops it.

`
}
