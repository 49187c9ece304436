// One version of checkout: asks pricing, then answers; a bad one fails a share of its requests, drawn by seed.
//
// usage: node infra/lab/cases/uc5/arm.ts VERSION FOLDER; ERROR_RATIO in the environment.

import { endWithLab } from '../../fleet/end-with-lab.ts'
import { httpClient, serve } from '../../fleet/http.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { seeded } from '../../seeded.ts'
import { readRig } from '../rig.ts'
import { armName, DEPENDENCY, SERVICE } from './rollout.ts'

const PRICING_TIMEOUT_MS = 1_000

const rig = readRig()
const version = process.argv.at(-2)!
endWithLab(rig)
const errorRatio = Number(process.env['ERROR_RATIO'] ?? 0)
const random = seeded(rig.seed).fork(version)
const telemetry = openTelemetry(SERVICE, rig, { 'service.instance.id': armName(version), 'service.version': version })
const pricing = httpClient(telemetry, DEPENDENCY, rig.ports[DEPENDENCY]!, PRICING_TIMEOUT_MS)
const server = await serve(telemetry, rig.ports[armName(version)]!, {
  'GET /healthz': () => ({ status: 200, body: { version } }),
  'POST /checkout': async () => {
    const { status } = await pricing('/prices')
    if (status !== 200) return { status: 502, body: { error: 'pricing failed' } }
    return random.next() < errorRatio ? { status: 500, body: { error: 'bad version' } } : { status: 200, body: { version } }
  }
})
process.once('SIGTERM', async () => {
  server.close()
  await telemetry.close()
  process.exit(0)
})
