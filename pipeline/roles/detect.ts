// The detect role in threads of its own, so that the doors and the console answer while it computes. Several share the partitions as
// several processes would: each is a member of the consumer group.

import type { OpenRole, RoleContext } from './context.ts'

export async function openDetect(context: RoleContext): Promise<OpenRole> {
  const { threads } = context.config.detect
  const hosts = await Promise.all(
    Array.from({ length: threads }, (_, index) => {
      const name = index === 0 ? 'detect' : `detect-${index + 1}`
      return context.host('detect', 'thread', { name })
    })
  )
  return { close: async () => void (await Promise.all(hosts.map(host => host.close()))) }
}
