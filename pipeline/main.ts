// CLI entry: hands the arguments to the program; `start` opens the chosen roles and closes them in order on a signal.
//
// One SIGTERM or SIGINT: everything in hand is finished and the process ends, with 0 for SIGTERM and 130 for SIGINT. What is not
// finished within the deadline is left to the next start. A second signal ends the process at once.

import { readFileSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { join } from 'node:path'

/** After this a stuck close gives way: everything acknowledged is durable anyway. Kubernetes waits 30 s by default before it kills. */
const CLOSE_DEADLINE_MS = 25_000
/** npm and run.mjs pass a signal on that the terminal or systemd sent to the whole group: what comes so soon is the same signal. */
const SIGNAL_ECHO_MS = 1_000
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const
const EXIT_FAILED = 1

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

// What was stripped of its types and compiled once is not again: a role that died is back in half the time. Beside the modules, where only
// who may change the program can write; where nobody can, it is done without.
enableCompileCache(join(import.meta.dirname, '..', 'node_modules', '.cache', 'homeostat'))
const { runProgram } = await import('./cli/program.ts')
const { outliveReaders } = await import('./cli/closed-pipe.ts')

outliveReaders(process.stdout, process.stderr)
process.exitCode = await runProgram(process.argv.slice(2), {
  version,
  async start({ config, roles, pretty }) {
    const signals = listenForSignals()
    const { startApp } = await import('./app.ts') // The other commands need none of it and start in half the time without.
    const opening = startApp({ configFile: config, roles, folder: process.cwd(), environment: process.env, version, pretty, stop: signals.stop })
    const app = await opening.catch((error: unknown) => {
      if (signals.stop.aborted) return undefined // It was told to stop before it was open.
      throw error
    })
    flushCompileCache() // At its end would be too late for who is killed.
    const reason = app && (await Promise.race([signals.first, app.failed]))
    setTimeout(() => process.exit(EXIT_FAILED), CLOSE_DEADLINE_MS).unref()
    await app?.close()
    if (signals.stop.aborted) process.exitCode = (await signals.first) === 'SIGINT' ? EXIT_CODES.SIGINT : 0
    else if (reason !== undefined) process.exitCode = EXIT_FAILED
  }
})
// Native parts (the embedded engine) may hold the loop open after their close.
process.exit()

/** The first signal is told, with a deadline for all that follows it; the second one ends the process. */
function listenForSignals(): { first: Promise<keyof typeof EXIT_CODES>; stop: AbortSignal } {
  const first = Promise.withResolvers<keyof typeof EXIT_CODES>()
  const stop = new AbortController()
  let firstAtMs: number | undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (firstAtMs !== undefined && performance.now() - firstAtMs > SIGNAL_ECHO_MS) process.exit(EXIT_CODES[signal])
      if (firstAtMs !== undefined) return
      firstAtMs = performance.now()
      setTimeout(() => process.exit(EXIT_FAILED), CLOSE_DEADLINE_MS).unref()
      first.resolve(signal)
      stop.abort()
    })
  }
  return { first: first.promise, stop: stop.signal }
}
