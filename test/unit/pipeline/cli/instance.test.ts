// One Homeostat a data directory; a dead holder holds nothing.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openClient } from '../../../../pipeline/cli/client.ts'
import { holdInstance, instanceId, publishAddresses, readInstance } from '../../../../pipeline/instance.ts'
import { configSchema } from '../../../../schemas/config.ts'

let dataDir: string
beforeEach(() => {
  dataDir = join(mkdtempSync(join(tmpdir(), 'homeostat-instance-')), 'data')
})
afterEach(() => rmSync(join(dataDir, '..'), { recursive: true }))

describe('the data directory', () => {
  it('is held by one process at a time, and free after release', () => {
    const release = holdInstance(dataDir)
    expect(readInstance(dataDir)?.pid).toBe(process.pid)
    expect(() => holdInstance(dataDir)).toThrow(/runs on .* already \(pid/)
    release()
    expect(readInstance(dataDir)).toBeUndefined()
    holdInstance(dataDir)()
  })

  it.each(['/sys/kernel', '/proc/1'])('is refused in words where nothing can be written: %s', folder => {
    expect(() => holdInstance(folder)).toThrow(
      expect.objectContaining({
        code: 'usage',
        message: expect.stringMatching(/^dataDir \S+ cannot be written \(.*\): name a folder that this user may write$/)
      })
    )
  })

  it('is taken over from a killed process, even when its pid lives on as another one', () => {
    holdInstance(dataDir)
    const file = join(dataDir, 'instance.json')
    const holder = JSON.parse(readFileSync(file, 'utf8')) as { pid: number }
    writeFileSync(file, JSON.stringify({ ...holder, startTicks: '1' }))
    expect(readInstance(dataDir)).toBeUndefined()
    writeFileSync(file, JSON.stringify({ pid: 2 ** 22 + 1, startTicks: '5' }))
    holdInstance(dataDir)()
  })

  it("gives its process a name that stays over restarts and is no other directory's", () => {
    holdInstance(dataDir)()
    const id = instanceId(dataDir)
    expect(id).toMatch(/-[0-9a-f]{8}$/)
    holdInstance(dataDir)()
    expect(instanceId(dataDir)).toBe(id)
    const other = `${dataDir}-other`
    holdInstance(other)()
    expect(instanceId(other)).not.toBe(id)
  })
})

describe('the command line asks the instance', () => {
  const open = () => {
    const config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', dataDir })
    return openClient({ config, file: undefined, overrides: new Map() })
  }

  it('on its console', () => {
    holdInstance(dataDir)
    publishAddresses(dataDir, { console: 'http://127.0.0.1:8686', roles: 'console' })
    expect(open().address).toBe('http://127.0.0.1:8686')
  })

  it('and says so when what listens there is something else', async () => {
    const stranger = createServer((_request, response) => response.end('<html>'))
    await new Promise<void>(resolve => stranger.listen(0, '127.0.0.1', resolve))
    const address = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`
    holdInstance(dataDir)
    publishAddresses(dataDir, { console: address, roles: 'console' })
    await expect(open().get('/api/incidents')).rejects.toThrow(`${address} answers 200 with what is no JSON: is it Homeostat that listens there?`)
    stranger.closeAllConnections()
    await new Promise(resolve => stranger.close(resolve))
    await expect(open().get('/api/incidents')).rejects.toMatchObject({ code: 'timeout' })
  })

  it('and says so when nothing runs, when it is not ready yet, and when it has no console', () => {
    expect(open).toThrow(/no Homeostat runs/)
    holdInstance(dataDir)
    expect(open).toThrow(/not ready yet/)
    publishAddresses(dataDir, { health: 'http://127.0.0.1:8687', roles: 'intake,detect' })
    expect(open).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringMatching(/runs intake,detect without a console/) }))
  })
})
