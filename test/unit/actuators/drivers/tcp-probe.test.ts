// The TCP probe against real sockets: who answers, who only accepts, who may not be asked.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { tcpProbe } from '../../../../actuators/drivers/tcp-probe.ts'

let server: Server | undefined
const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  server?.close()
})

const SOON_MS = 150 // Short for a test that waits for silence.
const LONG_MS = 60_000 // What comes at all comes within it.
const probe = tcpProbe({ hosts: ['db.invalid'] })

/** @returns its address; `speak` is given each connection */
async function listen(speak: (socket: Socket) => void): Promise<string> {
  server = createServer(socket => {
    sockets.push(socket.on('error', () => {}))
    speak(socket)
  })
  await new Promise<void>(resolve => server!.listen(0, '127.0.0.1', resolve))
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

it('passes when the answer comes, in however many pieces', async () => {
  const address = await listen(socket =>
    socket.on('data', data => {
      if (String(data) !== 'PING\n') return
      socket.write('PO')
      setImmediate(() => socket.write('NG\n'))
    })
  )
  await expect(probe(address, { send: 'PING\n', answer: 'PONG' }, LONG_MS)).resolves.toBeUndefined()
})

it('passes on the connection alone when no answer is asked for', async () => {
  await expect(probe(await listen(() => {}), {}, LONG_MS)).resolves.toBeUndefined()
})

it('fails on what accepts and does not answer, as a hung process does', async () => {
  await expect(probe(await listen(() => {}), { answer: 'PONG' }, SOON_MS)).rejects.toMatchObject({ code: 'timeout', message: `no answer within ${SOON_MS} ms` })
})

it('fails on another answer, on one without end, and on a closed door', async () => {
  await expect(probe(await listen(socket => socket.end('ERR\n')), { answer: 'PONG' }, LONG_MS)).rejects.toMatchObject({ code: 'timeout' })
  await expect(probe(await listen(socket => socket.write('x'.repeat(10_000))), { answer: 'PONG' }, LONG_MS)).rejects.toThrow('came without')
  const address = await listen(() => {})
  await new Promise(resolve => server!.close(resolve))
  await expect(probe(address, {}, LONG_MS)).rejects.toThrow('ECONNREFUSED')
})

it('asks this machine and listed hosts, nothing else', async () => {
  for (const address of ['example.com:80', '169.254.169.254:80', '[fe80::1]:80', '127.0.0.1:0', '127.0.0.1:70000']) {
    await expect(probe(address, {}, SOON_MS), address).rejects.toMatchObject({ code: 'step_refused' })
  }
  await expect(probe('db.invalid:5432', {}, SOON_MS)).rejects.toMatchObject({ code: 'timeout' })
})
