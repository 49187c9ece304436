// Builds and runs the Go peer: the OpenTelemetry Collector's own decoder on the same bytes.
//
// The program is built once into the user's cache folder, its modules come through Go's own settings (GOPROXY and so on). Where Go
// is absent, too old or has no network, the peer is absent and the benchmark says so.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type BenchCase, type Sample, say } from './harness.ts'

/** A cold build downloads some 20 MB of modules and compiles gRPC's types. */
const BUILD_TIMEOUT_MS = 600_000
const RUN_TIMEOUT_MS = 60_000
const SOURCE = join(import.meta.dirname, 'peers', 'go-pdata')
const SOURCE_FILES = ['main.go', 'go.mod', 'go.sum']

const run = promisify(execFile)

/** @returns the path of the built program, or undefined (said on stderr) when it cannot be built here */
export async function buildGoPeer(): Promise<string | undefined> {
  const hash = createHash('sha256')
  for (const file of SOURCE_FILES) hash.update(readFileSync(join(SOURCE, file)))
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'homeostat', 'bench')
  const program = join(folder, `go-pdata-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(program)) return program
  mkdirSync(folder, { recursive: true })
  try {
    say('building the Go peer (once; needs the network for its modules) …')
    await run('go', ['build', '-o', program, '.'], { cwd: SOURCE, timeout: BUILD_TIMEOUT_MS })
    return program
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no `go` command here' : String((error as Error).message).trim()
    say(`the Go peer is left out: ${reason}`)
    return undefined
  }
}

/** One process a round; it warms up by itself and reports its own rate. */
export function goCase(program: string, file: string): BenchCase {
  return {
    name: 'Go pdata 1.70, decode only',
    async measure(durationMs): Promise<Sample> {
      const { stdout } = await run(program, [file, String(Math.round(durationMs))], { timeout: RUN_TIMEOUT_MS })
      return JSON.parse(stdout)
    }
  }
}

/** What Go finds in the file, to be compared before anything is measured. */
export async function goAnswer(program: string, file: string): Promise<{ pointCount: number; valueSum: number }> {
  const { stdout } = await run(program, [file, '0', 'answer'], { timeout: RUN_TIMEOUT_MS })
  return JSON.parse(stdout)
}
