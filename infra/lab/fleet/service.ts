// What the services of the fleet share: start (witnessed), cache, configuration that is read again when it changes, stop.
//
// A service appends its start to the witness before anything else can fail, so a start that crashes is counted too.
// A broken cache file ends the process with code 1 on every start until somebody restores it: that is one of the faults.

import { readFileSync, watchFile } from 'node:fs'
import { join } from 'node:path'
import { type LabLayout, readLayout, type ServiceName } from '../layout.ts'
import { witness } from '../witness.ts'
import { endWithLab } from './end-with-lab.ts'
import { openTelemetry, type Telemetry } from './telemetry.ts'

const CONFIG_POLL_MS = 200
const EXIT_BROKEN_CACHE = 1

export interface ServiceConfig {
  /** What the service needs to know of each country; one that is missing fails its orders. */
  countries: Readonly<Record<string, string | undefined>>
}

export interface Service {
  name: ServiceName
  layout: LabLayout
  port: number
  telemetry: Telemetry
  /** As the file says now. */
  config(): ServiceConfig
  cache: Readonly<Record<string, number>>
}

/** Starts the service that the calling script is. `close` is awaited on SIGTERM, before the last telemetry is sent. */
export async function startService(name: ServiceName, close: () => Promise<void> | void): Promise<Service> {
  const folder = process.argv[2]
  if (!folder) throw new Error(`usage: node infra/lab/fleet/${name}.ts FOLDER`)
  witness(folder, name, 'start')
  const layout = readLayout(folder)
  endWithLab(layout)
  const telemetry = openTelemetry(name, layout)
  process.once('SIGTERM', async () => {
    await close()
    await telemetry.close()
    process.exit(0)
  })
  const cache = readCache(join(folder, name, 'cache.json'))
  if (!cache) {
    process.stderr.write(`${name}: cache.json is broken: restore the last good one\n`)
    telemetry.error('cannot start: the cache file is broken')
    await telemetry.close()
    process.exit(EXIT_BROKEN_CACHE)
  }
  return { name, layout, port: layout.ports[name], telemetry, config: watchConfig(join(folder, name, 'config.json'), telemetry), cache }
}

function readCache(file: string): Readonly<Record<string, number>> | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>
  } catch {
    return undefined
  }
}

function watchConfig(file: string, telemetry: Telemetry): () => ServiceConfig {
  const read = (): ServiceConfig => JSON.parse(readFileSync(file, 'utf8')) as ServiceConfig
  let config = read()
  watchFile(file, { interval: CONFIG_POLL_MS, persistent: false }, () => {
    try {
      config = read()
      telemetry.info('configuration read again')
    } catch {
      telemetry.warn('configuration is no JSON: the one before stays')
    }
  })
  return () => config
}
