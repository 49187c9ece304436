// The main thread's side of a hosted role: start, ready, calls, readings, restart after a bug, ordered close.
//
// A role lives in a worker thread, or in a process of its own where a crash of a native part (the embedded ClickHouse engine)
// must not take the rest down with it: infra/docs/decisions/0002.
// A host that dies starts again from its last checkpoint after a growing pause; until then its calls fail at once.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger } from '../../schemas/ports.ts'
import type { SelfMeter } from '../self/meter.ts'
import { type Methods, openPeer, type Peer, type Port } from './peer.ts'
import type { Heartbeat } from './serve-role.ts'

/** Pauses before a restart: a role that dies at once must not spin, one that died once is soon back. */
const RESTART_MIN_MS = 250
const RESTART_MAX_MS = 10_000
/** A role that does not end by itself after its close is ended. */
const END_DEADLINE_MS = 2_000

export interface RoleOptions {
  name: string
  kind: 'thread' | 'process'
  /** Module that calls `serveRole`. */
  entry: URL
  /** What the role gets as its `data`. */
  data: unknown
  /** What the role may call here. */
  methods?: Methods
  clock: Clock
  logger: Logger
  meter: SelfMeter
  /** False: a role that ends is not started again (training). */
  restart?: boolean
  /** Ends the role, also while it opens. */
  stop?: AbortSignal
}

/** A thread or a process, alike. */
interface Body {
  port: Port
  onError(listener: (error: Error) => void): void
  onExit(listener: (code: number | null) => void): void
  /** Ends it at once. */
  end(): unknown
}

export class RoleHost {
  readonly #options: RoleOptions
  readonly #stop = new AbortController()
  #body: Body | undefined
  #peer: Peer | undefined
  #ended: Promise<void> = Promise.resolve()
  #restarts = 0
  #heardMs = 0
  #heldMs = 0

  private constructor(options: RoleOptions) {
    this.#options = options
  }

  /** Resolves when the role says that it is ready. @throws what the role threw while it opened */
  static async start(options: RoleOptions): Promise<RoleHost> {
    const host = new RoleHost(options)
    const stop = (): void => void host.close()
    options.stop?.addEventListener('abort', stop, { once: true })
    try {
      if (options.stop?.aborted) throw new AppError('timeout', `the ${options.name} role was not started: the process stops`)
      await host.#launch()
      return host
    } finally {
      options.stop?.removeEventListener('abort', stop)
    }
  }

  /** @throws AppError `timeout` while the role is down */
  call<Result>(method: string, parameters?: unknown): Promise<Result> {
    if (!this.#peer) return Promise.reject(new AppError('timeout', `the ${this.#options.name} role is restarting: try again in a moment`))
    return this.#peer.call<Result>(method, parameters)
  }

  get alive(): boolean {
    return this.#peer !== undefined
  }

  /** Since the last heartbeat (one a second), or since the launch, ms: much of it means that the role's event loop stands. */
  get silentMs(): number {
    return this.#options.clock.monotonicMs() - this.#heardMs
  }

  /** For how long the role had a batch in hand when it was last heard, ms. */
  get heldMs(): number {
    return this.#heldMs
  }

  /** Lets the role finish its batch and checkpoint. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return this.#ended
    this.#stop.abort()
    await this.#peer?.call('close').catch(cause => this.#options.logger.warn({ hosted: this.#options.name, error: cause }, 'role did not close cleanly'))
    await Promise.race([this.#ended, this.#options.clock.sleep(END_DEADLINE_MS)])
    await this.#body?.end()
    await this.#ended
  }

  async #launch(): Promise<void> {
    const { kind, methods, logger, meter, name, data } = this.#options
    const body = kind === 'thread' ? openThread(this.#options) : openProcess(this.#options)
    this.#body = body
    this.#heardMs = this.#options.clock.monotonicMs()
    this.#heldMs = 0
    await new Promise<void>((resolve, reject) => {
      const peer = openPeer(body.port, {
        ...methods,
        data: () => data,
        ready: () => {
          this.#peer = peer
          resolve()
        },
        failed: ({ code, message }: { code: AppError['code']; message: string }) => {
          logger.error({ hosted: name, code }, message)
          reject(new AppError(code, message))
        },
        heartbeat: ({ readings, heldMs }: Heartbeat) => {
          this.#heardMs = this.#options.clock.monotonicMs()
          this.#heldMs = heldMs
          meter.merge(readings)
        }
      })
      body.onError(error => {
        reject(error)
        logger.error({ hosted: name, error }, 'role failed')
      })
      this.#ended = new Promise(ended => {
        body.onExit(code => {
          this.#peer = undefined
          peer.close(`the ${name} role ended`)
          reject(new AppError('bug', `the ${name} role ended with code ${code} before it was ready`))
          ended()
          if (this.#options.restart !== false) void this.#relaunch()
        })
      })
    })
  }

  async #relaunch(): Promise<void> {
    const { clock, logger, name, meter } = this.#options
    if (this.#stop.signal.aborted) return
    const pauseMs = Math.min(RESTART_MIN_MS * 2 ** this.#restarts++, RESTART_MAX_MS)
    meter.count('homeostat.role.restarts', 1, { hosted: name })
    logger.warn({ hosted: name, pauseMs }, 'role restarts from its last checkpoint')
    await clock.sleep(pauseMs, this.#stop.signal)
    // A launch that fails ends the body, whose exit comes back here.
    if (!this.#stop.signal.aborted) await this.#launch().catch(() => undefined)
  }
}

function openThread({ entry, name }: RoleOptions): Body {
  const worker = new Worker(entry, { name })
  return {
    port: { postMessage: message => worker.postMessage(message), on: (_event, listener) => worker.on('message', listener) },
    onError: listener => worker.on('error', error => listener(error as Error)),
    onExit: listener => worker.on('exit', listener),
    end: () => worker.terminate()
  }
}

function openProcess({ entry }: RoleOptions): Body {
  // `advanced` serialization carries bytes and maps as a thread's port does.
  const child = fork(fileURLToPath(entry), { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  // It ends by itself when this process does, unless it hangs: then it would keep the lock of its data for ever.
  const endWithUs = (): void => void child.kill('SIGKILL')
  process.once('exit', endWithUs)
  child.once('exit', () => process.removeListener('exit', endWithUs))
  return {
    port: {
      postMessage: message => void (child.connected && child.send(message as object)),
      on: (_event, listener) => child.on('message', listener)
    },
    onError: listener => child.on('error', listener),
    onExit: listener => child.on('exit', listener),
    end: () => child.kill('SIGKILL')
  }
}
