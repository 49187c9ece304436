// A pod of checkout: it needs its configuration and the ledger to start, and the ledger to go on.
//
// usage: node pod.ts <name> FOLDER. Ends with code 1 when its configuration is broken, or when the ledger does not answer CALLS_FAILED_MAX
// calls in a row; then its supervisor (runtime.ts) waits before it starts it again. `/readyz` answers 200 while it serves.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { readRig } from '../rig.ts'
import { configFile, LEDGER, podOf, portName, SERVICE } from './pods.ts'

const TIMEOUT_MS = 1_000
const CALLS_FAILED_MAX = 3
const EXIT_FAILED = 1

const rig = readRig()
const pod = podOf(process.argv.at(-2)!)!
endWithLab(rig)
const telemetry = openTelemetry(SERVICE, rig, { 'service.instance.id': pod })
process.once('SIGTERM', async () => {
  await telemetry.close()
  process.exit(0)
})
const rate = readRate()
if (rate === undefined) await fail('bad configuration: rate is no number')
let socket: Socket | undefined
let failedInRow = 0
while (!(await call('PING'))) if (failedInRow >= CALLS_FAILED_MAX) await fail('cannot start: the ledger is away')
createServer((request, response) => response.writeHead(request.url === '/readyz' ? 200 : 404).end()).listen(rig.ports[portName(pod)], '127.0.0.1')
telemetry.info('started')
setInterval(async () => {
  await call('ADD')
  if (failedInRow >= CALLS_FAILED_MAX) await fail('giving up: the ledger is away')
}, 1_000 / rate!)

function readRate(): number | undefined {
  const { rate: given } = JSON.parse(readFileSync(configFile(rig, pod), 'utf8')) as { rate: unknown }
  return typeof given === 'number' ? given : undefined
}

async function fail(why: string): Promise<never> {
  telemetry.error(why)
  await telemetry.close()
  process.exit(EXIT_FAILED)
}

/** One call, as a CLIENT span. @returns whether the ledger answered in time */
async function call(operation: string): Promise<boolean> {
  const attributes = { 'db.system.name': 'lab-ledger', 'db.operation.name': operation, 'peer.service': LEDGER }
  const span = telemetry.tracer.startSpan(operation, { kind: SpanKind.CLIENT, attributes })
  const answered = await exchange(operation)
  failedInRow = answered ? 0 : failedInRow + 1
  if (!answered) {
    span.setAttribute('error.type', 'timeout').setStatus({ code: SpanStatusCode.ERROR, message: 'timeout' })
    telemetry.error(`dependency timeout: ${LEDGER} did not answer ${operation} within ${TIMEOUT_MS} ms`)
  }
  span.end()
  return answered
}

/** A line there, a line back. What is late closes the connection: its answer must not be taken for the next one's. */
function exchange(line: string): Promise<boolean> {
  return new Promise(resolve => {
    socket ??= connect({ port: rig.ports[LEDGER]!, host: '127.0.0.1', noDelay: true })
    const used = socket
    const end = (answered: boolean): void => {
      clearTimeout(timer)
      used.removeAllListeners().on('error', () => undefined)
      if (!answered) {
        used.destroy()
        if (socket === used) socket = undefined
      }
      resolve(answered)
    }
    const timer = setTimeout(() => end(false), TIMEOUT_MS)
    used
      .once('data', () => end(true))
      .once('error', () => end(false))
      .once('close', () => end(false))
    used.write(`${line}\n`)
  })
}
