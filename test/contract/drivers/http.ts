// `http` under contract: an API that counts effects by idempotency key.

import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import { httpDriver } from '../../../actuators/drivers/http.ts'
import { anOrder, endpointsOf, never, openApi, SECRET } from '../../unit/actuators/drivers/http-world.ts'
import type { DriverSubject } from '../driver.ts'

const ARRIVAL_MS = 100 // What a request that is on its way needs to be counted.

export const http: DriverSubject = [
  'http',
  async () => {
    const api = await openApi()
    const options = { endpoints: endpointsOf(api.url) }
    const open = () => httpDriver(options)
    return {
      open,
      source: { file: 'http.ts', factory: 'httpDriver', options },
      order: anOrder,
      async effects(key) {
        await pause(ARRIVAL_MS)
        return api.effects.get(key) ?? 0
      },
      escapes({ target, args, idempotencyKey, fence }) {
        const sent = api.seen.splice(0)
        const [seen] = sent
        const wanted = {
          method: 'POST',
          url: `/act/${encodeURIComponent(target)}`,
          names: ['authorization', 'content-type', 'idempotency-key', 'homeostat-fence', 'content-length', 'host', 'connection'].sort(),
          authorization: SECRET,
          key: idempotencyKey,
          body: JSON.stringify({ target, args, idempotencyKey, fence })
        }
        const got = seen && {
          ...{ method: seen.method, url: seen.url, names: Object.keys(seen.headers).sort() },
          ...{ authorization: seen.headers.authorization, key: seen.headers['idempotency-key'], body: seen.body }
        }
        return sent.length === 1 && JSON.stringify(got) === JSON.stringify(wanted) ? [] : [`${sent.length} requests: ${JSON.stringify(got)}`]
      },
      async crash(order, when) {
        if (when === 'before') return
        // The connection is lost after the effect: nobody hears of it.
        api.answer = (_seen, response) => response.destroy()
        await expect(open().apply(order, never)).rejects.toMatchObject({ code: 'driver_unknown' })
        api.answer = (_seen, response) => response.end('ok')
      },
      close: api.close
    }
  },
  {
    verbs: ['post', 'put', 'asked'],
    refused: [
      { what: 'an endpoint that is not listed', order: { verb: 'delete' } },
      { what: 'a name that every object has', order: { verb: '__proto__' } },
      { what: 'an empty target', order: { target: '' } },
      { what: 'a target that is a dot segment', order: { target: '..' } },
      { what: 'a target with a line break', order: { target: 'a\r\nX-Evil: 1' } },
      { what: 'args that are too large', order: { args: { text: 'x'.repeat(20_000) } } }
    ],
    keepsFences: false
  }
]
