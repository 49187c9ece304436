// The intake role: the doors for OTLP, with their tokens resolved.

import { resolveSecret } from '../config/load.ts'
import { Intake } from '../intake/intake.ts'
import type { OpenRole, RoleContext } from './context.ts'

export async function openIntake(context: RoleContext): Promise<OpenRole> {
  const { config, environment, log, clock, meter } = context
  const tokens = config.intake.tokens.map(token => resolveSecret(token, environment))
  const intake = await Intake.open({
    config: { ...config.intake, tokens },
    environment: config.environment,
    log,
    clock,
    meter,
    logger: context.logger('intake')
  })
  const { grpc, http } = intake.addresses
  const scheme = config.intake.tls ? 'https' : 'http'
  return {
    addresses: { 'OTLP/gRPC': `${scheme}://${grpc}`, 'OTLP/HTTP': `${scheme}://${http}` },
    published: { grpc, http },
    close: () => intake.close()
  }
}
