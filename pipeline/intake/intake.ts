// The intake role: both OTLP doors in front of one log, and behind it, where it is asked for, the topics that Collectors write.
//
// Promise: a sender hears "taken" only after its records are durable, and every refusal that can pass tells it to come
// again. Holds no state of its own: after a crash there is nothing to restore, since what was not durable was not answered.

import type { Config } from '../../schemas/config.ts'
import type { Clock, Log, Logger, Meter } from '../../schemas/ports.ts'
import { openGrpcDoor } from './otlp-grpc.ts'
import { openHttpDoor } from './otlp-http.ts'
import { openTopicsDoor } from './otlp-topics.ts'
import { openReceiver, type Receiver } from './receive.ts'
import type { Door, DoorOptions } from './transport.ts'

export interface IntakeOptions {
  /** With `tokens` resolved to their values. */
  config: Config['intake']
  environment: string
  log: Log
  clock: Clock
  logger: Logger
  meter: Meter
}

export class Intake {
  /** `host:port` as bound. */
  readonly addresses: { grpc: string; http: string }
  readonly #doors: readonly Pick<Door, 'close'>[]
  readonly #receiver: Receiver
  #closing: Promise<void> | undefined

  /** Binds both doors, and opens the third when `config.topics` is enabled. @throws AppError `config_invalid` when an address is taken or a TLS file cannot be read */
  static async open(options: IntakeOptions): Promise<Intake> {
    const { config, environment, log, clock, logger, meter } = options
    warnWhenOpen(config, logger)
    const receiver = openReceiver({
      log,
      clock,
      meter,
      environment,
      tokens: config.tokens,
      bodyBytesMax: config.bodyBytesMax,
      inFlightBytesMax: config.inFlightBytesMax,
      appendTimeoutMs: config.appendTimeout,
      fallbackEntity: config.fallbackEntity,
      alertLabels: config.alertmanager.enabled ? config.alertmanager.labels : undefined
    })
    const door: Omit<DoorOptions, 'address'> = { tls: config.tls, receiver, retryAfterMs: config.retryAfter, clock, logger, meter }
    const grpc = await openGrpcDoor({ ...door, address: config.grpc })
    try {
      const http = await openHttpDoor({ ...door, address: config.http })
      logger.info({ grpc: grpc.address, http: http.address, tls: config.tls !== undefined, tokens: config.tokens.length }, 'intake takes OTLP')
      const topics = config.topics.enabled ? [openTopicsDoor({ config, environment, log, clock, logger, meter })] : []
      return new Intake([grpc, http, ...topics], receiver, { grpc: grpc.address, http: http.address })
    } catch (error) {
      await grpc.close()
      throw error
    }
  }

  private constructor(doors: readonly Pick<Door, 'close'>[], receiver: Receiver, addresses: { grpc: string; http: string }) {
    this.#doors = doors
    this.#receiver = receiver
    this.addresses = addresses
  }

  /** Takes nothing new, lets what is under way be answered, and waits for the log to settle it. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#doors.map(door => door.close())).then(() => this.#receiver.settled())
    return this.#closing
  }
}

const LOOPBACK = /^(127\.|::1$|localhost$)/

function warnWhenOpen(config: Config['intake'], logger: Logger): void {
  const exposed = [config.grpc.host, config.http.host].filter(host => !LOOPBACK.test(host))
  if (exposed.length === 0) return
  if (config.tls === undefined) logger.warn({ hosts: exposed }, 'intake listens beyond this machine without TLS: set intake.tls, or bind 127.0.0.1')
  if (config.tokens.length === 0) logger.warn({ hosts: exposed }, 'intake listens beyond this machine and takes data from anybody: set intake.tokens')
}
