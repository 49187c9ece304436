// CLI entry: hands the arguments to the program; `start` opens the whole app and closes it in order on a signal.

import { readFileSync } from 'node:fs'
import { startApp } from './app.ts'
import { runProgram } from './cli/program.ts'

/** After this a stuck close gives way: everything acknowledged is durable anyway. */
const CLOSE_DEADLINE_MS = 15_000
const EXIT_INTERRUPTED = 130

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

process.exitCode = await runProgram(process.argv.slice(2), {
  version,
  async start({ config, pretty }) {
    const interrupted = Promise.withResolvers<string>()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.resolve(signal))
    const app = await startApp({ configFile: config, folder: process.cwd(), environment: process.env, version, pretty })
    const reason = await Promise.race([interrupted.promise, app.failed])
    setTimeout(() => process.exit(EXIT_INTERRUPTED), CLOSE_DEADLINE_MS).unref()
    await app.close()
    if (reason === 'SIGINT') process.exitCode = EXIT_INTERRUPTED
    else if (reason !== 'SIGTERM') process.exitCode = 1
  }
})
// Native parts (the embedded engine) may hold the loop open after their close.
process.exit()
