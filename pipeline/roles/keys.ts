// The Ed25519 keys of commands: control signs with a private one, act believes public ones.
//
// The private key is given by configuration, or made once below the data directory (mode 0600). An actuator in a process of its own
// needs no private key: act.verificationKeyFiles names the public ones, several while a key is replaced.

import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { publicKeyId } from '../../actuators/execute/signer.ts'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { makeFolder } from '../make-folder.ts'
import type { RoleSet } from './select.ts'

export interface SigningKey {
  file: string
  privateKeyPem: string
  publicKeyPem: string
}

/** Where the private key lies, whether it is there or not. */
export function signingKeyFile(config: Config): string {
  return config.decide.signingKeyFile ?? join(config.dataDir, 'keys', 'signing.pem')
}

/** The key that signs, made when the configuration names none. @throws AppError `config_invalid` when the named file is missing or holds no Ed25519 private key */
export function openSigningKey(config: Config): SigningKey {
  const file = signingKeyFile(config)
  if (!existsSync(file)) {
    if (config.decide.signingKeyFile)
      throw new AppError('config_invalid', `decide.signingKeyFile: there is no ${file}: create one with \`openssl genpkey -algorithm ed25519\``)
    makeFolder(dirname(file), 0o700)
    const { privateKey } = generateKeyPairSync('ed25519')
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' })
  }
  const privateKeyPem = readFileSync(file, 'utf8')
  try {
    const key = createPrivateKey(privateKeyPem)
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`a ${String(key.asymmetricKeyType)} key`)
    return { file, privateKeyPem, publicKeyPem: createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string }
  } catch (cause) {
    throw new AppError('config_invalid', `${file} holds no Ed25519 private key: create one with \`openssl genpkey -algorithm ed25519\``, { cause })
  }
}

/**
 * The public keys that act believes, by their id: those of act.verificationKeyFiles, and that of a control role in this process.
 * @throws AppError `config_invalid` when there is none, or a file holds no Ed25519 public key
 */
export function openVerificationKeys(config: Config, roles: RoleSet): Record<string, string> {
  const files = config.act.verificationKeyFiles
  const keys = openPublicKeys(files ?? [], 'act.verificationKeyFiles')
  if (roles.has('control') || (files === undefined && existsSync(signingKeyFile(config)))) {
    const { publicKeyPem } = openSigningKey(config)
    keys[publicKeyId(publicKeyPem)] = publicKeyPem
  }
  if (Object.keys(keys).length === 0)
    throw new AppError(
      'config_invalid',
      'act.verificationKeyFiles: control runs elsewhere, so name the file of its public key: `homeostat keys public`, asked where control runs, prints it'
    )
  return keys
}

/**
 * Public keys by their id.
 * @param named where the files were named, for messages
 * @throws AppError `config_invalid` when a file holds no Ed25519 public key
 */
export function openPublicKeys(files: readonly string[], named: string): Record<string, string> {
  return Object.fromEntries(files.map(file => readPublicKey(file, named)))
}

function readPublicKey(file: string, named: string): [id: string, pem: string] {
  let pem: string
  try {
    pem = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError('config_invalid', `${named}: ${file} cannot be read: put the public key of control there`, { cause })
  }
  // A private key would do as well, and must not lie on every actuator.
  if (pem.includes('PRIVATE KEY'))
    throw new AppError('config_invalid', `${named}: ${file} holds a private key: put only the public one there (\`homeostat keys public\`)`)
  try {
    return [publicKeyId(pem), pem]
  } catch (cause) {
    throw new AppError(
      'config_invalid',
      `${named}: ${file} holds no Ed25519 public key in PEM form: \`homeostat keys public\`, asked where control runs, prints it`,
      { cause }
    )
  }
}
