// A secret in a configuration file.

import { z } from 'zod'

/** Given by reference, `env:NAME` or `file:PATH`; loading resolves it, printing redacts it. */
export const secretSchema = z.string().regex(/^(env|file):.+/, 'a reference: env:NAME or file:PATH')
