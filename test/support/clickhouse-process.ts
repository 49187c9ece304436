// Starts the ClickHouse test server in a process of its own, and on wish with a user that may do no more than given grants.
//
// The embedded engine knows one user, `default`, and reads its rights from a file: with the grants of a user of ours there, every request to
// this server is made as that user would make it.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CHILD = fileURLToPath(new URL('./clickhouse-child.ts', import.meta.url))

export interface Rights {
  /** The texts between GRANT and TO. */
  grants: readonly string[]
  limits?: Readonly<Record<string, { value: number; max: number }>>
}

export interface ClickHouseProcess {
  url: string
  child: ChildProcess
  /** Ends the process and waits for it. Safe to call twice. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/** @param path data directory; absent: one of its own, removed at the end */
export async function startClickHouse({ path, rights }: { path?: string; rights?: Rights } = {}): Promise<ClickHouseProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-clickhouse-'))
  const engineArguments = rights ? [`--config-file=${writeRights(folder, rights)}`] : []
  const child = fork(CHILD, [path ?? join(folder, 'data'), ...engineArguments], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const exited = once(child, 'exit')
  const [said] = (await Promise.race([once(child, 'message'), exited])) as [{ url?: string } | number]
  if (typeof said !== 'object' || said === null || said.url === undefined) throw new Error(`the ClickHouse test server ended at its start: ${String(said)}`)
  return {
    url: said.url,
    child,
    async stop(signal = 'SIGKILL') {
      child.kill(signal)
      await exited
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

function writeRights(folder: string, { grants, limits = {} }: Rights): string {
  const entries = Object.entries(limits)
  const values = entries.map(([name, { value }]) => `<${name}>${value}</${name}>`).join('')
  const constraints = entries.map(([name, { max }]) => `<${name}><min>1</min><max>${max}</max></${name}>`).join('')
  const queries = grants.map(grant => `<query>GRANT ${grant}</query>`).join('\n')
  const users = join(folder, 'users.xml')
  writeFileSync(
    users,
    `<clickhouse>
<profiles><default>${values}<constraints>${constraints}</constraints></default></profiles>
<quotas><default/></quotas>
<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota><grants>
${queries}
</grants></default></users>
</clickhouse>`
  )
  const config = join(folder, 'config.xml')
  writeFileSync(config, `<clickhouse><users_config>${users}</users_config></clickhouse>`)
  return config
}
