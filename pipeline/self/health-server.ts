// The health server: the probes of a process that has no console. Opens before the roles, so that a slow start is seen; closes last.

import Fastify from 'fastify'
import { AppError } from '../../schemas/errors.ts'
import { healthRoutes, type Probes } from './health-routes.ts'

export interface HealthServer {
  /** `http://host:port` as bound. */
  address: string
  close(): Promise<void>
}

/** @throws AppError `config_invalid` when the address is taken */
export async function openHealthServer(options: { listen: { host: string; port: number }; probes: Probes }): Promise<HealthServer> {
  const { listen, probes } = options
  const app = Fastify({ logger: false, forceCloseConnections: true })
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ error: { code: 'not_found', message: 'this process has no console: here are /livez, /readyz, /startupz and /metrics' } })
  )
  healthRoutes(app, probes)
  try {
    await app.listen({ ...listen }) // Fastify writes into what it is given.
  } catch (cause) {
    throw new AppError('config_invalid', `the health server cannot listen on ${listen.host}:${listen.port}: set health.listen.port to a free one`, { cause })
  }
  const { port } = app.server.address() as { port: number }
  return { address: `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}`, close: () => app.close() }
}
