// A process that opens an embedded store on a thread that dies, then on a thread that closes it, and says so line by line.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { systemClock } from '../../pipeline/system.ts'
import { quietLogger } from './log-tools.ts'
import { storeConfig } from './store-tools.ts'

if (isMainThread) {
  await run('die')
  await run('close')
} else {
  const store = await ClickHouseStore.open({ config: storeConfig(), dataDir: workerData.dataDir, clock: systemClock, logger: quietLogger })
  parentPort!.postMessage('opened')
  if (workerData.end === 'die') throw new Error('as a bug would')
  await store.close()
  parentPort!.postMessage('closed')
}

function run(end: 'die' | 'close'): Promise<void> {
  const thread = new Worker(new URL(import.meta.url), { workerData: { dataDir: process.argv[2], end } })
  thread.on('message', line => console.log(line))
  thread.on('error', () => console.log('died'))
  return new Promise(resolve => thread.on('exit', () => resolve()))
}
