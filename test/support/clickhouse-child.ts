// A process that answers as a ClickHouse server (see clickhouse-http.ts): its engine, its CPU time and its death are its own.
//
// Arguments: data directory, then the engine's. Says its address to the parent, and ends with it.

import { clickhouseServer } from './clickhouse-http.ts'

const [path, ...engineArguments] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
const server = await clickhouseServer(path!, 0, engineArguments)
process.send!({ url: server.url })
