// Runs one program to its end: no shell, no input, bounded output, its whole process group ended when time is up.

import { spawn } from 'node:child_process'

const OUTPUT_BYTES_MAX = 16 * 1_024 // Head and tail halves kept: the first error and the last word.
const KILL_GRACE_MS = 2_000 // Between SIGTERM and SIGKILL of a program that is out of time.

export interface ProgramRun {
  argv: readonly string[]
  env: Readonly<Record<string, string>>
  timeoutMs: number
  signal?: AbortSignal
}

export type ProgramResult =
  /** It could not even be started. */
  | { kind: 'not_started'; reason: string }
  | { kind: 'ended'; exitCode: number; output: string }
  /** It was ended by a signal, ours or another's: nobody knows how far it came. */
  | { kind: 'killed'; reason: string; output: string }

/** Never throws. Output is stdout and stderr as they came. */
export function runProgram({ argv, env, timeoutMs, signal }: ProgramRun): Promise<ProgramResult> {
  return new Promise(resolve => {
    if (signal?.aborted) return resolve({ kind: 'not_started', reason: 'too late to begin' })
    const output = boundedText(OUTPUT_BYTES_MAX)
    const child = spawn(argv[0]!, argv.slice(1), { env, cwd: '/', shell: false, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', output.add)
    child.stderr.on('data', output.add)
    let reason = ''
    let killer: NodeJS.Timeout | undefined
    const end = (why: string): void => {
      if (reason !== '') return
      reason = why
      signalGroup(child.pid, 'SIGTERM')
      killer = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), KILL_GRACE_MS)
    }
    const timer = setTimeout(() => end(`no end within ${timeoutMs} ms`), timeoutMs)
    const onAbort = (): void => end('its time was up')
    signal?.addEventListener('abort', onAbort, { once: true })
    const settle = (result: ProgramResult): void => {
      clearTimeout(timer)
      clearTimeout(killer)
      signal?.removeEventListener('abort', onAbort)
      // A grandchild that keeps the pipes open must not keep us.
      child.stdout.destroy()
      child.stderr.destroy()
      resolve(result)
    }
    child.once('error', error => settle({ kind: 'not_started', reason: error.message }))
    child.once('exit', (exitCode, killedBy) => {
      const left = (): void => {
        if (exitCode !== null && reason === '') settle({ kind: 'ended', exitCode, output: output.text() })
        else settle({ kind: 'killed', reason: reason || `ended by ${killedBy}`, output: output.text() })
      }
      // What it wrote last may still be in the pipe.
      setTimeout(left, PIPE_DRAIN_MS)
    })
  })
}

const PIPE_DRAIN_MS = 20

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // It ended by itself.
  }
}

/** Keeps the first and the last half of what is added. */
function boundedText(bytesMax: number): { add(chunk: Buffer): void; text(): string } {
  let head = Buffer.alloc(0)
  let tail = Buffer.alloc(0)
  let omitted = 0
  return {
    add(chunk) {
      const room = bytesMax / 2 - head.length
      head = Buffer.concat([head, chunk.subarray(0, Math.max(0, room))])
      const rest = Buffer.concat([tail, chunk.subarray(Math.max(0, room))])
      tail = rest.subarray(Math.max(0, rest.length - bytesMax / 2))
      omitted += rest.length - tail.length
    },
    text: () => `${head}${omitted > 0 ? `\n… ${omitted} bytes omitted …\n` : ''}${tail}`.trim()
  }
}
