// The store role: in a process of its own (infra/docs/decisions/0002), where a crash of the native engine takes nobody with it; here when
// it is alone with a server, which starts in half the time.

import { hostsStore } from './hosted-reads.ts'
import type { OpenRole, RoleContext } from './context.ts'

export async function openStore(context: RoleContext): Promise<OpenRole> {
  if (hostsStore(context.config, context.roles)) return context.host('store', 'process')
  const { openStoreWorker } = await import('./store-worker.ts')
  return openStoreWorker({ ...context, logger: context.logger('store') })
}
