// runtime: a small kubelet. It keeps three pods running as child processes, restarts what dies with a back-off, and reports them.
//
//   running ──exit──► back-off (1, 2, 4, 8 s …) ──► running          restarts counts these
//      └── replace (API, idempotency key) ──► a new pod at once: restarts 0, no back-off
//
// Telemetry on behalf of each pod, under the pod's own resource: k8s.container.restarts, k8s.container.ready, as the Collector's
// k8s_cluster receiver names them. Every replacement that is carried out is witnessed (effects.ts) before it is done.
// API: POST /pods/<pod or entity>/replace, GET /replacements/<key> (200 or 404), GET /pods, POST /rollout (each pod once, in turn).

import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, existsSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { NODE_FLAGS, pause } from '../../fleet.ts'
import { NAMESPACE } from '../../layout.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'
import { eventsFile, type Pod, type PodEvent, PODS, podOf, portName, SERVICE } from './pods.ts'

const BACKOFF_MIN_MS = 1_000
const BACKOFF_MAX_MS = 8_000
const BACKOFF_FORGOTTEN_MS = 20_000 // A pod that ran for so long begins anew, as kubelet has it after ten minutes.
const PROBE_MS = 500
const PROBE_TIMEOUT_MS = 400
const EXPORT_MS = 1_000
const ROLLOUT_STEP_MS = 2_500 // A new pod is ready within it; then the next one's turn.

const rig = readRig()

interface Running {
  child: ChildProcess | undefined
  startedAtMs: number
  restarts: number
  backoffMs: number
  /** When the back-off ends; 0 while it runs. */
  nextStartMs: number
  timer: NodeJS.Timeout | undefined
  ready: boolean
}
const pods = new Map<Pod, Running>(PODS.map(pod => [pod, newPod()]))
const witness = join(rig.folder, 'witness.jsonl')

function newPod(): Running {
  return { child: undefined, startedAtMs: 0, restarts: 0, backoffMs: BACKOFF_MIN_MS, nextStartMs: 0, timer: undefined, ready: false }
}

function tell(pod: Pod, event: PodEvent['event'], more: Partial<PodEvent> = {}): void {
  appendFileSync(eventsFile(rig), `${JSON.stringify({ atMs: Date.now(), pod, event, restarts: pods.get(pod)!.restarts, ...more })}\n`)
}

function start(pod: Pod): void {
  const running = pods.get(pod)!
  const log = openSync(join(rig.folder, `${pod}.log`), 'a')
  const child = spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, 'pod.ts'), pod, rig.folder], { stdio: ['ignore', log, log] })
  Object.assign(running, { child, startedAtMs: Date.now(), nextStartMs: 0 })
  tell(pod, 'start')
  child.once('exit', () => {
    if (pods.get(pod)!.child === child) backOff(pod)
  })
}

function backOff(pod: Pod): void {
  const running = pods.get(pod)!
  if (Date.now() - running.startedAtMs >= BACKOFF_FORGOTTEN_MS) running.backoffMs = BACKOFF_MIN_MS
  const { backoffMs } = running
  Object.assign(running, { child: undefined, nextStartMs: Date.now() + backoffMs, backoffMs: Math.min(2 * backoffMs, BACKOFF_MAX_MS) })
  tell(pod, 'exit', { backoffMs })
  running.timer = setTimeout(() => {
    running.restarts++
    start(pod)
  }, backoffMs)
}

/** Ends the pod, whatever it does or waits for, and starts a new one in its place. */
function replace(pod: Pod, isNew: boolean): void {
  const old = pods.get(pod)!
  clearTimeout(old.timer)
  const fresh = isNew ? newPod() : { ...newPod(), restarts: old.restarts + 1 }
  pods.set(pod, fresh)
  // The port is free when the old one is gone; by then another order may have come.
  const begin = (): void => void (pods.get(pod) === fresh && start(pod))
  if (old.child === undefined) {
    begin()
    return
  }
  old.child.once('exit', begin)
  old.child.kill(isNew ? 'SIGKILL' : 'SIGTERM')
}

/** Replacements that were carried out: the witness file is the memory, so that this process may die, too. */
function wasReplaced(key: string): boolean {
  return existsSync(witness) && readFileSync(witness, 'utf8').includes(JSON.stringify(key))
}

async function probe(pod: Pod): Promise<void> {
  const ready = await fetch(`http://127.0.0.1:${rig.ports[portName(pod)]}/readyz`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) }).then(
    response => response.ok,
    () => false
  )
  const running = pods.get(pod)!
  if (ready === running.ready) return
  running.ready = ready
  tell(pod, ready ? 'ready' : 'unready')
}

function report(pod: Pod): void {
  const resource = resourceFromAttributes({
    'service.namespace': NAMESPACE,
    'service.name': SERVICE,
    'service.instance.id': pod,
    'deployment.environment.name': rig.environment
  })
  const exporter = new OTLPMetricExporter({ url: `http://${rig.otlp.grpc}`, timeoutMillis: EXPORT_MS })
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: EXPORT_MS, exportTimeoutMillis: EXPORT_MS })
  const meter = new MeterProvider({ resource, readers: [reader] }).getMeter('runtime')
  const gauge = (name: string, unit: string, read: () => number): void =>
    meter.createObservableGauge(name, { unit }).addCallback(result => result.observe(read()))
  gauge('k8s.container.restarts', '{restart}', () => pods.get(pod)!.restarts)
  gauge('k8s.container.ready', '', () => Number(pods.get(pod)!.ready))
}

/** Answers of the API: status and body. */
function answer(method: string, path: string, key: string): { status: number; body: object } {
  const [, what, name = '', verb] = path.split('/').map(decodeURIComponent)
  if (method === 'GET' && what === 'pods')
    return { status: 200, body: Object.fromEntries([...pods].map(([pod, { child: _, timer: __, ...state }]) => [pod, state])) }
  if (method === 'GET' && what === 'replacements') return { status: wasReplaced(name) ? 200 : 404, body: {} }
  if (method === 'POST' && what === 'rollout') {
    void rollOut()
    return { status: 202, body: {} }
  }
  const pod = podOf(name)
  if (method !== 'POST' || what !== 'pods' || verb !== 'replace' || pod === undefined) return { status: 404, body: { error: 'no such route or pod' } }
  if (key === '') return { status: 400, body: { error: 'an idempotency-key is needed' } }
  if (wasReplaced(key)) return { status: 200, body: { replaced: false, why: 'this order was carried out already' } }
  const leftMs = Math.max(0, pods.get(pod)!.nextStartMs - Date.now())
  witnessEffect(rig.folder, { target: pod, what: 'replace', key, detail: `${leftMs} ms of back-off left` })
  replace(pod, true)
  return { status: 200, body: { replaced: true, leftMs } }
}

/** A new version in each pod in turn: restarted in place, one after the other. */
async function rollOut(): Promise<void> {
  for (const pod of PODS) {
    replace(pod, false)
    await pause(ROLLOUT_STEP_MS)
  }
}

endWithLab(rig, () => {
  for (const { child } of pods.values()) child?.kill('SIGKILL')
})
createServer((incoming, outgoing) => {
  incoming.resume()
  const { status, body } = answer(incoming.method ?? 'GET', incoming.url ?? '/', String(incoming.headers['idempotency-key'] ?? ''))
  outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}).listen(rig.ports['runtime'], '127.0.0.1')
for (const pod of PODS) {
  start(pod)
  report(pod)
  setInterval(() => void probe(pod), PROBE_MS)
}
