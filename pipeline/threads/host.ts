// The main thread's side of a worker thread: start, ready, calls, readings, restart after a bug, ordered close.
//
// A thread that dies starts again from its last checkpoint, after a growing pause; until then its calls fail at once.
// Threads share nothing but the log's files and this port.

import { Worker } from 'node:worker_threads'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger } from '../../schemas/ports.ts'
import type { MeterReading, SelfMeter } from '../self/meter.ts'
import { type Methods, openPeer, type Peer } from './peer.ts'

/** Pauses before a restart: a thread that dies at once must not spin, one that died once is soon back. */
const RESTART_MIN_MS = 250
const RESTART_MAX_MS = 10_000

export interface ThreadOptions {
  name: string
  /** Module that calls `serveThread`. */
  entry: URL
  workerData: unknown
  /** What the thread may call here. */
  methods?: Methods
  clock: Clock
  logger: Logger
  meter: SelfMeter
  /** False: a thread that ends is not started again (training). */
  restart?: boolean
}

export class ThreadHost {
  readonly #options: ThreadOptions
  readonly #stop = new AbortController()
  #worker: Worker | undefined
  #peer: Peer | undefined
  #ended: Promise<void> = Promise.resolve()
  #restarts = 0

  private constructor(options: ThreadOptions) {
    this.#options = options
  }

  /** Resolves when the thread says that it is ready. @throws what the thread threw while it opened */
  static async start(options: ThreadOptions): Promise<ThreadHost> {
    const host = new ThreadHost(options)
    await host.#launch()
    return host
  }

  /** @throws AppError `timeout` while the thread is down */
  call<Result>(method: string, parameters?: unknown): Promise<Result> {
    if (!this.#peer) return Promise.reject(new AppError('timeout', `the ${this.#options.name} thread is restarting: try again in a moment`))
    return this.#peer.call<Result>(method, parameters)
  }

  get alive(): boolean {
    return this.#peer !== undefined
  }

  /** Lets the thread finish its batch and checkpoint. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return this.#ended
    this.#stop.abort()
    await this.#peer?.call('close').catch(() => undefined)
    await this.#worker?.terminate()
    await this.#ended
  }

  async #launch(): Promise<void> {
    const { entry, workerData, methods, logger, meter, name } = this.#options
    const worker = new Worker(entry, { workerData, name })
    this.#worker = worker
    await new Promise<void>((resolve, reject) => {
      const peer = openPeer(worker, {
        ...methods,
        ready: () => {
          this.#peer = peer
          resolve()
        },
        readings: (readings: MeterReading[]) => meter.merge(readings)
      })
      let failure: Error | undefined
      worker.on('error', error => {
        failure = error as Error
        logger.error({ thread: name, err: error }, 'thread failed')
      })
      this.#ended = new Promise(ended => {
        worker.on('exit', code => {
          this.#peer = undefined
          peer.close(`the ${name} thread ended`)
          reject(failure ?? new AppError('bug', `the ${name} thread ended with code ${code} before it was ready`))
          ended()
          if (this.#options.restart !== false) void this.#relaunch()
        })
      })
    })
  }

  async #relaunch(): Promise<void> {
    const { clock, logger, name, meter } = this.#options
    while (!this.#stop.signal.aborted) {
      const pauseMs = Math.min(RESTART_MIN_MS * 2 ** this.#restarts++, RESTART_MAX_MS)
      meter.count('homeostat.thread.restarts', 1, { thread: name })
      logger.warn({ thread: name, pauseMs }, 'thread restarts from its last checkpoint')
      await clock.sleep(pauseMs, this.#stop.signal)
      if (this.#stop.signal.aborted) return
      // A launch that fails ends the worker, whose exit comes back here; one that succeeds ends this loop.
      await this.#launch().catch(() => undefined)
      return
    }
  }
}
