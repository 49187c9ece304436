// ClickHouse of a cluster run: the real engine in a process of its own, asked over HTTP as a server is.
//
// usage: node infra/lab/cluster/clickhouse.ts RUN_FOLDER PORT LAB_PID. Data is in RUN_FOLDER/clickhouse.
// When the lab was killed it ends, and every other process of the run with it: Homeostat's roles are nobody's children.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { signalProcess } from '../../../actuators/drivers/process-table.ts'
import { clickhouseServer } from '../../../test/support/clickhouse-http.ts'
import { endWithLab } from '../fleet/end-with-lab.ts'
import { findProcesses } from '../processes.ts'

const [folder, port, labPid] = process.argv.slice(2)
if (!folder || !port || !labPid) throw new Error('usage: node infra/lab/cluster/clickhouse.ts RUN_FOLDER PORT LAB_PID')
endWithLab({ labPid: Number(labPid) }, () => {
  for (const left of findProcesses(folder)) signalProcess(left, 'SIGKILL')
})
const dataDir = join(folder, 'clickhouse')
mkdirSync(dataDir, { recursive: true })
const server = await clickhouseServer(dataDir, Number(port))
process.stdout.write(`ClickHouse answers at ${server.url}\n`)
process.once('SIGTERM', () => void server.close().then(() => process.exit(0)))
