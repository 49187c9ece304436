// `homeostat migrate`: brings the tables in ClickHouse up to date, shows what that would do, or prints users and grants as SQL.
//
// The plan and the grants are SQL on stdout, ready to be piped into clickhouse-client by somebody who may do more than this process.

import type { Command } from 'commander'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { openLogger } from '../self/logger.ts'
import { ClickHouseStore } from '../store/clickhouse-store.ts'
import { type GrantOptions, grantStatements } from '../store/grants.ts'
import type { SchemaPlan } from '../store/migrate.ts'
import { withPasswords } from '../store/store-secrets.ts'
import { systemClock } from '../system.ts'
import type { Output } from './output.ts'

export interface MigratePorts {
  config(): Config
  output(): Output
  environment: Readonly<Record<string, string | undefined>>
}

const CHECKSUM_CHARS = 12 // Enough for a person to compare; --json has all of it.

/** Adds the command to `program`. */
export function registerMigrate(program: Command, ports: MigratePorts): void {
  program
    .command('migrate')
    .description('bring the tables in ClickHouse up to date (as store.admin, where given)')
    .option('--plan', 'only show every statement that would run, and what is applied')
    .option('--grants', 'only print users, profile and grants as SQL, for somebody who may make users')
    .action(async ({ plan, grants }: { plan?: boolean; grants?: boolean }) => {
      if (plan && grants) throw new AppError('usage', '--plan and --grants: one at a time')
      const config = ports.config()
      const output = ports.output()
      if (grants) {
        const statements = grantStatements(grantOptions(withPasswords(config.store, ports.environment)))
        return output.result(statements, sqlText(statements))
      }
      const store = await ClickHouseStore.open({
        config: withPasswords(config.store, ports.environment),
        dataDir: config.dataDir,
        clock: systemClock,
        logger: openLogger({ level: 'warn', role: 'migrate', pretty: process.stderr.isTTY === true }),
        migrate: false
      })
      try {
        const planned = await store.plan()
        if (plan) showPlan(planned, output)
        else await apply(store, planned, output)
      } finally {
        await store.close()
      }
    })
}

/** The users of the configuration; the names that the documentation uses where it has none. */
export function grantOptions(store: Config['store']): GrantOptions {
  const { database, cluster, username, password, reader, admin } = store
  const users = {
    admin: admin ?? { username: 'homeostat_admin' },
    // The superuser of a fresh server is nobody to take rights from.
    writer: username === 'default' ? { username: 'homeostat_writer' } : { username, password },
    reader: reader ?? { username: 'homeostat_reader' }
  }
  return { database, cluster, users }
}

function showPlan(plan: SchemaPlan, output: Output): void {
  const lines = plan.migrations.map(
    ({ version, name, checksum, state }) => `-- ${String(version).padStart(4, '0')} ${name}  ${checksum.slice(0, CHECKSUM_CHARS)}  ${state}`
  )
  const statements: string[] = []
  let reason = ''
  for (const statement of plan.statements) {
    if (statement.reason !== reason) statements.push(`\n-- ${statement.reason}`)
    reason = statement.reason
    statements.push(`${statement.sql};`)
  }
  for (const notice of plan.notices) output.say(notice)
  output.result(plan, [...lines, ...(statements.length === 0 ? ['-- nothing to do'] : statements)].join('\n'))
  if (plan.migrations.some(({ state }) => state === 'changed')) process.exitCode = 1
}

async function apply(store: ClickHouseStore, plan: SchemaPlan, output: Output): Promise<void> {
  for (const notice of plan.notices) output.say(notice)
  const applied = await store.migrate()
  const altered = plan.statements.filter(({ sql }) => sql.startsWith('ALTER')).map(({ reason }) => reason)
  const lines = [...applied.map(({ version, name }) => `applied ${String(version).padStart(4, '0')} ${name}`), ...altered.map(reason => `changed ${reason}`)]
  output.result({ applied, altered }, lines.length === 0 ? 'nothing to do' : lines.join('\n'))
}

function sqlText(statements: readonly string[]): string {
  return statements.map(statement => `${statement};`).join('\n')
}
