// The health server: the probes of a process that has no console, or has not opened it yet. Opens before the roles, so that a slow
// start is seen as one; closes last, or when the console takes its port over.

import Fastify from 'fastify'
import { AppError } from '../../schemas/errors.ts'
import { hostPort } from '../host-port.ts'
import { healthRoutes, type Probes } from './health-routes.ts'

export interface HealthServer {
  /** `http://host:port` as bound. */
  address: string
  /** Safe to call twice. */
  close(): Promise<void>
}

/**
 * @param options.section of the configuration that names the address
 * @throws AppError `config_invalid` when the address is taken
 */
export async function openHealthServer(options: {
  section: 'health' | 'console'
  listen: { host: string; port: number }
  probes: Probes
}): Promise<HealthServer> {
  const { section, listen, probes } = options
  const app = Fastify({ logger: false, forceCloseConnections: true })
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ error: { code: 'not_found', message: 'this process has no console (yet): here are /livez, /readyz, /startupz and /metrics' } })
  )
  healthRoutes(app, probes)
  try {
    await app.listen({ ...listen }) // Fastify writes into what it is given.
  } catch (cause) {
    throw new AppError('config_invalid', `probes cannot be answered on ${listen.host}:${listen.port}: set ${section}.listen.port to a free one`, { cause })
  }
  const { port } = app.server.address() as { port: number }
  let closed: Promise<void> | undefined
  return {
    address: `http://${hostPort(listen.host, port)}`,
    close() {
      closed ??= app.close()
      return closed
    }
  }
}
