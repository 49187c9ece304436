// pricing: what every version of checkout depends on. Healthy it answers at once; told so, it fails a share of its requests.
//
// usage: node infra/lab/cases/uc5/pricing.ts FOLDER; POST /admin/fail?ratio=0.4

import { endWithLab } from '../../fleet/end-with-lab.ts'
import { serve } from '../../fleet/http.ts'
import { openTelemetry } from '../../fleet/telemetry.ts'
import { seeded } from '../../seeded.ts'
import { readRig } from '../rig.ts'
import { DEPENDENCY } from './rollout.ts'

const rig = readRig()
endWithLab(rig)
const random = seeded(rig.seed).fork(DEPENDENCY)
const telemetry = openTelemetry(DEPENDENCY, rig)
let failing = 0
const server = await serve(telemetry, rig.ports[DEPENDENCY]!, {
  'GET /healthz': () => ({ status: 200, body: { ok: true } }),
  'POST /admin/fail': query => {
    failing = Number(query.get('ratio'))
    return { status: 200, body: { failing } }
  },
  'POST /prices': () => (random.next() < failing ? { status: 500, body: { error: 'no price' } } : { status: 200, body: { price: 1 } })
})
process.once('SIGTERM', async () => {
  server.close()
  await telemetry.close()
  process.exit(0)
})
