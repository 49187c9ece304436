// The detect role in a thread of its own, so that the doors and the console answer while it computes.

import type { OpenRole, RoleContext } from './context.ts'

export async function openDetect(context: RoleContext): Promise<OpenRole> {
  return context.host('detect', 'thread')
}
