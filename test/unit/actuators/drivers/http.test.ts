import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addressRefusal } from '../../../../actuators/drivers/http-client.ts'
import { httpProbe } from '../../../../actuators/drivers/http-probe.ts'
import { httpDriver } from '../../../../actuators/drivers/http.ts'
import { type Api, anOrder, endpoint, endpointsOf, never, openApi, SECRET, type Seen } from './http-world.ts'
import { PAYLOADS } from './injection-payloads.ts'

describe('http', () => {
  let api: Api
  beforeEach(async () => {
    api = await openApi()
  })
  afterEach(() => api.close())
  const driverOf = () => httpDriver({ endpoints: endpointsOf(api.url) })

  it('declares classes honestly', () => {
    expect(driverOf().verbs).toEqual({ post: 'opaque', put: 'convergent', asked: 'detectable' })
  })

  it('sends exactly the template, whatever target and args hold', async () => {
    const driver = driverOf()
    await driver.apply(anOrder('post', 'plain'), never)
    const names = api.seen[0]!.rawHeaders.filter((_text, index) => index % 2 === 0)
    let sent = 0
    for (const [index, payload] of PAYLOADS.entries()) {
      for (const wrong of [{ target: payload }, { args: { value: payload, [payload]: { nested: [payload] } } }]) {
        api.seen.length = 0
        const order = anOrder('post', `k${index}`, wrong)
        try {
          driver.check(order)
        } catch (error) {
          expect(error).toMatchObject({ code: 'step_refused' })
          continue
        }
        await driver.apply(order, never)
        expect(api.seen).toHaveLength(1)
        const [{ method, url, rawHeaders, headers, body }] = api.seen as [Seen]
        expect(method).toBe('POST')
        expect(url).toBe(`/act/${encodeURIComponent(order.target)}`)
        expect(rawHeaders.filter((_text, position) => position % 2 === 0)).toEqual(names)
        expect(headers).toMatchObject({ authorization: SECRET, 'idempotency-key': `k${index}`, 'homeostat-fence': '1', 'content-type': 'application/json' })
        expect(JSON.parse(body)).toEqual(JSON.parse(JSON.stringify({ target: order.target, args: order.args, idempotencyKey: `k${index}`, fence: 1 })))
        sent++
      }
    }
    expect(sent).toBeGreaterThan(200)
  })

  it('refuses a key that could become a header of its own', async () => {
    await expect(driverOf().apply(anOrder('post', 'a\r\nX-Evil: 1'), never)).rejects.toMatchObject({ code: 'step_refused' })
    expect(api.seen).toEqual([])
  })

  it('keeps secrets out of every message', async () => {
    api.answer = (seen, response) => {
      response.statusCode = 500
      response.end(`you sent ${seen.headers.authorization}, base64 ${Buffer.from('s3cr3t-t0ken').toString('base64')}`)
    }
    const error = await driverOf()
      .apply(anOrder('post', 'k'), never)
      .catch((caught: Error) => caught)
    expect(error).toMatchObject({ code: 'driver_unknown', message: expect.stringContaining('[redacted]') })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(/s3cr3t|czNjcjN0/)
  })

  it('tells what did not happen from what may have', async () => {
    const codes: Record<number, string> = {
      301: 'driver_failed',
      400: 'driver_failed',
      404: 'driver_failed',
      409: 'driver_unknown',
      500: 'driver_unknown',
      501: 'driver_failed',
      503: 'driver_unknown'
    }
    for (const [status, code] of Object.entries(codes)) {
      api.answer = (_seen, response) => response.writeHead(Number(status), { location: `${api.url}/elsewhere` }).end()
      await expect(driverOf().apply(anOrder('post', `s${status}`), never), status).rejects.toMatchObject({ code })
    }
    expect(api.seen.some(({ url }) => url === '/elsewhere')).toBe(false)
    const { url } = api
    await api.close()
    await expect(httpDriver({ endpoints: endpointsOf(url) }).apply(anOrder('post', 'gone'), never)).rejects.toMatchObject({ code: 'driver_failed' })
    api = await openApi()
  })

  it('does not wait for an answer that never ends', async () => {
    api.answer = (_seen, response) => void response.writeHead(200).write('x')
    const within = (timeout: number) => httpDriver({ endpoints: { post: endpoint({ url: `${api.url}/act`, timeout }) } }).apply(anOrder('post', 'k'), never)
    // A busy machine may not read the status within a short time: then a longer one.
    const answered = await within(200)
      .catch(() => within(2_000))
      .catch(() => within(20_000))
    expect(answered.detail).toContain('200')
    api.answer = () => {}
    await expect(within(200)).rejects.toMatchObject({ code: expect.stringMatching(/^driver_/) })
  })

  it('refuses endpoints whose host could be chosen by a target', () => {
    for (const url of ['http://{target}/x', 'ftp://host/x', 'nonsense']) {
      expect(() => httpDriver({ endpoints: { x: endpoint({ url }) } })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    }
  })

  it('never asks link-local and metadata addresses, and this machine only by name', () => {
    for (const address of ['169.254.169.254', '0.0.0.0', '224.0.0.1', 'fe80::1', '::', 'fd00:ec2::254', '::ffff:169.254.169.254']) {
      expect(addressRefusal('api.example.com', address), address).toBeDefined()
      expect(addressRefusal(address, address), address).toBeDefined()
    }
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) expect(addressRefusal('api.example.com', address), address).toBeDefined()
    expect(addressRefusal('localhost', '127.0.0.1')).toBeUndefined()
    expect(addressRefusal('127.0.0.1', '127.0.0.1')).toBeUndefined()
    expect(addressRefusal('api.example.com', '10.1.2.3')).toBeUndefined()
  })

  it('probes this machine and listed hosts, nothing else, and follows no redirect', async () => {
    const probe = httpProbe({ hosts: ['api.invalid'] })
    expect(await probe(`${api.url}/orders/none`, 1_000)).toEqual({ status: 404 })
    for (const url of ['http://example.com/', 'http://169.254.169.254/latest', 'file:///etc/passwd', 'nonsense', `http://user:secret@127.0.0.1:1/`]) {
      await expect(probe(url, 500), url).rejects.toMatchObject({ code: 'step_refused' })
    }
    await expect(probe('http://api.invalid/', 500)).rejects.toMatchObject({ code: 'timeout' })
  })
})
