// Calls between threads: answers find their callers, errors keep their code, a closed line fails what waits.

import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { openPeer, type Port } from '../../../../pipeline/hosting/peer.ts'
import { AppError } from '../../../../schemas/errors.ts'

const channels: MessageChannel[] = []
afterEach(() => {
  for (const { port1, port2 } of channels.splice(0)) {
    port1.close()
    port2.close()
  }
})

const portOf = (port: MessagePort): Port => ({ postMessage: message => port.postMessage(message), on: (_event, listener) => port.on('message', listener) })

function pair(methods: Parameters<typeof openPeer>[1]) {
  const channel = new MessageChannel()
  channels.push(channel)
  openPeer(portOf(channel.port2), methods)
  return openPeer(portOf(channel.port1), {})
}

describe('calls between threads', () => {
  it('bring each answer to its caller, in any order', async () => {
    const gates = new Map<string, (value: string) => void>()
    const peer = pair({ wait: (name: string) => new Promise(resolve => gates.set(name, resolve)), release: (name: string) => gates.get(name)!(`${name} done`) })
    const first = peer.call('wait', 'a')
    const second = peer.call('wait', 'b')
    await peer.call('release', 'b')
    expect(await second).toBe('b done')
    await peer.call('release', 'a')
    expect(await first).toBe('a done')
  })

  it('carry the code and the sentence of an error', async () => {
    const peer = pair({
      fail: () => {
        throw new AppError('store_unavailable', 'ClickHouse does not answer')
      }
    })
    await expect(peer.call('fail')).rejects.toMatchObject({ code: 'store_unavailable', message: 'ClickHouse does not answer', retriable: true })
    await expect(peer.call('nothing')).rejects.toThrow(/no method nothing/)
  })

  it('fail when the other side is gone', async () => {
    const peer = pair({ never: () => new Promise(() => undefined) })
    const waiting = peer.call('never')
    peer.close('the store role ended')
    await expect(waiting).rejects.toThrow('the store role ended')
  })
})
