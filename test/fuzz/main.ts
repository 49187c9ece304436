// npm run test:fuzz -- [--inputs N] [--seed S]: fuzzes the OTLP reader; the last line of stdout is one JSON object.
//
// The work runs on a worker thread, and this one watches it: a hang is named (seed and index of the input) and ends the run.
// Exit code 1 when there is a finding.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { readCommandLine } from '../../infra/lab/command-line.ts'
import { type FuzzSummary, fuzzOtlpReader } from './otlp-reader.ts'

const INPUTS_DEFAULT = '200000'
const HANG_MS = 20_000 // An input takes microseconds; a machine under heavy load may hold a thread for seconds.
const HEAP_GROWTH_MAX_BYTES = 32 * 2 ** 20
const WATCH_MS = 1000

if (isMainThread) await watch()
else work()

function work(): void {
  const { inputs, seed, shared } = workerData as { inputs: number; seed: number; shared: SharedArrayBuffer }
  const position = new Int32Array(shared)
  const warmUp = fuzzOtlpReader({ inputs: Math.min(inputs, 2000), seed: seed + 1 })
  const heapBefore = heapBytes()
  const summary = fuzzOtlpReader({ inputs, seed, progress: index => Atomics.store(position, 0, index) })
  const heapGrowthBytes = Math.max(0, heapBytes() - heapBefore)
  parentPort!.postMessage({ ...summary, findings: [...warmUp.findings, ...summary.findings], heapGrowthBytes })
}

/** What is alive: garbage is collected first. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

async function watch(): Promise<void> {
  const { values } = readCommandLine({
    name: 'test:fuzz',
    usage: 'usage: npm run test:fuzz -- [--inputs N] [--seed S]',
    wholeNumbers: ['inputs', 'seed'],
    options: { inputs: { type: 'string', default: INPUTS_DEFAULT }, seed: { type: 'string', default: '1' } }
  })
  const inputs = Number(values.inputs)
  const seed = Number(values.seed)
  const shared = new SharedArrayBuffer(4)
  const position = new Int32Array(shared)
  const begun = performance.now()
  const worker = new Worker(new URL(import.meta.url), { workerData: { inputs, seed, shared } })
  let last = -1
  let lastMovedAt = begun
  const watchdog = setInterval(() => {
    const now = Atomics.load(position, 0)
    if (now !== last) lastMovedAt = performance.now()
    last = now
    process.stderr.write(`\r${now} of ${inputs} inputs`)
    if (performance.now() - lastMovedAt > HANG_MS && now > 0) {
      process.stdout.write(`\n${JSON.stringify({ pass: false, inputs: now, seed, findings: [`hangs at seed ${seed} input ${now}`] })}\n`)
      process.exit(1)
    }
  }, WATCH_MS)
  const summary = await new Promise<FuzzSummary & { heapGrowthBytes: number }>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  clearInterval(watchdog)
  const inputsPerS = Math.round(inputs / ((performance.now() - begun) / 1000))
  if (summary.heapGrowthBytes > HEAP_GROWTH_MAX_BYTES) summary.findings.push(`the heap grew by ${summary.heapGrowthBytes} bytes`)
  const pass = summary.findings.length === 0
  process.stderr.write('\n')
  process.stdout.write(`${JSON.stringify({ pass, seed, inputsPerS, ...summary, slowestMs: Number(summary.slowestMs.toFixed(2)) })}\n`)
  process.exitCode = pass ? 0 : 1
}
