// The Ed25519 key that signs commands: given by configuration, or made once below the data directory (mode 0600).

import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'

export interface SigningKey {
  privateKeyPem: string
  publicKeyPem: string
}

/** @throws AppError `config_invalid` when the named file is missing or holds no Ed25519 private key */
export function openSigningKey(config: Config): SigningKey {
  const file = config.decide.signingKeyFile ?? join(config.dataDir, 'keys', 'signing.pem')
  if (!existsSync(file)) {
    if (config.decide.signingKeyFile)
      throw new AppError('config_invalid', `decide.signingKeyFile: there is no ${file}: create one with \`openssl genpkey -algorithm ed25519\``)
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    const { privateKey } = generateKeyPairSync('ed25519')
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  }
  const privateKeyPem = readFileSync(file, 'utf8')
  try {
    const key = createPrivateKey(privateKeyPem)
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`a ${String(key.asymmetricKeyType)} key`)
    return { privateKeyPem, publicKeyPem: createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string }
  } catch (cause) {
    throw new AppError('config_invalid', `${file} holds no Ed25519 private key: create one with \`openssl genpkey -algorithm ed25519\``, { cause })
  }
}
