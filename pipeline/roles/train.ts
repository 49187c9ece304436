// The train role as the console uses it: a thread that lives for one training (train-role.ts), reading through this process.

import { AppError } from '../../schemas/errors.ts'
import type { RoleContext } from './context.ts'

/** Trains when called, one training at a time: a second request waits for nothing and is refused. */
export function trainer(context: RoleContext): (progress: (line: string) => void) => Promise<Record<string, unknown>> {
  let training = false
  return async progress => {
    if (training) throw new AppError('usage', 'a training runs already: wait for it to end')
    training = true
    try {
      const role = await context.host('train', 'thread', {
        restart: false,
        methods: { query: ({ sql, parameters }: { sql: string; parameters: Record<string, unknown> }) => context.reads.query(sql, parameters), progress }
      })
      try {
        return await role.call<Record<string, unknown>>('train')
      } finally {
        await role.close()
      }
    } finally {
      training = false
    }
  }
}
