// One Homeostat a data directory; a dead holder holds nothing.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { holdInstance, readInstance } from '../../../../pipeline/instance.ts'

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

  it('is taken over from a killed process, even when its pid lives on as another one', () => {
    holdInstance(dataDir)
    const file = join(dataDir, 'instance.json')
    const holder = JSON.parse(readFileSync(file, 'utf8')) as { pid: number }
    writeFileSync(file, JSON.stringify({ ...holder, startTicks: '1' }))
    expect(readInstance(dataDir)).toBeUndefined()
    writeFileSync(file, JSON.stringify({ pid: 2 ** 22 + 1, startTicks: '5' }))
    holdInstance(dataDir)()
  })
})
