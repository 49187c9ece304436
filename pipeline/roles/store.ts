// The store role in a process of its own (infra/docs/decisions/0002): a crash of the native engine takes nobody with it.

import type { OpenRole, RoleContext } from './context.ts'

export async function openStore(context: RoleContext): Promise<OpenRole> {
  return context.host('store', 'process')
}
