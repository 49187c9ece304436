// Entry of the Homeostat under test: the program as it is, with crash points in all of its threads and processes.

import { dirname } from 'node:path'
import { syncBuiltinESMExports } from 'node:module'
import workerThreads, { type WorkerOptions } from 'node:worker_threads'
import { FOLDER_VARIABLE } from './arming.ts'

const preload = ['--import', new URL('./crash-points.ts', import.meta.url).href]
process.env[FOLDER_VARIABLE] = dirname(process.argv.at(-1)!)
process.execArgv.push(...preload) // What is forked takes them from here.
const { Worker } = workerThreads
Object.assign(workerThreads, {
  Worker: class extends Worker {
    constructor(entry: string | URL, options: WorkerOptions = {}) {
      super(entry, { ...options, execArgv: [...(options.execArgv ?? ['--disable-warning=ExperimentalWarning']), ...preload] })
    }
  }
})
syncBuiltinESMExports()
await import('./crash-points.ts')
await import('../../../../pipeline/main.ts')
