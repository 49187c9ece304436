// Which roles run in this process, and whether they can: `--role intake,detect`, else HOMEOSTAT_ROLES, else all of them.
//
// Checked before anything is opened. What a role reads was written by another one: through a cluster that may be another process;
// an embedded log belongs to one process, so there the whole way up to a role must run beside it.

import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'

/** In the order of the data's way. */
export const ROLES = ['intake', 'detect', 'control', 'act', 'store', 'train', 'console'] as const
export type Role = (typeof ROLES)[number]
export type RoleSet = ReadonlySet<Role>

/** What writes that which a role reads from the log; one of them must run beside it when the log is embedded. */
const SOURCE: Readonly<Partial<Record<Role, Role>>> = { detect: 'intake', store: 'intake', control: 'detect', act: 'control' }
/** An unknown name this close to a role (letters changed) is taken for a slip of the hand. */
const TYPING_ERRORS_MAX = 2

/**
 * The roles of a list such as `intake, detect`; all of them when there is none.
 * @throws AppError `usage` when a name is unknown, with the role that was probably meant
 */
export function selectRoles(list: string | undefined): RoleSet {
  if (list === undefined || list.trim() === '') return new Set(ROLES)
  const names = list
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '')
  const unknown = names.filter(name => !isRole(name))
  if (names.length === 0 || unknown.length > 0) throw new AppError('usage', unknownRoles(unknown))
  return new Set(ROLES.filter(role => names.includes(role)))
}

/**
 * Whether these roles can run here under this configuration.
 * @throws AppError `usage` when a role needs another one beside it, `config_invalid` when a key is missing; both say what to do
 */
export function checkRoles(roles: RoleSet, config: Config): void {
  if (roles.has('train') && !roles.has('console'))
    throw new AppError('usage', 'the role train has no door of its own, it trains when the console is asked to: start it as --role console,train')
  if (config.log.kind === 'embedded') {
    checkEmbedded(roles)
    if (roles.has('intake') && config.intake.topics.enabled)
      throw new AppError('config_invalid', 'intake.topics: nobody but us writes into an embedded log: set log.kind: kafka to read the topics of Collectors')
  }
  for (const role of ['act', 'console'] as const) {
    if (!roles.has(role) || roles.has('store') || config.store.url !== undefined) continue
    throw new AppError(
      'config_invalid',
      `store.url: the role ${role} reads ClickHouse, and without the role store in this process there is no embedded one: set store.url to the server that the store role fills, or add store to the roles`
    )
  }
}

function checkEmbedded(roles: RoleSet): void {
  for (const role of roles) {
    const source = SOURCE[role]
    if (source === undefined || roles.has(source)) continue
    throw new AppError(
      'config_invalid',
      `log.kind: ${role} reads what ${source} writes, and an embedded log belongs to one process: add ${source} to the roles, or set log.kind: kafka for several processes`
    )
  }
  if (roles.has('detect') || roles.has('store') || !roles.has('intake')) return
  throw new AppError(
    'config_invalid',
    'log.kind: nobody would read what intake takes, and an embedded log belongs to one process: add detect or store to the roles, or set log.kind: kafka for several processes'
  )
}

function isRole(name: string): name is Role {
  return (ROLES as readonly string[]).includes(name)
}

function unknownRoles(names: readonly string[]): string {
  const meant = names.flatMap(name => ROLES.find(role => name.startsWith(role)) ?? nearest(name))
  const hint = meant.length === 0 ? '' : ` Did you mean ${[...new Set(meant)].join(', ')}?`
  const problem = names.length === 0 ? 'the list of roles is empty' : `there is no role ${names.join(', ')}`
  return `${problem}: the roles are ${ROLES.join(', ')}.${hint}`
}

function nearest(name: string): Role[] {
  const [best] = ROLES.map(role => ({ role, errors: distance(name, role) })).sort((a, b) => a.errors - b.errors)
  return best!.errors <= TYPING_ERRORS_MAX ? [best!.role] : []
}

/** Letters to insert, delete or replace (Levenshtein, 1966); names are a few letters long. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1]
    for (let column = 1; column <= to.length; column++)
      next.push(Math.min(next[column - 1]! + 1, row[column]! + 1, row[column - 1]! + (to[column - 1] === letter ? 0 : 1)))
    row = next
  }
  return row[to.length]!
}
