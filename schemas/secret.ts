// A secret in a configuration file.

import { z } from 'zod'

/** What is expected of a secret; an error that says so does not show what stands there instead: most likely the secret itself. */
export const SECRET_FORM = 'a reference (env:NAME or file:PATH)'

/** Given by reference, `env:NAME` or `file:PATH`; loading resolves it, printing redacts it. */
export const secretSchema = z.string(SECRET_FORM).regex(/^(env|file):.+/, SECRET_FORM)
