// The store section of the configuration with its references to secrets replaced by what they stand for. Never printed.

import type { Config } from '../../schemas/config.ts'
import { resolveSecret } from '../config/load.ts'

/** @throws AppError `config_invalid` when a secret is missing or empty */
export function withPasswords(store: Config['store'], environment: Readonly<Record<string, string | undefined>>): Config['store'] {
  const revealed = <Login extends { password?: string | undefined }>(login: Login): Login =>
    login.password === undefined ? login : { ...login, password: resolveSecret(login.password, environment) }
  const { reader, admin } = store
  return { ...revealed(store), ...(reader && { reader: revealed(reader) }), ...(admin && { admin: revealed(admin) }) }
}
