// What the two doors share: options, limits against slow and greedy peers, TLS, addresses, counting.

import { readFileSync } from 'node:fs'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { SecureContextOptions, TlsOptions } from 'node:tls'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger, Meter } from '../../schemas/ports.ts'
import { type Refusal, refusal } from './answer.ts'
import type { Receiver } from './receive.ts'

/** From the first header byte to the last body byte. Collectors give up after 5 s (gRPC) and 30 s (HTTP) by default, so nobody waits longer in earnest. */
export const REQUEST_TIMEOUT_MS = 60_000
export const HEADERS_TIMEOUT_MS = 10_000 // Headers fit one packet; ten seconds is a slowloris or a dead link.
export const HEADER_BYTES_MAX = 16 * 1_024 // Node's default; a bearer token and the usual fields need 2 KiB.
/** Idle connections are kept: reconnecting costs senders more. Longer than the Collector's own 90 s, so that it is the one who closes. */
export const IDLE_TIMEOUT_MS = 100_000
export const CONNECTIONS_MAX = 10_000 // A door. A Collector holds one a signal; about 10 KiB each at rest.
/** Connections that have not yet brought one whole request head. An honest one needs a moment for that; a slowloris never does. */
export const UNPROVEN_MAX = 1_000
export const DRAIN_MS = 5_000 // What is under way at `close` may finish; then connections are cut.

export interface DoorOptions {
  address: { host: string; port: number }
  tls: Config['intake']['tls']
  receiver: Receiver
  retryAfterMs: number
  clock: Clock
  logger: Logger
  meter: Meter
}

/** A bound listener. */
export interface Door {
  /** `host:port` as bound. */
  address: string
  /** Takes no new connections, lets what is under way finish, cuts the rest. Safe to call twice. */
  close(): Promise<void>
}

/** @throws AppError `config_invalid` when a file cannot be read */
export function tlsOptions(tls: NonNullable<Config['intake']['tls']>): TlsOptions & SecureContextOptions {
  return {
    cert: readPem(tls.certFile, 'certFile'),
    key: readPem(tls.keyFile, 'keyFile'),
    minVersion: 'TLSv1.2',
    handshakeTimeout: HEADERS_TIMEOUT_MS,
    ...(tls.clientCaFile === undefined ? {} : { ca: readPem(tls.clientCaFile, 'clientCaFile'), requestCert: true, rejectUnauthorized: true })
  }
}

function readPem(file: string, key: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new AppError('config_invalid', `intake.tls.${key}: cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** Binds the server. @throws AppError `config_invalid` when the address cannot be had */
export function listen(server: Server, { host, port }: { host: string; port: number }, key: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      reject(new AppError('config_invalid', `intake.${key}: cannot listen on ${host}:${port}: ${cause.message}; free the port or choose another`, { cause }))
    }
    server.once('error', failed)
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off('error', failed)
      const { address, family, port: bound } = server.address() as AddressInfo
      resolve(`${family === 'IPv6' ? `[${address}]` : address}:${bound}`)
    })
  })
}

const BACKLOG = 2_048 // Connections that wait for the process to accept them; a flood must not cost honest ones a second try.

interface Connection {
  destroy(): void
  once(event: 'close', listener: () => void): unknown
}

/**
 * Keeps room for new connections: of too many that have not brought a request yet, the oldest is cut.
 * `name` is what `add` and `prove` agree on for one connection.
 */
export function openProbation<Name>(): { add(name: Name, connection: Connection): void; prove(name: Name): void } {
  const unproven = new Map<Name, Connection>()
  return {
    add(name, connection) {
      unproven.set(name, connection)
      connection.once('close', () => {
        if (unproven.get(name) === connection) unproven.delete(name)
      })
      if (unproven.size <= UNPROVEN_MAX) return
      const [oldest] = unproven
      unproven.delete(oldest![0])
      oldest![1].destroy()
    },
    prove: name => void unproven.delete(name)
  }
}

/** The peer's address without port; IPv4 in its own form also where the socket is dual-stack. */
export function peerAddress(socket: Socket | undefined): string {
  const address = socket?.remoteAddress ?? 'unknown'
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/** Counts one request and says how a failure is answered. Bugs are logged, since the sender only hears that it shall come again. */
export function outcomeOf(
  options: Pick<DoorOptions, 'meter' | 'logger'>,
  transport: 'grpc' | 'http'
): (signal: string, error?: unknown) => Refusal | undefined {
  const { meter, logger } = options
  return (signal, error) => {
    const refused = error === undefined ? undefined : refusal(error)
    const labels = { signal, transport, code: refused?.code ?? 'ok' }
    meter.count('homeostat.intake.requests', 1, labels)
    if (refused === undefined) return undefined
    meter.count('homeostat.intake.refused', 1, labels)
    if (refused.code === 'bug') logger.error({ error, signal, transport }, 'intake met a fault of its own; the sender was told to come again')
    else logger.debug({ ...labels, reason: refused.message }, 'intake refused a request')
    return refused
  }
}
