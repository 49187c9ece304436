// Loopback ports for what is started here: nobody else who asks this file, in whatever process, is given the same ones.
//
// A port that was free a moment ago may be another's when it is used, seconds later. So each process holds a block of ports by
// listening on its first one, for as long as it lives, and gives out the others. All lie below the range that the kernel gives to
// outgoing connections: the port of a killed process stays free for its restart.

import { randomInt } from 'node:crypto'
import { createServer, type Server } from 'node:net'

const PORT_MIN = 10_240
const PORT_MAX = 32_000
const BLOCK_PORTS = 64

/** The ports of our blocks that were not given out, in order. */
const left: number[] = []
let turn: Promise<unknown> = Promise.resolve()

/** Ports that are free now, all different, each given out once by this process and by no other while it lives. @throws Error when none are left */
export function freePorts(count: number): Promise<number[]> {
  const ports = turn.then(() => takePorts(count))
  turn = ports.catch(() => undefined)
  return ports
}

async function takePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    if (left.length === 0) left.push(...(await takeBlock()))
    const port = left.shift()!
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

/** @returns the ports of a block that is ours from now on */
async function takeBlock(): Promise<number[]> {
  const blocks = Math.floor((PORT_MAX - PORT_MIN) / BLOCK_PORTS)
  const from = randomInt(blocks)
  for (let step = 0; step < blocks; step++) {
    const first = PORT_MIN + ((from + step) % blocks) * BLOCK_PORTS
    const holder = await listening(first)
    if (holder === undefined) continue
    holder.unref() // Held until the process ends, and no reason for it to go on.
    return Array.from({ length: BLOCK_PORTS - 1 }, (_, index) => first + 1 + index)
  }
  throw new Error(`no ports are left between ${PORT_MIN} and ${PORT_MAX}: are there many labs on this machine?`)
}

async function isFree(port: number): Promise<boolean> {
  const server = await listening(port)
  if (server === undefined) return false
  await new Promise(resolve => server.close(resolve))
  return true
}

function listening(port: number): Promise<Server | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(undefined)).listen(port, '127.0.0.1', () => resolve(server))
  })
}
