// The one who calls the cache, and its own customers: ten requests a second. What the cache costs is seen in its answers.
//
// usage: node infra/lab/cases/guards/front.ts FOLDER

import { endWithLab } from '../../fleet/end-with-lab.ts'
import { httpClient, serve } from '../../fleet/http.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { readRig } from '../rig.ts'

const INTERVAL_MS = 100
const TIMEOUT_MS = 2_000

const folder = process.argv.at(-1)!
const layout = readRig(folder)
endWithLab(layout)
const telemetry = openTelemetry('front', layout)
const cache = httpClient(telemetry, 'cache', layout.ports['cacheData']!, TIMEOUT_MS)
await serve(telemetry, layout.ports['front']!, {
  'GET /healthz': () => ({ status: 200, body: { ok: true } }),
  'POST /page': async () => ({ status: (await cache('/get')).status, body: { ok: true } })
})
setInterval(() => void fetch(`http://127.0.0.1:${layout.ports['front']}/page`, { method: 'POST' }).catch(() => undefined), INTERVAL_MS)
