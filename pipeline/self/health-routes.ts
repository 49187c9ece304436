// What a probe asks of this process: /livez (restart it?), /readyz and /startupz (send it work?), /metrics.
//
// The console and the small health server answer the same; roles/health.ts knows the answers. Open to whoever reaches the port:
// names of roles and counts, nothing of the telemetry.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { MeterReading } from './meter.ts'
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from './prometheus-text.ts'

export interface HealthCheck {
  name: string
  ok: boolean
  detail: string
}

/** Health of this process for people, `homeostat status` and /readyz. */
export interface PipelineHealth {
  ready: boolean
  version: string
  environment: string
  /** Those that run in this process. */
  roles: readonly string[]
  startedAtMs: number
  addresses: Readonly<Record<string, string>>
  checks: HealthCheck[]
  /** What people should mend though the work goes on, by what it is about. */
  warnings: Readonly<Record<string, string>>
  /** Records behind, by consumer group: of all processes, since the log keeps them. */
  lag: Readonly<Record<string, number>>
  counters: Readonly<Record<string, number>>
}

/** Whether the process goes forward by itself; false means that only a restart helps. */
export interface Liveness {
  ok: boolean
  /** Those that fail. */
  checks: HealthCheck[]
}

export interface Probes {
  health(): Promise<PipelineHealth>
  live(): Promise<Liveness>
  readings(): MeterReading[]
}

export function healthRoutes(app: FastifyInstance, probes: Probes): void {
  const readiness = async (_request: FastifyRequest, reply: FastifyReply) => {
    const { ready, checks, warnings } = await probes.health()
    // What they are about, and no more: the details may quote files.
    return reply.code(ready ? 200 : 503).send({ ready, checks, warnings: Object.keys(warnings) })
  }
  app.get('/livez', async (_request, reply) => {
    const liveness = await probes.live()
    return reply.code(liveness.ok ? 200 : 503).send(liveness)
  })
  app.get('/readyz', readiness)
  app.get('/startupz', readiness)
  app.get('/metrics', async (_request, reply) => reply.type(PROMETHEUS_CONTENT_TYPE).send(prometheusText(probes.readings())))
}
