// A service that does nothing but say how it is: three gauges a second over OTLP/HTTP, through whatever lies on the way.
//
// usage: node infra/lab/cases/guards/beacon.ts NAME FOLDER. What is refused or lost is not repeated: the way is what is broken here.

import { createServer } from 'node:http'
import { KEY_VARIABLE } from '../../../../actuators/drivers/supervise.ts'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { seeded } from '../../seeded.ts'
import { witnessEffect } from '../effects.ts'
import { readRig } from '../rig.ts'

const INTERVAL_MS = 1_000
const GAUGES = ['queue.depth', 'pool.used', 'temperature'] as const

const [name, folder] = process.argv.slice(-2) as [string, string]
const layout = readRig(folder)
endWithLab(layout)
witnessEffect(folder, { target: name, what: 'start', key: process.env[KEY_VARIABLE] ?? '' })
const random = seeded(layout.seed).fork(name)

const attribute = (key: string, value: string): object => ({ key, value: { stringValue: value } })
const resource = {
  attributes: [
    attribute('service.namespace', 'lab'),
    attribute('service.name', name),
    attribute('service.instance.id', `${name}-1`),
    attribute('deployment.environment.name', layout.environment)
  ]
}

function exportOnce(): void {
  const timeUnixNano = `${Date.now()}000000`
  const metrics = GAUGES.map((metric, index) => ({
    name: metric,
    gauge: { dataPoints: [{ timeUnixNano, asDouble: 50 + 10 * index + 4 * (random.next() - 0.5) }] }
  }))
  const body = JSON.stringify({ resourceMetrics: [{ resource, scopeMetrics: [{ metrics }] }] })
  const url = `http://127.0.0.1:${layout.ports['lossy']}/v1/metrics`
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body }).catch(() => undefined)
}

createServer((_incoming, outgoing) => void outgoing.writeHead(200).end()).listen(layout.ports[name]!, '127.0.0.1')
setInterval(exportOnce, INTERVAL_MS)
