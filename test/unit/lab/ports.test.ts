// Ports that several labs, brokers and Collectors ask for at the same time.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, it } from 'vitest'
import { freePorts } from '../../../infra/lab/ports.ts'

const PORTS_TS = new URL('../../../infra/lab/ports.ts', import.meta.url).href
const PROCESSES = 4

/** Asks for ports twice, says them, and lives until its input ends. */
function another() {
  const script = `
    const { freePorts } = await import(${JSON.stringify(PORTS_TS)})
    console.log(JSON.stringify([...(await freePorts(50)), ...(await freePorts(30))]))
    process.stdin.resume()`
  return spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['pipe', 'pipe', 'inherit'] })
}

it('are never the same for two processes, nor twice for one', async () => {
  const children = Array.from({ length: PROCESSES }, another)
  try {
    const given = await Promise.all(children.map(async child => JSON.parse(String((await once(child.stdout!, 'data'))[0])) as number[]))
    const ours = await Promise.all([freePorts(5), freePorts(70)])
    const all = [...given, ...ours].flat()
    expect(all).toHaveLength(PROCESSES * 80 + 75)
    expect(new Set(all).size).toBe(all.length)
  } finally {
    for (const child of children) child.stdin!.end()
  }
})

it('leave out what somebody listens on', async () => {
  const [next] = await freePorts(1)
  const busy = createServer().listen(next! + 1, '127.0.0.1')
  await once(busy, 'listening')
  expect(await freePorts(3)).not.toContain(next! + 1)
  busy.close()
})
