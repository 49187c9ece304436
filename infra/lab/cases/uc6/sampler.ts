// What a host's agent tells of the workers from outside, each second over OTLP: memory, children, limits that were hit.
//
// usage: node infra/lab/cases/uc6/sampler.ts FOLDER
// A frozen worker cannot speak for itself, so it is spoken of: every worker is a resource of its own, as a host agent reports processes.

import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { NAMESPACE } from '../../layout.ts'
import { readRig } from '../rig.ts'
import { processesOf, readLimitEvents, WORKERS, type WorkerName } from './layout.ts'

const INTERVAL_MS = 1_000

const layout = readRig()
endWithLab(layout)
for (const worker of WORKERS) observe(worker)

function observe(worker: WorkerName): void {
  const resource = resourceFromAttributes({
    'service.namespace': NAMESPACE,
    'service.name': 'worker',
    'service.instance.id': worker,
    'deployment.environment.name': layout.environment
  })
  const exporter = new OTLPMetricExporter({ url: `http://${layout.otlp.grpc}`, timeoutMillis: INTERVAL_MS })
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: INTERVAL_MS, exportTimeoutMillis: INTERVAL_MS })
  const meter = new MeterProvider({ resource, readers: [reader] }).getMeter('host')
  const memory = meter.createObservableGauge('process.memory.usage', { unit: 'By', description: 'Resident set of the worker itself.' })
  const children = meter.createObservableGauge('process.children.count', { unit: '{process}', description: 'Helpers of the worker.' })
  const limits = meter.createObservableCounter('process.limit.events', { unit: '{event}', description: 'Helpers and memory that it was refused.' })
  let seen = processesOf(layout.folder, worker)
  // The reader's own timer does not keep the process.
  setInterval(() => {
    seen = processesOf(layout.folder, worker)
  }, INTERVAL_MS)
  meter.addBatchObservableCallback(
    result => {
      result.observe(limits, readLimitEvents(layout.folder).filter(event => event.worker === worker).length)
      result.observe(children, seen.helpers.length)
      if (seen.root) result.observe(memory, seen.root.rssBytes)
    },
    [memory, children, limits]
  )
}
