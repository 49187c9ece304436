// ledger: the dependency. A TCP server without telemetry, as a managed database is: `PING` → `PONG`, anything else → `OK`.
//
// Stopped (SIGSTOP) it still has its connections accepted, by the kernel, and answers nothing: that is the fault.

import { createServer } from 'node:net'
import { endWithLab } from '../../fleet/end-with-lab.ts'
import { readRig } from '../rig.ts'

const LINE_LENGTH_MAX = 1_024

const rig = readRig()
endWithLab(rig)
createServer(socket => {
  let buffered = ''
  socket.setEncoding('utf8').setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: string) => {
    const lines = (buffered + chunk).split('\n')
    buffered = lines.pop()!
    if (buffered.length > LINE_LENGTH_MAX) return void socket.destroy()
    for (const line of lines) socket.write(line === 'PING' ? 'PONG\n' : 'OK\n')
  })
}).listen(rig.ports['ledger'], '127.0.0.1')
